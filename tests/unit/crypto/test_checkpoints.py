"""Signed notes, checkpoints, and the chain of keys."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from uuid import UUID

import pytest

from overseer.core.errors import InvalidInput
from overseer.crypto.checkpoints import (
    Checkpoint,
    Introduction,
    introduce_key,
    key_chain,
    log_origin,
    retire_rows,
    retired_size,
    signer_of,
)
from overseer.crypto.signatures import SigningKey
from overseer.crypto.signed_notes import VerifierKey, is_signed_by, join_note, signature_line, split_note

PUBLISHED = json.loads((Path(__file__).parents[2] / "vectors" / "published.json").read_text("utf-8"))["signed_note"]
ORIGIN = log_origin(UUID(int=7))
FIRST, SECOND, THIRD = (SigningKey(bytes([n]) * 32) for n in (1, 2, 3))
CHECKPOINT = Checkpoint(ORIGIN, 12, bytes(range(32)), 3, 1, 770, 1, datetime(2030, 1, 2, 3, 4, 5, 600, tzinfo=UTC))


def key_of(key: SigningKey) -> VerifierKey:
    return VerifierKey(ORIGIN, key.public)


def signed(checkpoint: Checkpoint, key: SigningKey) -> str:
    return checkpoint.note(key.public, checkpoint.sign(key))


def test_a_published_note_verifies() -> None:
    key = VerifierKey.parse(PUBLISHED["key"])
    assert str(key) == PUBLISHED["key"]
    assert is_signed_by(PUBLISHED["note"], key)
    assert not is_signed_by(PUBLISHED["note"].replace("problem", "Problem"), key)


def test_a_checkpoint_is_read_as_it_was_signed() -> None:
    note = signed(CHECKPOINT, FIRST)
    assert note.startswith(f"{ORIGIN}\n12\n{base64.b64encode(bytes(range(32))).decode()}\nseq 3\n")
    assert "time 2030-01-02T03:04:05.000600+00:00\n\n— overseer/" in note
    assert Checkpoint.parse(note) == CHECKPOINT
    assert is_signed_by(note, key_of(FIRST))
    assert not is_signed_by(note, key_of(SECOND))
    elsewhere = replace(CHECKPOINT, at=CHECKPOINT.at.astimezone(timezone(timedelta(hours=5))))
    assert elsewhere.text() == CHECKPOINT.text()


def test_lines_of_strangers_are_passed_over_and_later_words_do_not_count() -> None:
    text = CHECKPOINT.text() + "horizon 5\nelse 1\n"
    stranger = signature_line("witness.example", SECOND, text)
    note = join_note(text, [stranger, signature_line(ORIGIN, FIRST, text)])
    assert is_signed_by(note, key_of(FIRST))
    assert Checkpoint.parse(note) == CHECKPOINT
    forged = signature_line(ORIGIN, FIRST, "another text\n")
    assert not is_signed_by(join_note(text, [forged, signature_line(ORIGIN, FIRST, text)]), key_of(FIRST))


@pytest.mark.parametrize("place", range(0, len(signed(CHECKPOINT, FIRST)), 3))
def test_every_changed_character_is_refused(place: int) -> None:
    note = signed(CHECKPOINT, FIRST)
    changed = note[:place] + ("x" if note[place] != "x" else "y") + note[place + 1 :]
    try:
        same = Checkpoint.parse(changed) == CHECKPOINT
        assert not is_signed_by(changed, key_of(FIRST)) or same  # the last character of base64 has bits that count for nothing
    except InvalidInput:
        pass


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("\n12\n", "\n012\n"),
        ("\n12\n", "\n-1\n"),
        ("\n12\n", "\n1 2\n"),
        ("seq 3\n", ""),
        ("horizon 770", "horizon x"),
        ("time 2030-01-02T03:04:05.000600+00:00", "time 2030-01-02T03:04:05.000600"),
        ("AAECAwQF", "AAECAw"),
        (ORIGIN + "\n12", "overseer/audit-key-rotation/v1\n12"),
        (ORIGIN + "\n12", "example.org/log\n12"),
    ],
)
def test_what_is_no_checkpoint(before: str, after: str) -> None:
    with pytest.raises(InvalidInput, match="no checkpoint"):
        Checkpoint.parse(signed(CHECKPOINT, FIRST).replace(before, after, 1))


@pytest.mark.parametrize(
    "note",
    [
        "",
        "text\n",
        "text\n\n",
        "text\n\n— name\n",
        "text\n\n- name AAAAAAAA\n",
        "text\n\n— name AAAA\n",
        "text\n\n— name AAAAAAAA",
    ],
)
def test_what_is_no_note(note: str) -> None:
    with pytest.raises(InvalidInput, match="no signed note"):
        split_note(note)
    for text in ("no newline", "a\n\nb\n", "a\rb\n"):
        with pytest.raises(ValueError, match="note's text"):
            join_note(text, ["— n AAAA\n"])


@pytest.mark.parametrize(
    "text", ["", "a+b", "a+00000000+AAAA", "PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"]
)
def test_what_is_no_verifier_key(text: str) -> None:
    with pytest.raises(InvalidInput, match="verifier key"):
        VerifierKey.parse(text)
    for name, public in (("a b", bytes(32)), ("a+b", bytes(32)), ("", bytes(32)), ("a", bytes(31))):
        with pytest.raises(InvalidInput, match="verifier key"):
            VerifierKey(name, public)


def test_the_chain_of_keys() -> None:
    root = bytes(32)
    statements = [introduce_key(ORIGIN, 12, root, FIRST, SECOND), introduce_key(ORIGIN, 40, root, SECOND, THIRD)]
    chain = key_chain(key_of(FIRST), statements)
    assert [(key.term, key.key, key.since_size) for key in chain] == [
        (1, key_of(FIRST), 0),
        (2, key_of(SECOND), 12),
        (3, key_of(THIRD), 40),
    ]
    for size, right in ((1, FIRST), (12, FIRST), (13, SECOND), (40, SECOND), (41, THIRD)):
        for key in (FIRST, SECOND, THIRD):
            found = signer_of(signed(replace(CHECKPOINT, size=size), key), chain)
            assert (found is not None) == (key is right)
            assert found is None or found.key == key_of(right)


def test_keys_cannot_be_brought_in_from_elsewhere() -> None:
    root = bytes(32)
    good = introduce_key(ORIGIN, 12, root, FIRST, SECOND)
    with pytest.raises(InvalidInput, match="follow"):
        key_chain(key_of(THIRD), [good])
    with pytest.raises(InvalidInput, match="follow"):
        key_chain(key_of(FIRST), [good, introduce_key(ORIGIN, 11, root, SECOND, THIRD)])
    text = split_note(good)[0]
    for signers in ([FIRST], [SECOND], [FIRST, THIRD]):
        with pytest.raises(InvalidInput, match="no statement"):
            Introduction.parse(join_note(text, [signature_line(ORIGIN, key, text) for key in signers]))
    foreign = introduce_key(log_origin(UUID(int=8)), 12, root, FIRST, SECOND).replace(str(UUID(int=8)), str(UUID(int=7)), 1)
    for wrong in (signed(CHECKPOINT, FIRST), foreign, good.replace("\n12\n", "\n13\n")):
        with pytest.raises(InvalidInput, match=r"no (statement|signed note)"):
            Introduction.parse(wrong)


def test_retention_is_signed() -> None:
    chain = key_chain(key_of(FIRST), [])
    statement = retire_rows(ORIGIN, 12, bytes(32), FIRST)
    assert retired_size(statement, chain) == (12, bytes(32))
    for wrong in (
        retire_rows(ORIGIN, 12, bytes(32), SECOND),
        statement.replace("\n12\n", "\n13\n"),
        signed(CHECKPOINT, FIRST),
        introduce_key(ORIGIN, 12, bytes(32), FIRST, SECOND),
    ):
        with pytest.raises(InvalidInput, match="no statement"):
            retired_size(wrong, chain)


def test_a_replaced_key_says_nothing_about_rows_it_did_not_sign() -> None:
    chain = key_chain(key_of(FIRST), [introduce_key(ORIGIN, 12, bytes(32), FIRST, SECOND)])
    for size, key in ((12, FIRST), (12, SECOND), (900, SECOND)):
        assert retired_size(retire_rows(ORIGIN, size, bytes(32), key), chain) == (size, bytes(32))
    with pytest.raises(InvalidInput, match="no statement"):
        retired_size(retire_rows(ORIGIN, 13, bytes(32), FIRST), chain)

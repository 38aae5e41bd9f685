"""Age files: an independent implementation opens ours and we open its, every damage is found, memory stays small."""

from __future__ import annotations

import io

import pyrage
import pytest
from hypothesis import given
from hypothesis import strategies as st

from overseer.core.errors import DecryptionFailed, InvalidInput, KeyProblem
from overseer.core.secret_value import SecretValue
from overseer.crypto import bech32
from overseer.crypto.age_keys import Identity, Passphrase, Recipient, Unwrapper, Wrapper
from overseer.crypto.age_stream import CHUNK, AgeReader, AgeWriter

SIZES = (0, 1, 15, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 7)
EASY = Passphrase(SecretValue("correct horse"), work=8)


def written(keys: list[Wrapper], plain: bytes, step: int = 30_000) -> bytes:
    writer = AgeWriter(keys)
    parts = [writer.update(plain[place : place + step]) for place in range(0, len(plain), step)]
    return b"".join([*parts, writer.finish()])


def opened(content: bytes, *keys: Unwrapper) -> bytes:
    return AgeReader(io.BytesIO(content), keys).readall()


@pytest.mark.parametrize("size", SIZES)
def test_pyrage_opens_ours_and_we_open_its(size: int) -> None:
    plain = bytes(range(256)) * (size // 256 + 1)
    plain = plain[:size]
    identity = Identity.generate()
    theirs = pyrage.x25519.Identity.from_str(identity.written().reveal().decode())
    assert str(theirs.to_public()) == str(identity.recipient)
    assert pyrage.decrypt(written([Identity.generate().recipient, identity.recipient], plain), [theirs]) == plain
    assert opened(pyrage.encrypt(plain, [theirs.to_public()]), identity) == plain
    assert pyrage.passphrase.decrypt(written([EASY], plain), "correct horse") == plain


def test_a_passphrase_file_of_pyrage_opens() -> None:
    try:
        assert opened(pyrage.passphrase.encrypt(b"text", "correct horse"), EASY) == b"text"
    except InvalidInput as error:  # rage measures the machine, and may ask for more than we allow
        assert "more work" in error.message  # noqa: PT017


@given(st.binary(max_size=200_000), st.integers(1, 100_000))
def test_what_is_written_is_read_whatever_the_steps(plain: bytes, step: int) -> None:
    identity = Identity.generate()
    assert opened(written([identity.recipient], plain, step), identity) == plain


def test_every_cut_and_every_flipped_byte_of_a_short_file_is_refused() -> None:
    identity = Identity.generate()
    content = written([identity.recipient], b"twenty bytes of text")
    for place in range(len(content)):
        for damaged in (content[:place], content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]):
            with pytest.raises((DecryptionFailed, KeyProblem, InvalidInput)):
                opened(damaged, identity)
    for more in (b"x", content):
        with pytest.raises(DecryptionFailed):
            opened(content + more, identity)


def test_chunks_cannot_be_dropped_or_exchanged() -> None:
    identity = Identity.generate()
    content = written([identity.recipient], b"a" * CHUNK + b"b" * CHUNK + b"c" * CHUNK)
    step = CHUNK + 16
    body = len(content) - 3 * step
    head, first, second, third = content[:body], *(content[body + place * step :][:step] for place in range(3))
    assert opened(head + first + second + third, identity)[:1] == b"a"
    for wrong in (head + second + first + third, head + first + third, head + first + second, head + second + third, head):
        with pytest.raises(DecryptionFailed):
            opened(wrong, identity)


def test_another_identity_and_another_passphrase_are_told_apart_from_damage() -> None:
    with pytest.raises(KeyProblem, match="recipients"):
        opened(written([Identity.generate().recipient], b"x"), Identity.generate())
    with pytest.raises(KeyProblem, match="the passphrase does not open"):
        opened(written([EASY], b"x"), Passphrase(SecretValue("other")))
    with pytest.raises(KeyProblem, match="a passphrase"):
        opened(written([EASY], b"x"), Identity.generate())
    with pytest.raises(InvalidInput):
        opened(b"PK\x03\x04", Identity.generate())


def test_a_passphrase_stands_alone() -> None:
    identity = Identity.generate()
    for keys in ([], [EASY, identity.recipient], [EASY, EASY]):
        with pytest.raises(InvalidInput):
            AgeWriter(keys)


def test_a_file_cannot_ask_for_work_without_a_bound() -> None:
    content = written([EASY], b"x").replace(b" 8\n", b" 30\n", 1)
    with pytest.raises(InvalidInput, match="more work"):
        opened(content, EASY)


def test_keys_are_written_as_age_writes_them() -> None:
    identity = Identity.generate()
    line = identity.written().reveal()
    assert line.startswith(b"AGE-SECRET-KEY-1")
    content = SecretValue(b"# created: now\n\n" + line + b"\n")
    assert [str(one.recipient) for one in Identity.parse_file(content)] == [str(identity.recipient)]
    assert Recipient.parse(str(identity.recipient)) == identity.recipient
    for wrong in ("", "age1", "age1" + "q" * 58, str(identity.recipient)[:-1], line.decode(), "ssh-ed25519 AAAA"):
        with pytest.raises(InvalidInput) as refused:
            Recipient.parse(wrong)
        assert not wrong or wrong not in refused.value.message or wrong == "age1"
    for bad in (b"", b"# nothing", b"AGE-SECRET-KEY-1QQQ", str(identity.recipient).encode()):
        with pytest.raises(InvalidInput):
            Identity.parse_file(SecretValue(bad))


def test_one_wrong_character_of_bech32_is_found() -> None:
    text = str(Identity.generate().recipient)
    for place in range(4, len(text)):
        for other in "qpzry":
            if text[place] != other:
                with pytest.raises(ValueError, match=r"checksum|left over|Bech32"):
                    bech32.decode(text[:place] + other + text[place + 1 :])
    with pytest.raises(ValueError, match="mixed"):
        bech32.decode(text[:-1] + text[-1:].upper() + "A")

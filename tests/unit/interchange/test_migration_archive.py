"""Archives of migrations: read as they were written, and refused wherever somebody changed them or wrote no sense."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from overseer.core.errors import InvalidInput, TooLarge
from overseer.core.secret_value import SecretValue
from overseer.crypto.age_keys import Identity
from overseer.crypto.age_stream import AgeReader
from overseer.crypto.signatures import SigningKey
from overseer.crypto.signed_manifest import SignedManifest, instance_key
from overseer.interchange import migration_archive
from overseer.interchange.migration_archive import (
    ArchiveWriter,
    Head,
    MovedVersion,
    PartLine,
    SecretLine,
    fingerprint,
    read_archive,
)

INSTANCE, OTHER = UUID(int=1), UUID(int=2)
KEY = SigningKey(bytes(range(32)))
IDENTITY = Identity.generate()
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
CANARY = "canary-04de"


def secret(number: int = 10, **fields: Any) -> SecretLine:
    plain: dict[str, Any] = {
        "id": UUID(int=number), "name": f"s{number}", "app": "shop", "environment": None, "node": None, "description": "",
        "labels": {}, "owner": "", "expires_at": None, "created_at": NOW, "generator": None, "rotation": None, "source": None,
        "rotator": "", "active": 1,
    }  # fmt: skip
    return SecretLine(**(plain | fields))


def version(number: int, value: str = CANARY) -> MovedVersion:
    return MovedVersion(UUID(int=100 + number), number, NOW, "ann at there", None, SecretValue(value))


def writer() -> ArchiveWriter:
    made = ArchiveWriter([IDENTITY.recipient], Head(format=1, instance=INSTANCE, created_at=NOW, release="0.1.0"))
    made.part(PartLine(part="app", id=UUID(int=3), name="shop", description="", labels={}))
    return made


def lines(file: bytes) -> bytes:
    return AgeReader(io.BytesIO(file), [IDENTITY]).readall() or b""


def archive() -> list[dict[str, Any]]:
    """The lines of a good one, without its end."""
    made = writer()
    made.secret(secret())
    made.version(version(1))
    made.version(version(2))
    return [json.loads(line) for line in lines(made.finish(KEY)).splitlines()[:-1]]


def filled(count: int) -> ArchiveWriter:
    made = writer()
    for number in range(1, count):
        made.secret(secret(number))
        made.version(version(number))
    return made


def signed(records: list[Any], key: SigningKey = KEY, instance: UUID = INSTANCE, kind: str = "migration") -> SecretValue:
    """Any lines at all with a signature that is good."""
    body = b"".join(json.dumps(one).encode() + b"\n" if not isinstance(one, bytes) else one for one in records)
    note = SignedManifest(kind, instance, {"migration.jsonl": hashlib.sha256(body).hexdigest()}).sign(key)
    end = {"line": "end", "key": str(instance_key(instance, key.public)), "note": note}
    return SecretValue(body + json.dumps(end).encode() + b"\n")


def test_it_is_read_as_it_was_written() -> None:
    made = writer()
    made.secret(secret(active=2))
    made.version(version(1, "v1"))
    made.version(version(2, "v2"))
    found = read_archive(SecretValue(lines(made.finish(KEY))))
    [moved] = found.secrets
    assert (moved.about, [one.value.reveal() for one in moved.versions]) == (secret(active=2), [b"v1", b"v2"])
    assert (found.head.instance, [one.name for one in found.parts]) == (INSTANCE, ["shop"])
    assert found.signer == instance_key(INSTANCE, KEY.public)
    assert fingerprint(found.signer).startswith("SHA256:")
    assert CANARY not in repr(read_archive(signed(archive())))


def test_lines_that_were_written_by_a_program_of_ours_are_the_base_of_what_follows() -> None:
    assert len(read_archive(signed(archive())).secrets[0].versions) == 2


UNZONED = {"backend": "corp", "ref": "a", "field": "", "mode": "pull", "fetched_at": "2026-11-24T12:00:00"}
BROKEN: dict[str, Callable[[list[Any]], object]] = {
    "a gap in the versions": lambda found: found[4].update(number=3),
    "a version twice": lambda found: found[4].update(number=1),
    "one id for two versions": lambda found: found[4].update(id=found[3]["id"]),
    "no version": lambda found: found.__delitem__(slice(3, 5)),
    "an active version that is not there": lambda found: found[2].update(active=3),
    "an app that is not there": lambda found: found[2].update(app="blog"),
    "a name that is none": lambda found: found[2].update(name="../x"),
    "a name of an app that is none": lambda found: found[1].update(name="a b"),
    "two parts of a name": lambda found: found.insert(2, {**found[1], "id": str(UUID(int=4))}),
    "one secret twice": lambda found: found.extend([found[2], {**found[3], "id": str(UUID(int=99))}]),
    "a part among secrets": lambda found: found.append(found[1]),
    "a version without a secret": lambda found: found.insert(1, found[3]),
    "two heads": lambda found: found.insert(1, found[0]),
    "no head": lambda found: found.pop(0),
    "another format": lambda found: found[0].update(format=2),
    "a field too many": lambda found: found[2].update(more=1),
    "a field too few": lambda found: found[2].pop("labels"),
    "a time without a zone": lambda found: found[3].update(created_at="2026-11-24T12:00:00"),
    "a grace without a zone": lambda found: found[3].update(readable_until="2026-11-24T12:00:00"),
    "a head without a zone": lambda found: found[0].update(created_at="2026-11-24T12:00:00"),
    "a source without a zone": lambda found: found[2].update(source=UNZONED),
    "the id of what does not exist": lambda found: found[1].update(id=str(UUID(int=0))),
    "no base64": lambda found: found[3].update(value="%%"),
    "a value beyond a value's size": lambda found: found[3].update(value="AAAA" * 400_000),
    "a line of nothing": lambda found: found.insert(2, b"\n"),
    "nested without end": lambda found: found.insert(2, b"[" * 50_000 + b"]" * 50_000 + b"\n"),
    "nested in a field": lambda found: found[2].update(rotation={"a": {"b": {}}}),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_makes_no_sense_is_refused_although_it_is_signed(what: str) -> None:
    records = archive()
    BROKEN[what](records)
    with pytest.raises(InvalidInput) as refused:
        read_archive(signed(records))
    assert CANARY not in refused.value.message


def test_a_signature_of_another_kind_instance_or_text_is_none() -> None:
    records = archive()
    good = signed(records).reveal()
    end = json.loads(good.splitlines()[-1])
    forged = {**end, "key": str(instance_key(OTHER, KEY.public))}
    stranger = {**end, "key": str(instance_key(INSTANCE, SigningKey(bytes(32)).public))}
    body = b"".join(good.splitlines(keepends=True)[:-1])
    for content in (
        signed(records, kind="backup"),
        signed(records, instance=OTHER),  # signed by another instance than the head says
        SecretValue(body + json.dumps(forged).encode() + b"\n"),
        SecretValue(body + json.dumps(stranger).encode() + b"\n"),
        SecretValue(body.replace(b'"active": 1', b'"active": 2') + good.splitlines(keepends=True)[-1]),
        SecretValue(body),
    ):
        with pytest.raises(InvalidInput):
            read_archive(content)


@pytest.mark.parametrize("at", [0, 1, 40, 200, -200, -40, -2])
def test_a_flipped_bit_anywhere_is_found(at: int) -> None:
    content = bytearray(signed(archive()).reveal())
    content[at] ^= 1
    with pytest.raises(InvalidInput):
        read_archive(SecretValue(bytes(content)))


def test_what_is_too_large_is_neither_written_nor_read(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TooLarge):
        read_archive(SecretValue(b"x" * (migration_archive.MAX_BYTES + 1)))
    for limit, value in (("MAX_BYTES", 500), ("MAX_PARTS", 0), ("MAX_SECRETS", 1), ("MAX_VERSIONS", 1)):
        content = signed([*archive(), json.loads(json.dumps(archive()[2]))])
        with monkeypatch.context() as patched:
            patched.setattr(migration_archive, limit, value)
            with pytest.raises(TooLarge):
                read_archive(content)
            with pytest.raises(TooLarge):
                filled(20)

"""What moves from one instance to another: lines of JSON, signed by the instance that wrote them, around them one age file.

    {"line":"head","format":1,"instance":"0192…","created_at":"…","release":"…"}
    {"line":"part","part":"app","id":"…","name":"shop","description":"","labels":{}}
    {"line":"secret","id":"…","name":"db-password","app":"shop",…,"active":2}
    {"line":"version","id":"…","number":1,"created_at":"…","creator":"alice at …","readable_until":null,"value":"aHVudGVyMg=="}
    {"line":"end","key":"overseer/…/server+…","note":"overseer/signed-manifest/v1\n…"}

Guarantees: a value is in memory alone, one at a time while it is written; nothing is believed before the signature over every
line was verified, and :attr:`Archive.signer` says whose it is, which is for people to confirm; versions of a secret are 1, 2, 3
… without a gap; nothing refers to a part that is not there. There is no compression and no reference between lines, so the size
of the file bounds what comes of it. What it will not do: know a database, or decide whom to believe.

Evolution rule: ``format`` counts up with every change of the lines, and a reader refuses one that it does not know;
``tests/vectors/migration-v1.json`` must be read forever.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, NoReturn
from uuid import UUID

import msgspec

from overseer.core.errors import InvalidInput, OverseerError, TooLarge
from overseer.core.identifiers import is_name
from overseer.core.secret_value import MAX_VALUE_BYTES, SecretValue
from overseer.crypto.age_keys import Wrapper
from overseer.crypto.age_stream import AgeWriter
from overseer.crypto.signatures import SigningKey
from overseer.crypto.signed_manifest import SignedManifest, instance_key, verified_manifest
from overseer.crypto.signed_notes import VerifierKey

FORMAT: Final = 1
KIND: Final = "migration"
#: All lines together: it is held in memory where it is read.
MAX_BYTES: Final = 16 * 1024 * 1024
MAX_SECRETS: Final = 5_000
MAX_VERSIONS: Final = 20_000
#: Each is decided for whoever imports.
MAX_PARTS: Final = 3_000
_LINES: Final = "migration.jsonl"
_NO_ARCHIVE: Final = "this is no archive of 'overseer migrate export', or it was changed or cut"
_TOO_LARGE: Final = (
    f"an archive has at most {MAX_SECRETS} secrets, {MAX_VERSIONS} versions, {MAX_PARTS} apps, environments and nodes, and "
    f"{MAX_BYTES // 1024 // 1024} MiB in all: move one app, or one environment of it, at a time"
)


class _Line(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="line"):
    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"


class Head(_Line, frozen=True, tag="head"):
    """Which instance wrote it, when, and with which release."""

    format: int
    instance: UUID
    created_at: datetime
    release: str


class PartLine(_Line, frozen=True, tag="part"):
    """An app, an environment or a node that secrets live at; only nodes have labels."""

    part: Literal["app", "environment", "node"]
    id: UUID
    name: str
    description: str
    labels: dict[str, str]


class SourceLine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a secret's values come from; the backend by name, nothing that opens it."""

    backend: str
    ref: str
    field: str
    mode: str
    fetched_at: datetime


class SecretLine(_Line, frozen=True, tag="secret"):
    """A secret; its versions follow. ``rotator``: the kind of what changed it at its source, which does not come along."""

    id: UUID
    name: str
    app: str | None
    environment: str | None
    node: str | None
    description: str
    labels: dict[str, str]
    owner: str
    expires_at: datetime | None
    created_at: datetime
    generator: str | None
    rotation: dict[str, str | int] | None
    source: SourceLine | None
    rotator: str
    active: int


class VersionLine(_Line, frozen=True, tag="version"):
    """One version; ``value`` is base64 (RFC 4648, section 4)."""

    id: UUID
    number: int
    created_at: datetime
    creator: str
    readable_until: datetime | None
    value: str


class EndLine(_Line, frozen=True, tag="end"):
    """The signed manifest over all lines before, and the public key that verifies it."""

    key: str
    note: str


_DECODER: Final = msgspec.json.Decoder(Head | PartLine | SecretLine | VersionLine | EndLine)
_ENCODER: Final = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class MovedVersion:
    """A version as it was there. ``creator`` is text for people."""

    id: UUID
    number: int
    created_at: datetime
    creator: str
    readable_until: datetime | None
    value: SecretValue


@dataclass(frozen=True, slots=True)
class MovedSecret:
    """A secret with versions 1, 2, 3 …"""

    about: SecretLine
    versions: tuple[MovedVersion, ...]


@dataclass(frozen=True, slots=True)
class Archive:
    """What was read, and the key that signed it."""

    head: Head
    parts: tuple[PartLine, ...]
    secrets: tuple[MovedSecret, ...]
    signer: VerifierKey


def fingerprint(key: VerifierKey) -> str:
    """The short form of a public key that people compare: SHA-256, written as OpenSSH writes it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(key.public).digest()).decode().rstrip("=")


class ArchiveWriter:
    """Lines in the order of the module's text; :meth:`finish` gives the whole encrypted file."""

    def __init__(self, keys: Sequence[Wrapper], head: Head) -> None:
        self._age = AgeWriter(keys)
        self._hash = hashlib.sha256()
        self._size = self._parts = self._secrets = self._versions = 0
        self._out: list[bytes] = []
        self._instance = head.instance
        self._write(head)

    def part(self, line: PartLine) -> None:
        """Raises :class:`TooLarge`."""
        self._parts += 1
        self._write(line)

    def secret(self, line: SecretLine) -> None:
        """Raises :class:`TooLarge`."""
        self._secrets += 1
        self._write(line)

    def version(self, version: MovedVersion) -> None:
        """Raises :class:`TooLarge`."""
        self._versions += 1
        self._write(
            VersionLine(
                id=version.id,
                number=version.number,
                created_at=version.created_at,
                creator=version.creator,
                readable_until=version.readable_until,
                value=base64.b64encode(version.value.reveal()).decode("ascii"),
            )
        )

    def finish(self, key: SigningKey) -> bytes:
        """The file, signed; without it what was written is nothing."""
        note = SignedManifest(KIND, self._instance, {_LINES: self._hash.hexdigest()}).sign(key)
        self._write(EndLine(key=str(instance_key(self._instance, key.public)), note=note))
        return b"".join([*self._out, self._age.finish()])

    def _write(self, line: _Line) -> None:
        data = _ENCODER.encode(line) + b"\n"
        self._size += len(data)
        counts = ((self._parts, MAX_PARTS), (self._secrets, MAX_SECRETS), (self._versions, MAX_VERSIONS))
        if self._size > MAX_BYTES or any(count > most for count, most in counts):
            raise TooLarge(_TOO_LARGE)
        self._hash.update(data)
        self._out.append(self._age.update(data))


def read_archive(content: SecretValue) -> Archive:
    """The archive in the lines of a file that was decrypted, its signature verified.

    Raises :class:`TooLarge` and :class:`InvalidInput`, which repeat nothing of it.
    """
    data = content.reveal()
    if len(data) > MAX_BYTES:
        raise TooLarge(_TOO_LARGE)
    if not data.endswith(b"\n"):
        _refuse()
    cut = data.rfind(b"\n", 0, -1) + 1
    signer = _verified(data[:cut], _decoded(data[cut:]))
    lines = iter(data[:cut].split(b"\n")[:-1])
    head = _decoded(next(lines, b""))
    if not isinstance(head, Head):
        _refuse()
    if head.format != FORMAT:
        raise InvalidInput(f"the archive has a format that this release does not know (it knows {FORMAT}): take a newer release")
    if instance_key(head.instance, signer.public) != signer or head.created_at.tzinfo is None:
        _refuse()
    parts, secrets = _grouped(lines)
    _check(parts, secrets)
    return Archive(head, tuple(parts), tuple(secrets), signer)


def _verified(lines: bytes, end: object) -> VerifierKey:
    if not isinstance(end, EndLine):
        _refuse()
    try:
        key = VerifierKey.parse(end.key)
        manifest = verified_manifest(end.note, KIND, key)
    except OverseerError:
        raise InvalidInput("the archive is not signed by the key that it names: it was changed, or forged") from None
    if dict(manifest.files) != {_LINES: hashlib.sha256(lines).hexdigest()}:
        raise InvalidInput("the archive is not what was signed: it was changed or cut")
    return key


def _grouped(lines: Iterator[bytes]) -> tuple[list[PartLine], list[MovedSecret]]:
    parts: list[PartLine] = []
    found: list[tuple[SecretLine, list[MovedVersion]]] = []
    count = 0
    for raw in lines:
        line = _decoded(raw)
        if isinstance(line, PartLine) and not found:
            parts.append(line)
        elif isinstance(line, SecretLine):
            found.append((line, []))
        elif isinstance(line, VersionLine) and found:
            found[-1][1].append(_version(line))
            count += 1
        else:
            _refuse()
        if len(parts) > MAX_PARTS or len(found) > MAX_SECRETS or count > MAX_VERSIONS:
            raise TooLarge(_TOO_LARGE)
    return parts, [MovedSecret(about, tuple(versions)) for about, versions in found]


def _version(line: VersionLine) -> MovedVersion:
    try:
        value = SecretValue(base64.b64decode(line.value.encode("ascii"), validate=True))
    except (ValueError, binascii.Error):
        _refuse()
    if len(value) > MAX_VALUE_BYTES:
        _refuse()
    return MovedVersion(line.id, line.number, line.created_at, line.creator, line.readable_until, value)


def _check(parts: Sequence[PartLine], secrets: Sequence[MovedSecret]) -> None:
    """What no exporter writes; a signature says who wrote it, not that he wrote sense."""
    names: set[tuple[str, str]] = {(one.part, one.name) for one in parts}
    places = {(one.about.name, one.about.app, one.about.environment, one.about.node) for one in secrets}
    versions = [version.id for one in secrets for version in one.versions]
    ids = [one.about.id for one in secrets]
    nil = UUID(int=0)  # no exporter's; it stands for what does not exist
    if (
        nil in (*ids, *versions, *(one.id for one in parts))
        or len(names) < len(parts)
        or len({one.id for one in parts}) < len(parts)
        or len(places) < len(secrets)
        or len(set(ids)) < len(ids)
        or len(set(versions)) < len(versions)
        or not all(is_name(name) for name in (*(one.name for one in parts), *(one.about.name for one in secrets)))
        or not all(_complete(one, names) for one in secrets)
    ):
        _refuse()


def _complete(one: MovedSecret, names: set[tuple[str, str]]) -> bool:
    about = one.about
    at: Mapping[str, str | None] = {"app": about.app, "environment": about.environment, "node": about.node}
    numbers = [version.number for version in one.versions]
    moments = [about.created_at, about.expires_at, None if about.source is None else about.source.fetched_at]
    moments += [moment for version in one.versions for moment in (version.created_at, version.readable_until)]
    return (
        numbers == list(range(1, len(numbers) + 1))
        and 1 <= about.active <= len(numbers)
        and all(name is None or (part, name) in names for part, name in at.items())
        and all(moment is None or moment.tzinfo is not None for moment in moments)
    )


def _decoded(raw: bytes) -> object:
    try:
        return _DECODER.decode(raw)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        _refuse()


def _refuse() -> NoReturn:
    raise InvalidInput(_NO_ARCHIVE)

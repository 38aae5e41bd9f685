"""What is inside a backup: a gzipped tar of the head, the tables as PostgreSQL's COPY text in parts, and the manifest.

    head.json                     format, instance, when, release, migrations, tables with their columns, in the order of filling
    tables/secret/000001.copy     rows of a table; the parts of one follow each other and are joined without anything between
    manifest.json                 for each table how many rows and bytes, and SHA-256 of the bytes; how long the sealed log is
    signature.note                both, as the instance signed them (:mod:`overseer.crypto.signed_manifest`); in format 2 alone

Around it lies one age file (:mod:`overseer.crypto.age_stream`), so ``age -d backup.age | tar xz`` shows everything to people.

Guarantees: bounded memory; a reader takes exactly these members in this order, and believes in the end only when manifest, tar,
gzip and age all end. Whoever has the recipients' public keys can make such a file, so a reader of backups asks for the signature
too; format 1 has none. What it will not do: know a database, or which key is to be believed.

Evolution rule: ``format`` counts up where a reader of the one before would go wrong, and a reader refuses a higher one; further
keys in the two documents do not count it up. Columns and tables follow the migrations that the head names, and a newer release
restores under those and migrates afterwards. ``tests/vectors/backup-v1.json`` and ``backup-v2.json`` must be read forever.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Final
from uuid import UUID

from overseer.core.errors import DecryptionFailed, InvalidInput
from overseer.crypto.age_keys import Unwrapper, Wrapper
from overseer.crypto.age_stream import AgeReader, AgeWriter
from overseer.crypto.signatures import SigningKey
from overseer.crypto.signed_manifest import SignedManifest, verified_manifest
from overseer.crypto.signed_notes import VerifierKey

UNSIGNED_FORMAT: Final = 1
FORMAT: Final = 2
HEAD: Final = "head.json"
MANIFEST: Final = "manifest.json"
SIGNATURE: Final = "signature.note"
#: What the signed manifest of a backup calls it.
KIND: Final = "backup"
#: Bytes of a table in one member of the archive, about.
PART: Final = 1024 * 1024
_MOST: Final = 64 * PART
_BLOCK: Final = 512
_LEVEL: Final = 1
_DAMAGED: Final = "the backup is damaged inside: it was not made by Overseer like this"


@dataclass(frozen=True, slots=True)
class TableHead:
    """One table as it was: its columns in the order of the rows' fields."""

    name: str
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Head:
    """``created_at`` is ISO 8601; ``migrations`` are (number, name, SHA-256)."""

    instance_id: str
    created_at: str
    release: str
    postgres_version: str
    migrations: tuple[tuple[int, str, str], ...]
    tables: tuple[TableHead, ...]


@dataclass(slots=True)
class TableSum:
    """What a table came to; ``take`` counts bytes in, the rows are told by the database."""

    rows: int = 0
    size: int = 0
    sha256: str = ""
    _hash: Any = field(default_factory=hashlib.sha256, repr=False)

    def take(self, data: bytes) -> None:
        self._hash.update(data)
        self.size += len(data)

    def close(self, rows: int) -> TableSum:
        self.rows, self.sha256 = rows, self._hash.hexdigest()
        return self

    def same(self, other: TableSum) -> bool:
        return (self.rows, self.size, self.sha256) == (other.rows, other.size, other.sha256)


@dataclass(frozen=True, slots=True)
class Manifest:
    """The end of an archive. ``log_size``: audit rows under the newest checkpoint."""

    tables: dict[str, TableSum]
    log_size: int

    @property
    def rows(self) -> int:
        return sum(one.rows for one in self.tables.values())


class ArchiveWriter:
    """Bytes of the encrypted archive, as they come; each method returns what can be written down. Without a ``signer`` it is one
    of format 1, which a restore takes only from whoever insists."""

    def __init__(self, keys: Sequence[Wrapper], signer: SigningKey | None = None) -> None:
        self._signer = signer
        self._instance_id = UUID(int=0)
        self._signed: dict[str, bytes] = {}
        self._age = AgeWriter(keys)
        self._gzip = zlib.compressobj(_LEVEL, zlib.DEFLATED, 16 + zlib.MAX_WBITS)

    def head(self, head: Head) -> bytes:
        self._instance_id = UUID(head.instance_id)
        content = {
            "format": UNSIGNED_FORMAT if self._signer is None else FORMAT,
            "instance_id": head.instance_id,
            "created_at": head.created_at,
            "release": head.release,
            "postgres_version": head.postgres_version,
            "migrations": [{"number": n, "name": name, "sha256": digest} for n, name, digest in head.migrations],
            "tables": [{"name": one.name, "columns": list(one.columns)} for one in head.tables],
        }
        return self._document(HEAD, content)

    def part(self, table: str, number: int, data: bytes) -> bytes:
        """Part ``number``, from 1 on, of a table."""
        return self._member(_part_name(table, number), data)

    def finish(self, manifest: Manifest) -> bytes:
        """The manifest and every end; what comes before it is not a backup without this."""
        tables = {
            name: {"rows": one.rows, "bytes": one.size, "sha256": one.sha256} for name, one in manifest.tables.items()
        }
        end = self._document(MANIFEST, {"tables": tables, "log_size": manifest.log_size})
        if self._signer is not None:
            note = SignedManifest.of(KIND, self._instance_id, self._signed).sign(self._signer)
            end += self._member(SIGNATURE, note.encode())
        end += self._age.update(self._gzip.compress(bytes(2 * _BLOCK)) + self._gzip.flush())
        return end + self._age.finish()

    def _document(self, name: str, content: dict[str, Any]) -> bytes:
        self._signed[name] = json.dumps(content, indent=1).encode() + b"\n"
        return self._member(name, self._signed[name])

    def _member(self, name: str, data: bytes) -> bytes:
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = len(data), 0o600
        content = entry.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % _BLOCK)
        return self._age.update(self._gzip.compress(content))


class ArchiveReader:
    """Reads what :class:`ArchiveWriter` wrote: :attr:`head`, then :meth:`parts` of each table in the head's order, then
    :meth:`manifest`, and :meth:`verify` after it.

    Raises :class:`InvalidInput`, :class:`~overseer.core.errors.KeyProblem` and :class:`DecryptionFailed`.
    """

    def __init__(self, source: BinaryIO, keys: Sequence[Unwrapper]) -> None:
        self._age = io.BufferedReader(AgeReader(source, keys), PART)
        self._plain = gzip.GzipFile(fileobj=self._age, mode="rb")
        self._next = self._member()
        self._signed = {HEAD: self._taken(HEAD)}
        self._note: str | None = None
        self._format, self.head = _head(self._signed[HEAD])

    @property
    def is_signed(self) -> bool:
        """Whether there is a signature to verify; the head says it, so that one that was cut off is damage."""
        return self._format != UNSIGNED_FORMAT

    def parts(self, table: str) -> Iterator[bytes]:
        """The rows of a table; may be none."""
        number = 1
        while self._next[0] == _part_name(table, number):
            data = self._next[1]
            self._next = self._member()
            number += 1
            yield data

    def manifest(self) -> Manifest:
        """Reads to the authentic end of everything."""
        self._signed[MANIFEST] = self._taken(MANIFEST)
        found = _document(self._signed[MANIFEST])
        if self.is_signed:
            self._note = self._taken(SIGNATURE).decode("utf-8", "replace")
        if self._next[0] or self._read(1):
            raise DecryptionFailed(_DAMAGED)
        try:
            tables = {
                str(name): TableSum(int(one["rows"]), int(one["bytes"]), str(one["sha256"]))
                for name, one in found["tables"].items()
            }
            return Manifest(tables, int(found["log_size"]))
        except (KeyError, TypeError, ValueError, AttributeError):
            raise DecryptionFailed(_DAMAGED) from None

    def verify(self, key: VerifierKey) -> None:
        """After :meth:`manifest`: that the holder of ``key`` has signed the head and the manifest, and so every row.

        Raises :class:`DecryptionFailed`, and :class:`InvalidInput` where there is no signature.
        """
        if self._note is None:
            raise InvalidInput("the backup is not signed")
        signed = verified_manifest(self._note, KIND, key)
        mine = SignedManifest.of(KIND, signed.instance_id, self._signed)
        if self.head.instance_id != str(signed.instance_id) or signed != mine:
            raise DecryptionFailed("the backup's signature is one of another backup. Nothing in it can be believed")

    def _taken(self, name: str) -> bytes:
        found, data = self._next
        if found != name:
            raise DecryptionFailed(_DAMAGED)
        self._next = self._member()
        return data

    def _member(self) -> tuple[str, bytes]:
        """A name and its content; an empty name at the end of the tar."""
        block = self._exactly(_BLOCK)
        if block == bytes(_BLOCK):
            self._exactly(_BLOCK)
            return "", b""
        try:
            entry = tarfile.TarInfo.frombuf(block, "ascii", "strict")
        except (tarfile.TarError, ValueError):
            raise DecryptionFailed(_DAMAGED) from None
        if entry.type != tarfile.REGTYPE or not entry.name or not 0 <= entry.size <= _MOST:
            raise DecryptionFailed(_DAMAGED)
        data = self._exactly(entry.size + -entry.size % _BLOCK)
        return entry.name, data[: entry.size]

    def _exactly(self, count: int) -> bytes:
        data = self._read(count)
        if len(data) != count:
            raise DecryptionFailed(_DAMAGED)
        return data

    def _read(self, count: int) -> bytes:
        try:
            return self._plain.read(count)
        except (EOFError, zlib.error, gzip.BadGzipFile):
            raise DecryptionFailed(_DAMAGED) from None


def _part_name(table: str, number: int) -> str:
    return f"tables/{table}/{number:06}.copy"


def _document(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except ValueError:
        raise DecryptionFailed(_DAMAGED) from None
    if not isinstance(found, dict):
        raise DecryptionFailed(_DAMAGED)
    return found


def _head(data: bytes) -> tuple[int, Head]:
    found = _document(data)
    if found.get("format") not in (UNSIGNED_FORMAT, FORMAT):
        raise InvalidInput(f"the backup has a format that this release does not know (it knows {FORMAT}): take a newer release")
    try:
        return found["format"], Head(
            str(found["instance_id"]),
            str(found["created_at"]),
            str(found["release"]),
            str(found["postgres_version"]),
            tuple((int(one["number"]), str(one["name"]), str(one["sha256"])) for one in found["migrations"]),
            tuple(TableHead(str(one["name"]), tuple(map(str, one["columns"]))) for one in found["tables"]),
        )
    except (KeyError, TypeError, ValueError):
        raise DecryptionFailed(_DAMAGED) from None

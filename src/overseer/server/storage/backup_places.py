"""Where backups lie: a directory, or a bucket that speaks S3.

Guarantees: a file appears under its name complete or not at all (written beside, flushed to the disk and renamed; a multipart
upload that is completed at its end), for its owner alone, and never replaces another one. Memory is bounded. Removed is only what
is named like a backup: the names come out of the database, and whoever wrote there does not get the server's key file removed.

What it will not do: hold AWS credentials (botocore's chain finds them), or look into a file. botocore is imported when a bucket
is used, and at no other time (extra ``aws``).
"""

from __future__ import annotations

import asyncio
import io
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol

from overseer.core.errors import AlreadyExists, ConfigurationProblem, InvalidInput, NotReady
from overseer.server.backup_settings import bucket_of

#: Bytes of one part of an upload; after so many parts they grow, for S3 allows 10,000 (and 5 MiB at least).
PART: Final = 8 * 1024 * 1024
_GROW_AFTER: Final = 1000
_NAME: Final = re.compile(r"overseer-[0-9A-Za-z-]+\.age")
_SECONDS: Final = 30

Write = Callable[[bytes], Awaitable[None]]


class Place(Protocol):
    """A directory or a bucket's prefix."""

    def name_of(self, file: str) -> str:
        """``file`` as people would find it."""

    def writing(self, file: str) -> Any:
        """A block in which a :data:`Write` fills ``file``; an exception that leaves it leaves nothing behind."""

    async def remove(self, file: str) -> None:
        """Remove it; where it is gone already, that is well."""


@dataclass(frozen=True, slots=True)
class Directory:
    """``path`` has to be there."""

    path: Path

    def name_of(self, file: str) -> str:
        return str(self.path / file)

    @asynccontextmanager
    async def writing(self, file: str) -> AsyncIterator[Write]:
        """Raises :class:`ConfigurationProblem`, :class:`AlreadyExists`, :class:`NotReady` (a full disk)."""
        target, beside = self.path / file, self.path / f".{file}.partial"
        if target.exists():
            raise AlreadyExists(f"{target} exists: backups are never replaced")
        opened: BinaryIO | None = None
        try:
            opened = await asyncio.to_thread(_create, beside)
            yield lambda data: asyncio.to_thread(_write_all, opened, data)
            await asyncio.to_thread(_complete, opened, beside, target)
        except OSError as error:
            raise _said(self.path, error) from None
        finally:
            if opened is not None:
                opened.close()
                with suppress(OSError):
                    beside.unlink(missing_ok=True)

    async def remove(self, file: str) -> None:
        _check_named_like_a_backup(file)
        try:
            (self.path / file).unlink(missing_ok=True)
        except OSError as error:
            raise _said(self.path, error) from None


@dataclass(frozen=True, slots=True)
class Bucket:
    """``prefix`` is '' or ends with a slash."""

    bucket: str
    prefix: str
    region: str | None = None
    endpoint: str | None = field(default=None, repr=False)

    def name_of(self, file: str) -> str:
        return f"s3://{self.bucket}/{self.prefix}{file}"

    @asynccontextmanager
    async def writing(self, file: str) -> AsyncIterator[Write]:
        """Raises :class:`ConfigurationProblem` (no botocore, no credentials, refused), :class:`NotReady`."""
        upload = _Upload(self, self.prefix + file)
        await asyncio.to_thread(upload.begin)
        try:
            yield upload.write
            await upload.finish()
        except BaseException:
            await asyncio.shield(asyncio.to_thread(upload.abort))
            raise

    async def remove(self, file: str) -> None:
        _check_named_like_a_backup(file)
        await asyncio.to_thread(self.call, "delete_object", Key=self.prefix + file)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One call of the S3 API. Blocks."""
        try:
            import botocore.session
            from botocore.config import Config
            from botocore.exceptions import BotoCoreError, ClientError
        except ModuleNotFoundError:
            raise ConfigurationProblem("backups in a bucket need botocore: install overseer[aws]") from None
        config = Config(connect_timeout=_SECONDS, read_timeout=_SECONDS, retries={"total_max_attempts": 3})
        try:
            client = botocore.session.Session().create_client(
                "s3", region_name=self.region, endpoint_url=self.endpoint, config=config
            )
            answer: dict[str, Any] = getattr(client, method)(Bucket=self.bucket, **parameters)
        except (BotoCoreError, ClientError, ValueError) as error:
            raise _refused(self.bucket, error) from None
        return answer


class _Upload:
    def __init__(self, place: Bucket, key: str) -> None:
        self._place = place
        self._key = key
        self._id = ""
        self._held = bytearray()
        self._parts: list[dict[str, Any]] = []

    def begin(self) -> None:
        self._id = str(self._place.call("create_multipart_upload", Key=self._key)["UploadId"])

    async def write(self, data: bytes) -> None:
        self._held += data
        if len(self._held) >= PART * (1 if len(self._parts) < _GROW_AFTER else 8):
            await self._send()

    async def finish(self) -> None:
        await self._send()
        await asyncio.to_thread(
            self._place.call,
            "complete_multipart_upload",
            Key=self._key,
            UploadId=self._id,
            MultipartUpload={"Parts": self._parts},
        )

    def abort(self) -> None:
        with suppress(ConfigurationProblem, NotReady):  # what led here is told; the bucket's lifecycle rule takes the rest
            self._place.call("abort_multipart_upload", Key=self._key, UploadId=self._id)

    async def _send(self) -> None:
        number, content = len(self._parts) + 1, bytes(self._held)
        self._held.clear()
        answer = await asyncio.to_thread(
            self._place.call, "upload_part", Key=self._key, UploadId=self._id, PartNumber=number, Body=content
        )
        self._parts.append({"PartNumber": number, "ETag": answer["ETag"]})


def make_place(text: str, region: str | None = None, endpoint: str | None = None) -> Place:
    """The place of a setting ``to``: a directory's path or ``s3://BUCKET/PREFIX``."""
    found = bucket_of(text)
    if found is None:
        return Directory(Path(text))
    prefix = found[1]
    return Bucket(found[0], f"{prefix.rstrip('/')}/" if prefix else "", region, endpoint)


def open_backup(text: str, region: str | None = None, endpoint: str | None = None) -> BinaryIO:
    """A backup for reading: a path or ``s3://BUCKET/KEY``. Raises :class:`InvalidInput`, and as the bucket does."""
    found = bucket_of(text)
    if found is not None:
        body = Bucket(found[0], "", region, endpoint).call("get_object", Key=found[1])["Body"]
        return io.BufferedReader(body)
    try:
        return Path(text).open("rb")
    except OSError as error:
        raise InvalidInput(f"{text} cannot be read: {(error.strerror or '').lower()}") from None


def _check_named_like_a_backup(file: str) -> None:
    if not _NAME.fullmatch(file):
        raise InvalidInput("a name among the backups in the database is not one of a backup: nothing was removed")


def _create(path: Path) -> BinaryIO:
    path.unlink(missing_ok=True)  # of a backup that was killed
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb", buffering=0)


def _write_all(file: BinaryIO, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


def _complete(file: BinaryIO, beside: Path, target: Path) -> None:
    os.fsync(file.fileno())
    os.link(beside, target)  # unlike a rename it replaces nothing
    beside.unlink()
    directory = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _said(path: Path, error: OSError) -> NotReady | ConfigurationProblem | AlreadyExists:
    said = (error.strerror or "cannot be used").lower()
    if isinstance(error, FileExistsError):
        return AlreadyExists(f"a file of that name came into {path} meanwhile: backups are never replaced")
    if isinstance(error, FileNotFoundError | NotADirectoryError | PermissionError):
        return ConfigurationProblem(f"backups cannot be written to {path}: {said}")
    return NotReady(f"backups cannot be written to {path} now: {said}")


def _refused(bucket: str, error: Exception) -> NotReady | ConfigurationProblem:
    """S3's own texts are not repeated: they may name more than should be logged."""
    response: dict[str, Any] = getattr(error, "response", {})
    code = str(response.get("Error", {}).get("Code", "")) or type(error).__name__
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if status in (400, 401, 403, 404) or (not response and "Credentials" in code) or "Region" in code:
        return ConfigurationProblem(f"the bucket {bucket} refused ({code[:80]}): check name, region and the credentials' rights")
    return NotReady(f"the bucket {bucket} cannot be used now ({code[:80]})")

"""The ``file`` seal: the root key lies in a file of its own, readable by the server's user alone.

Guarantee: the file is used only where it is a regular file (links are not followed), belongs to the user that the server runs
as and gives group and others no permission; these are checked on the open file, so it cannot be exchanged in between. A new
file is made complete or not at all: written under another name, fsynced, then linked into place, which never replaces an
existing one.

What it will not do: protect against root, or against whoever takes the whole machine: keep the database's backups elsewhere
than this file.
"""

from __future__ import annotations

import asyncio
import errno
import os
import secrets
import stat
from pathlib import Path

from overseer.core.errors import KeyProblem
from overseer.core.secret_value import SecretValue
from overseer.crypto.keys import RootKey
from overseer.server.seals.contract import NewSeal
from overseer.server.seals.root_key_text import MAX_BYTES, read_root_key, write_root_key
from overseer.server.seals.wrapped_root import refuse_given


class FileSeal:
    """The seal ``file:PATH``."""

    kind = "file"
    needs_operator = False
    asks_service = False

    def __init__(self, path: Path) -> None:
        self._path = path

    def describe(self) -> str:
        return f"key file {self._path}: protects backups and copies of the database, not this machine; keep a copy elsewhere"

    async def create(self, given: SecretValue | None = None) -> NewSeal:
        """A new key in a new file of mode 0600. :class:`KeyProblem` where something is there already or cannot be written."""
        refuse_given(given, self.kind)
        root_key = RootKey.generate()
        await asyncio.to_thread(_write_new, self._path, write_root_key(root_key))
        return NewSeal(root_key, b"")

    async def root_key(self, given: SecretValue | None = None) -> RootKey:
        """The key in the file, or :class:`KeyProblem` with the rule that the file breaks and how to mend it."""
        refuse_given(given, self.kind)
        content = await asyncio.to_thread(_read_private, self._path)
        return read_root_key(content, f"key file {self._path}")


def _read_private(path: Path) -> SecretValue:
    try:
        # NONBLOCK: a FIFO in place of the file must not hang the start; it is refused below.
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise KeyProblem(
            f"key file {path} does not exist; restore it from the recovery kit "
            "(a new instance makes it with `overseer server init`)"
        ) from None
    except OSError as error:
        what = (
            "is a symbolic link; name the file itself" if error.errno == errno.ELOOP else f"cannot be opened ({error.strerror})"
        )
        raise KeyProblem(f"key file {path} {what}") from None
    try:
        _check_private(path, os.fstat(handle))
        return SecretValue(os.read(handle, MAX_BYTES + 1))
    finally:
        os.close(handle)


def _check_private(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise KeyProblem(f"key file {path} is not a regular file")
    if found.st_uid != os.geteuid():
        raise KeyProblem(
            f"key file {path} belongs to uid {found.st_uid} and the server runs as uid {os.geteuid()}: "
            "it must belong to the server's user; mend it with `chown`"
        )
    mode = stat.S_IMODE(found.st_mode)
    if mode & 0o177:
        raise KeyProblem(f"key file {path} has mode {mode:04o}: only its owner may read it; mend it with `chmod 0600`")


def _write_new(path: Path, content: SecretValue) -> None:
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content.reveal())
                file.flush()
                os.fsync(file.fileno())
            os.link(draft, path)  # unlike a rename, a link never replaces
        finally:
            draft.unlink(missing_ok=True)
        _sync_directory(path.parent)
    except FileExistsError:
        raise KeyProblem(f"key file {path} exists already and is left as it is; a new instance needs a path of its own") from None
    except OSError as error:
        raise KeyProblem(f"key file {path} cannot be written ({error.strerror})") from None


def _sync_directory(directory: Path) -> None:
    """Without this a power cut could leave a database whose only root key was never durably named."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

"""Small files of the agent: private, replaced in one step, on disk when the call returns.

Guarantee: a reader sees the old content or the new one; mode 0600 in a 0700 directory of this user, links are not followed.
"""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from overseer.core.errors import ConfigurationProblem


def private_directory(path: Path) -> Path:
    """``path``, made if it is missing; :class:`ConfigurationProblem` where it is no private directory of this user."""
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
        found = path.lstat()
    except OSError as error:
        raise ConfigurationProblem(f"{path} cannot be used: {error.strerror}") from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise ConfigurationProblem(f"{path} must be a directory of this user with mode 0700: it holds keys")
    return path


def read_private(path: Path) -> bytes | None:
    """The content, ``None`` where there is no file; :class:`ConfigurationProblem` where others could have read or changed it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigurationProblem(f"{path} cannot be read: {error.strerror}") from None
    with os.fdopen(descriptor, "rb") as stream:
        found = os.fstat(descriptor)
        if found.st_uid not in (os.geteuid(), 0) or stat.S_IMODE(found.st_mode) & 0o077:
            raise ConfigurationProblem(f"{path} must belong to this user with mode 0600")
        return stream.read()


def write_private(path: Path, content: bytes) -> None:
    """Replace ``path``; it is durable when this returns."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(descriptor)
        fresh.rename(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    parent = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)

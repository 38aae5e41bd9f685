"""The files of a bundle that containers mount: written into a directory whose content a container may have changed meanwhile.

A container that may write there can put links, devices, pipes or endless files into it, also while the agent works. Guarantees:
every step goes through descriptors of directories with ``O_NOFOLLOW``, on the one file system, so that no link leads out; nothing
is opened for reading but a regular file of exactly the expected size; what a container put in the way is removed; what was there
before is kept by a second link in a closed directory and never read. Trees of any depth are removed without recursion.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from overseer.core.errors import NodeProblem

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
#: A tree that is deeper, or that grows faster than it is removed, is given up.
_MOST_PASSES: Final = 100_000


@dataclass(frozen=True, slots=True)
class Replaced:
    """A file that was written; ``former``: the name of what was there before in the closed directory, ``None`` for nothing."""

    path: str
    former: str | None


@dataclass(frozen=True, slots=True)
class ShippedFiles:
    """``directory`` may be mounted, ``aside`` (on the same file system, in a closed directory) never is."""

    directory: Path
    aside: Path

    def make(self) -> None:
        """Both directories; what an interrupted deployment left aside goes."""
        self.directory.mkdir(mode=0o700, exist_ok=True)
        self.directory.chmod(0o755)  # what a container mounts from it may be the whole of it
        self.forget_former()
        self.aside.mkdir(mode=0o700)

    def write(self, path: str, content: bytes) -> Replaced | None:
        """``path`` becomes a regular file with ``content``; ``None`` where it was that already. Raises :class:`OSError`.

        A bundle carries no modes: what begins like a script may be run.
        """
        mode = 0o755 if content.startswith(b"#!") else 0o644
        *parents, name = _parts(path)
        with self._descend(parents, make=True) as directory, self._aside() as aside:
            if _holds(directory, name, content, mode):
                return None
            fresh = secrets.token_hex(8)
            descriptor = os.open(fresh, _NEW_FILE, 0o600, dir_fd=aside)
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(content)
                os.fchmod(descriptor, mode)
            former = _second_link(directory, name, aside)
            try:
                os.rename(fresh, name, src_dir_fd=aside, dst_dir_fd=directory)
            except (IsADirectoryError, NotADirectoryError):
                remove(directory, name)
                os.rename(fresh, name, src_dir_fd=aside, dst_dir_fd=directory)
            return Replaced(path, former)

    def undo(self, replaced: Replaced) -> None:
        """What was there before, as far as the container left a way to it."""
        *parents, name = _parts(replaced.path)
        with contextlib.suppress(OSError), self._descend(parents, make=False) as directory, self._aside() as aside:
            if replaced.former is None:
                os.unlink(name, dir_fd=directory)
            else:
                os.rename(replaced.former, name, src_dir_fd=aside, dst_dir_fd=directory)

    def forget_former(self) -> None:
        """There is no way back any more."""
        _remove_at(self.aside)

    def keep_only(self, paths: Iterable[str]) -> None:
        """Remove whatever is not one of ``paths``; what cannot be removed now stays until the next time."""
        wanted = {tuple(_parts(path)) for path in paths}
        parents = {path[:length] for path in wanted for length in range(len(path))} | {()}
        for parent in parents:
            with contextlib.suppress(OSError), self._descend(list(parent), make=False) as directory:
                for name in os.listdir(directory):  # noqa: PTH208 - a descriptor
                    if (*parent, name) not in wanted and (*parent, name) not in parents:
                        with contextlib.suppress(OSError):
                            remove(directory, name)

    def wipe(self) -> None:
        """Both directories go. Raises :class:`OSError`."""
        self.forget_former()
        _remove_at(self.directory)

    @contextlib.contextmanager
    def _descend(self, parents: list[str], *, make: bool) -> Iterator[int]:
        """A descriptor of the directory that ``parents`` lead to; with ``make`` whatever else is in the way is replaced."""
        descriptor = os.open(self.directory, _DIRECTORY)
        try:
            device = os.fstat(descriptor).st_dev
            for name in parents:
                if make:
                    _make_directory(descriptor, name)
                inner = os.open(name, _DIRECTORY, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = inner
                if os.fstat(descriptor).st_dev != device:
                    raise OSError(errno.EXDEV, "something is mounted in the bundle's directory")
                if make:
                    os.fchmod(descriptor, 0o755)  # whatever the umask: the container's user must get through
            yield descriptor
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def _aside(self) -> Iterator[int]:
        with contextlib.suppress(FileExistsError):
            self.aside.mkdir(mode=0o700)
        descriptor = os.open(self.aside, _DIRECTORY)
        try:
            yield descriptor
        finally:
            os.close(descriptor)


def remove(directory: int, name: str) -> None:
    """Whatever is at ``name``, of any depth; links are not followed. Raises :class:`OSError`."""
    if not _is_directory(directory, name):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=directory)
        return
    top = os.open(name, _DIRECTORY, dir_fd=directory)
    try:
        for _ in range(_MOST_PASSES):
            entries = os.listdir(top)  # noqa: PTH208 - a descriptor
            if not entries:
                break
            for entry in entries:
                _flatten(top, entry)
    finally:
        os.close(top)
    os.rmdir(name, dir_fd=directory)


def _remove_at(path: Path) -> None:
    try:
        parent = os.open(path.parent, _DIRECTORY)
    except FileNotFoundError:
        return
    try:
        remove(parent, path.name)
    finally:
        os.close(parent)


def _flatten(top: int, name: str) -> None:
    """Remove ``name`` in ``top``; the directories in it move up into ``top``, for the next pass."""
    if not _is_directory(top, name):
        os.unlink(name, dir_fd=top)
        return
    inner = os.open(name, _DIRECTORY, dir_fd=top)
    try:
        for entry in os.listdir(inner):  # noqa: PTH208 - a descriptor
            if _is_directory(inner, entry):
                os.rename(entry, secrets.token_hex(12), src_dir_fd=inner, dst_dir_fd=top)
            else:
                os.unlink(entry, dir_fd=inner)
    finally:
        os.close(inner)
    os.rmdir(name, dir_fd=top)


def _is_directory(directory: int, name: str) -> bool:
    try:
        return stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


def _make_directory(directory: int, name: str) -> None:
    try:
        os.mkdir(name, 0o700, dir_fd=directory)
    except FileExistsError:
        if not _is_directory(directory, name):
            os.unlink(name, dir_fd=directory)
            os.mkdir(name, 0o700, dir_fd=directory)


def _holds(directory: int, name: str, content: bytes, mode: int) -> bool:
    """True where ``name`` is a regular file of this file system with exactly that."""
    try:
        pinned = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    except OSError:
        return False
    try:
        found = os.fstat(pinned)
        same = stat.S_ISREG(found.st_mode) and stat.S_IMODE(found.st_mode) == mode and found.st_size == len(content)
        if not same or found.st_dev != os.fstat(directory).st_dev:
            return False
        # The pinned file itself is opened, whatever its name leads to by now; a lease on it must not make us wait.
        reader = os.open(f"/proc/self/fd/{pinned}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(reader, "rb") as stream:
            return stream.read(len(content) + 1) == content
    except OSError:
        return False
    finally:
        os.close(pinned)


def _second_link(directory: int, name: str, aside: int) -> str | None:
    """Keep a regular file under a new name in ``aside``, unread; nothing else is kept."""
    former = secrets.token_hex(8)
    try:
        os.link(name, former, src_dir_fd=directory, dst_dir_fd=aside, follow_symlinks=False)
    except OSError:
        return None
    if stat.S_ISREG(os.stat(former, dir_fd=aside, follow_symlinks=False).st_mode):
        return former
    os.unlink(former, dir_fd=aside)
    return None


def _parts(path: str) -> list[str]:
    parts = path.split("/")
    if any(part in {"", ".", ".."} for part in parts):
        raise NodeProblem("a file of the bundle has no plain relative path")
    return parts

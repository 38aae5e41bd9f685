"""Files of secrets: a directory per service that always shows one complete set.

Guarantees: a set of files becomes visible at once and never torn (the ``..data`` link of a generation is swapped by ``rename``,
the names in the directory are links through it); each file is made with ``O_EXCL | O_NOFOLLOW`` below directory descriptors, so
no link and no ``..`` leads out; the former generation stays until :meth:`Change.commit`, so that :meth:`Change.undo` gives a
running container its old files back, also where the process that published was killed and another one publishes again (the link
``..former``). The directory itself is never replaced: it is mounted in containers.

Files are 0444 below the closed root unless a mode, user or group is asked for.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from overseer.core.errors import InvalidInput, NodeProblem
from overseer.core.secret_value import SecretValue

DATA_LINK: Final = "..data"
#: Names the set to go back to while a change is undecided; :data:`_NOTHING` where the directory is new.
FORMER_LINK: Final = "..former"
_NOTHING: Final = "..none"
_GENERATION: Final = "..set-"
_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class SecretFile:
    """What one file holds and whose it is; ``None`` leaves user and group as the agent's (root's)."""

    content: SecretValue
    mode: int = 0o444
    uid: int | None = None
    gid: int | None = None


@dataclass(slots=True)
class Change:
    """One published set. Exactly one of ``commit`` and ``undo`` ends it."""

    directory: Path
    generation: str
    previous: str | None
    changed: frozenset[str] = field(default_factory=frozenset)  # names whose bytes differ from the former set

    def commit(self) -> None:
        """Remove every other generation. Call it some time after the swap: a reader may be between link and file."""
        _keep_only(self.directory, self.generation)

    def undo(self) -> None:
        """The former set again; without one the directory goes."""
        if self.previous is None:
            shutil.rmtree(self.directory)
            return
        descriptor = os.open(self.directory, _DIRECTORY)
        try:
            _point(descriptor, self.previous)
            _name_files(descriptor, {path.name for path in (self.directory / self.previous).iterdir()})
        finally:
            os.close(descriptor)
        _keep_only(self.directory, self.previous)


def decide(directory: Path) -> None:
    """Commit whatever set is visible, whoever published it."""
    descriptor = os.open(directory, _DIRECTORY)
    try:
        current = _current(descriptor)
    finally:
        os.close(descriptor)
    if current is not None:
        _keep_only(directory, current)


def publish(directory: Path, files: Mapping[str, SecretFile], *, mode: int = 0o755) -> Change:
    """Make ``directory`` (its parents exist and are ours) show exactly ``files``; the new set appears at once.

    A name may hold ``/``: the directories in it are made. ``mode`` is that of ``directory``; by default it is closed by its
    parent, and a container's user must get through. Raises :class:`InvalidInput` for a name that could lead elsewhere and
    :class:`NodeProblem` where the system refuses (no space, no right to give a file to another user); then nothing is changed.
    """
    for name in files:
        if "\0" in name or not all(part and part != "." and not part.startswith("..") for part in name.split("/")):
            raise InvalidInput("a file of a secret has a plain relative name, no part of which begins with '..'")
    fresh = not directory.exists()
    if fresh:
        directory.mkdir(mode=0o700)
    descriptor = os.open(directory, _DIRECTORY)
    try:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise NodeProblem("the directory of a service's secrets is no directory")
        os.fchmod(descriptor, mode)
        previous = _remembered(descriptor, fresh=fresh)
        generation = f"{_GENERATION}{secrets.token_hex(8)}"
        changed = _differences(descriptor, previous, files)
        _write_generation(descriptor, generation, files)
        _point(descriptor, generation)
        _name_files(descriptor, {name.partition("/")[0] for name in files})
    except OSError as error:
        _discard(directory, descriptor, fresh=fresh)
        raise NodeProblem(f"the files of a service's secrets could not be written: {error.strerror}") from None
    except BaseException:  # whatever it is: a set that nobody decides on must not stay
        _discard(directory, descriptor, fresh=fresh)
        raise
    finally:
        os.close(descriptor)
    return Change(directory, generation, previous, changed)


def _write_generation(directory: int, generation: str, files: Mapping[str, SecretFile]) -> None:
    os.mkdir(generation, 0o700, dir_fd=directory)
    inside = os.open(generation, _DIRECTORY, dir_fd=directory)
    try:
        for name, wanted in files.items():
            *parents, last = name.split("/")
            with _descend(inside, parents) as parent:
                _write_file(parent, last, wanted)
        os.fchmod(inside, 0o755)
    finally:
        os.close(inside)


@contextlib.contextmanager
def _descend(directory: int, parents: list[str]) -> Iterator[int]:
    """A descriptor of the directory that ``parents`` lead to, made where it is missing; no link is followed."""
    descriptor = os.dup(directory)
    try:
        for name in parents:
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, 0o700, dir_fd=descriptor)
            inner = os.open(name, _DIRECTORY, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
            os.fchmod(descriptor, 0o755)
        yield descriptor
    finally:
        os.close(descriptor)


def _write_file(directory: int, name: str, wanted: SecretFile) -> None:
    descriptor = os.open(name, _NEW_FILE, 0o600, dir_fd=directory)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(wanted.content.reveal())
        stream.flush()
        if wanted.uid is not None or wanted.gid is not None:
            os.fchown(descriptor, -1 if wanted.uid is None else wanted.uid, -1 if wanted.gid is None else wanted.gid)
        os.fchmod(descriptor, wanted.mode & 0o777)  # after the owner: a change of owner may clear bits


def _point(directory: int, generation: str) -> None:
    """Swap ``..data`` in one step."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{DATA_LINK}-new", dir_fd=directory)
    os.symlink(generation, f"{DATA_LINK}-new", dir_fd=directory)
    os.rename(f"{DATA_LINK}-new", DATA_LINK, src_dir_fd=directory, dst_dir_fd=directory)


def _name_files(directory: int, wanted: set[str]) -> None:
    present = {name for name in os.listdir(directory) if not name.startswith("..")}
    for name in wanted - present:
        os.symlink(f"{DATA_LINK}/{name}", name, dir_fd=directory)
    for name in present - wanted:
        os.unlink(name, dir_fd=directory)


def _remembered(directory: int, *, fresh: bool) -> str | None:
    """The set to go back to, remembered for a process that comes after this one; an undecided change keeps what it had."""
    with contextlib.suppress(FileNotFoundError):
        os.readlink(FORMER_LINK, dir_fd=directory)
        return _current(directory, FORMER_LINK)
    previous = None if fresh else _current(directory)
    os.symlink(previous or _NOTHING, FORMER_LINK, dir_fd=directory)
    return previous


def _current(directory: int, link: str = DATA_LINK) -> str | None:
    try:
        target = os.readlink(link, dir_fd=directory)
    except FileNotFoundError:
        return None
    return target if target.startswith(_GENERATION) and "/" not in target else None


def _differences(directory: int, previous: str | None, files: Mapping[str, SecretFile]) -> frozenset[str]:
    if previous is None:
        return frozenset()
    changed = set()
    for name, wanted in files.items():
        try:
            descriptor = os.open(f"{previous}/{name}", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        except FileNotFoundError:
            changed.add(name)
            continue
        with os.fdopen(descriptor, "rb") as stream:
            if SecretValue(stream.read()) != wanted.content:
                changed.add(name)
    return frozenset(changed)


def _keep_only(directory: Path, generation: str) -> None:
    for name in _generations(directory):
        if name != generation:
            shutil.rmtree(directory / name)
    (directory / FORMER_LINK).unlink(missing_ok=True)


def _discard(directory: Path, descriptor: int, *, fresh: bool) -> None:
    """What a failed publication left; the set that is visible stays."""
    if fresh:
        shutil.rmtree(directory, ignore_errors=True)
        return
    kept = {_current(descriptor), _current(descriptor, FORMER_LINK)}
    for name in _generations(directory):
        if name not in kept:
            shutil.rmtree(directory / name, ignore_errors=True)
    if len(kept) == 1:  # nothing is undecided
        (directory / FORMER_LINK).unlink(missing_ok=True)


def _generations(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir() if path.name.startswith(_GENERATION)]

"""The one directory below which plaintext files may lie: memory, not disk, and only its owner gets in.

Guarantees: 0700 and owned by this user, no symbolic link in its last part; on tmpfs or ramfs that cannot be swapped out (mounted
here with ``noswap`` where the agent is root and Linux is 6.4 or later, or no swap is on), unless the operator allows otherwise. A
mountpoint made here is immutable while nothing is mounted on it, so that nobody fills a directory on disk by mistake.

A container reads through a bind mount of a directory *inside*: the mount does not pass the closed parent.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import stat
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from overseer.core.errors import ConfigurationProblem

DEFAULT_ROOT: Final = Path("/run/overseer/secrets")
_MEMORY: Final = frozenset({"tmpfs", "ramfs"})
_SOURCE: Final = "overseer"
_MS_NOSUID, _MS_NODEV = 2, 4
_FS_IOC_GETFLAGS, _FS_IOC_SETFLAGS, _FS_IMMUTABLE_FL = 0x80086601, 0x40086602, 0x10


class Allow(StrEnum):
    """What the operator accepts beyond memory that is never swapped. Each includes the one before."""

    NONE = "none"
    SWAP = "swap"
    DISK = "disk"


@dataclass(frozen=True, slots=True)
class MemoryRoot:
    """A root that fulfils the guarantees; ``notes`` say what the operator had to allow; ``own_mount``: made by Overseer."""

    path: Path
    notes: tuple[str, ...] = ()
    own_mount: bool = False

    def release(self) -> None:
        """Unmount what Overseer mounted, where nothing is left in it and nobody is in it."""
        if self.own_mount and not any(self.path.iterdir()):
            _libc().umount2(os.fsencode(self.path), 0)


def open_root(wanted: Path | None, allow: Allow = Allow.NONE, environ: Mapping[str, str] | None = None) -> MemoryRoot:
    """The root at ``wanted``, or the first usable default place; :class:`ConfigurationProblem` where there is none."""
    refusals = []
    for path in [wanted] if wanted is not None else _default_places(os.environ if environ is None else environ):
        try:
            return _prepared(path, allow)
        except _Unfit as unfit:
            refusals.append(f"{path} {unfit}")
    raise ConfigurationProblem(
        "no directory in memory for secrets: " + "; ".join(refusals) + ". Name one with OVERSEER_TMPFS_ROOT, or set "
        "OVERSEER_TMPFS_ALLOW=swap (or disk) to accept that values may reach the disk"
    )


class _Unfit(Exception):
    """Why a place is not taken."""


def _default_places(env: Mapping[str, str]) -> list[Path]:
    uid = os.geteuid()
    runtime = env.get("XDG_RUNTIME_DIR", "")
    places = [DEFAULT_ROOT] if uid == 0 else []
    if uid != 0 and runtime.startswith("/"):
        places.append(Path(runtime) / "overseer" / "secrets")
    return [*places, Path(f"/dev/shm/overseer-{uid}")]  # noqa: S108 - owner and mode are checked before it is used


def _prepared(path: Path, allow: Allow) -> MemoryRoot:
    _make_private(path)
    problem = _swappable(path)
    if problem and os.geteuid() == 0 and _mount(path):
        path.chmod(0o700)
        problem = _swappable(path)
    if problem == "disk" and allow is not Allow.DISK:
        raise _Unfit("is on disk and nothing could be mounted there")
    if problem == "swap" and allow is Allow.NONE and os.geteuid() == 0:
        raise _Unfit("may be swapped out")
    _check_private(path)
    return MemoryRoot(path, (f"files of secrets in {path} may reach the {problem}",) if problem else (), _is_own_mount(path))


def _make_private(path: Path) -> None:
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise _Unfit(f"cannot be made ({error.strerror})") from None
    _check_private(path)


def _check_private(path: Path) -> None:
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise _Unfit("is no directory of this user")
    if stat.S_IMODE(found.st_mode) & 0o077:
        try:
            path.chmod(0o700)
        except OSError:
            raise _Unfit("is open to others") from None


def _is_own_mount(path: Path) -> bool:
    return os.path.ismount(path) and _filesystem(path)[2] == _SOURCE


def is_memory(path: Path) -> bool:
    """True where ``path`` lies on tmpfs or ramfs."""
    return _filesystem(path)[0] in _MEMORY


def _swappable(path: Path) -> str:
    """``disk``, ``swap`` or nothing."""
    kind, options, _ = _filesystem(path)
    if kind not in _MEMORY:
        return "disk"
    if kind == "ramfs" or "noswap" in options or not _swap_is_on():
        return ""
    return "swap"


def _swap_is_on() -> bool:
    try:
        return len(Path("/proc/swaps").read_text("ascii").splitlines()) > 1
    except OSError:
        return True


def _filesystem(path: Path) -> tuple[str, frozenset[str], str]:
    """Type, options and source of the mount that ``path`` is on: the newest one of its device (proc(5), mountinfo)."""
    device = path.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    for line in reversed(Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape").splitlines()):
        left, _, right = line.partition(" - ")
        if left.split(" ")[2] == number:
            kind, source, options = right.split(" ", 2)
            return kind, frozenset(options.split(",")), source
    return "unknown", frozenset(), ""


def _mount(path: Path) -> bool:
    """A tmpfs on ``path``: ``noswap`` where the kernel knows it, a plain one while no swap is on. Shipped scripts may run."""
    _make_immutable(path)
    libc = _libc()
    for options in (b"noswap,mode=0700,size=25%", *(() if _swap_is_on() else (b"mode=0700,size=25%",))):
        if libc.mount(_SOURCE.encode("ascii"), os.fsencode(path), b"tmpfs", _MS_NOSUID | _MS_NODEV, options) == 0:
            return True
        if ctypes.get_errno() != errno.EINVAL:
            return False
    return False


def _make_immutable(path: Path) -> None:
    """Best effort: not every file system has the flag."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if any(path.iterdir()):
                return
            (flags,) = struct.unpack("l", fcntl.ioctl(descriptor, _FS_IOC_GETFLAGS, struct.pack("l", 0)))
            fcntl.ioctl(descriptor, _FS_IOC_SETFLAGS, struct.pack("l", flags | _FS_IMMUTABLE_FL))
        finally:
            os.close(descriptor)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)

"""What a running container really holds: its environment and files, read from the outside without touching it.

The way is ``/proc/PID``: no program of the image is trusted or needed, nothing is written. A container's root may hold hostile
links, so paths in it are resolved by the kernel with the container's root as the root (``openat2``, ``RESOLVE_IN_ROOT``). Where
the agent is not root or does not share the engine's process numbers, ``docker cp`` (to standard output) and the engine's
configuration are asked.

Guarantees: what is read stays in memory and is bounded. Only a regular file on a file system that keeps files is opened: a link
to ``/proc/kmsg`` or into a mounted FUSE looks like one too, and a read there may never return. No look takes longer than
``_LOOK_SECONDS``, whatever the container does. Unreadable is ``None``, never a guess.
"""

from __future__ import annotations

import ctypes
import errno
import io
import os
import queue
import stat
import struct
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from overseer.agent.containers import Container
from overseer.agent.engine import Engine
from overseer.core.secret_value import MAX_VALUE_BYTES, SecretValue

Found = TypeVar("Found")
_SYS_OPENAT2: Final = 437  # the same number on every architecture but Alpha
_RESOLVE_NO_MAGICLINKS, _RESOLVE_IN_ROOT = 0x02, 0x10
#: A file from a template may be a little longer than the value in it.
_LARGEST: Final = 2 * MAX_VALUE_BYTES
#: As much of a process's environment as the kernel lets a program be started with by default.
_LARGEST_ENVIRONMENT: Final = 8 * 1024 * 1024
_FLAGS: Final = os.O_PATH | os.O_CLOEXEC
#: statfs(2), f_type: tmpfs, ramfs, overlayfs, ext2 to ext4, XFS, Btrfs, F2FS, ZFS, bcachefs, SquashFS, EROFS.
_KEEPS_FILES: Final = frozenset({
    0x01021994, 0x858458F6, 0x794C7630, 0xEF53, 0x58465342, 0x9123683E, 0xF2F52010, 0x2FC12FC1, 0xCA451A4E, 0x73717368,
    0xE0F5E1E2,
})  # fmt: skip
_LOOK_SECONDS: Final = 10.0
#: Looks that never returned keep their thread; with so many of them nothing more is looked at.
_looks: Final = threading.BoundedSemaphore(32)


def variable(container: Container, name: str) -> SecretValue | None:
    """The environment variable of the container's first process; the configured one where the process shows none of that name."""
    wanted = name.encode("utf-8") + b"="
    if _is_ours_to_read(container):
        raw = _in_time(lambda: _environment(container.pid)) or b""
        for entry in raw.split(b"\0"):
            if entry.startswith(wanted):
                return SecretValue(entry[len(wanted) :])
    for text in container.environment:
        configured = text.encode("utf-8", "surrogateescape")
        if configured.startswith(wanted):
            return SecretValue(configured[len(wanted) :])
    return None


def file(engine: Engine, container: Container, path: str) -> SecretValue | None:
    """The regular file at the absolute ``path`` in the container."""
    if _is_ours_to_read(container):
        try:
            return _in_time(lambda: _file_in_root(container.pid, path))
        except _NotFromHere:
            pass
    return _file_by_copy(engine, container, path)


class _NotFromHere(Exception):
    """Nothing is known of the path; the engine may know."""


def _in_time(look: Callable[[], Found | None]) -> Found | None:
    """What ``look`` returns; ``None`` where it takes too long, or too many do. Raises :class:`_NotFromHere`."""
    if not _looks.acquire(blocking=False):
        return None
    results: queue.SimpleQueue[Found | _NotFromHere | None] = queue.SimpleQueue()

    def run() -> None:
        try:
            results.put(look())
        except _NotFromHere as error:
            results.put(error)
        except OSError:
            results.put(None)
        finally:
            _looks.release()

    threading.Thread(target=run, name="agent-look", daemon=True).start()
    try:
        found = results.get(timeout=_LOOK_SECONDS)
    except queue.Empty:
        return None
    if isinstance(found, _NotFromHere):
        raise found
    return found


def _environment(pid: int) -> bytes:
    with Path(f"/proc/{pid}/environ").open("rb") as stream:
        return stream.read(_LARGEST_ENVIRONMENT)


def _is_ours_to_read(container: Container) -> bool:
    """True where the number is that container's process here: its control group names the container."""
    if container.pid <= 0 or os.geteuid() != 0:
        return False
    try:
        return container.id in Path(f"/proc/{container.pid}/cgroup").read_text("ascii", "replace")
    except OSError:
        return False


def _file_in_root(pid: int, path: str) -> SecretValue | None:
    try:
        root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        raise _NotFromHere from None
    try:
        descriptor = _open_inside(root, path.lstrip("/"))
    finally:
        os.close(root)
    if descriptor < 0:
        return None
    try:
        # Looked at before it is opened for reading: opening a device or a pipe can do something, and reading may never end.
        if not stat.S_ISREG(os.fstat(descriptor).st_mode) or _file_system(descriptor) not in _KEEPS_FILES:
            return None
        reader = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(reader, "rb") as stream:
            content = stream.read(_LARGEST + 1)
    finally:
        os.close(descriptor)
    return SecretValue(content) if len(content) <= _LARGEST else None


def _file_system(descriptor: int) -> int:
    """The type of the file system, which ``os.statvfs`` does not tell."""
    libc = ctypes.CDLL(None, use_errno=True)
    found = ctypes.create_string_buffer(256)  # struct statfs is 120 bytes and begins with f_type, a long
    if libc.fstatfs(descriptor, found) != 0:
        raise OSError(ctypes.get_errno(), "fstatfs")
    return ctypes.c_ulong.from_buffer(found).value & 0xFFFFFFFF


def _open_inside(root: int, path: str) -> int:
    """openat2(2): links and ``..`` end inside ``root``, links of /proc are not followed. -1 where it cannot be opened."""
    how = struct.pack("QQQ", _FLAGS, 0, _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS)
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = int(libc.syscall(_SYS_OPENAT2, root, os.fsencode(path), how, len(how)))
    if descriptor < 0 and ctypes.get_errno() in {errno.ENOSYS, errno.EPERM}:  # an old kernel, or a filter of system calls
        raise _NotFromHere
    return descriptor


def _file_by_copy(engine: Engine, container: Container, path: str) -> SecretValue | None:
    copied = engine.run([*engine.docker, "cp", "--follow-link", f"{container.id}:{path}", "-"], seconds=30)
    if copied.code != 0:
        return None
    try:
        with tarfile.open(fileobj=io.BytesIO(copied.stdout), mode="r:") as archive:
            member = archive.next()
            stream = archive.extractfile(member) if member is not None and member.isreg() and member.size <= _LARGEST else None
            return None if stream is None else SecretValue(stream.read())
    except tarfile.TarError:
        return None

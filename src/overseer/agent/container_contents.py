"""What a running container really holds: its environment and files, read from the outside without touching it.

The way is ``/proc/PID``: no program of the image is trusted or needed, nothing is written. A container's root may hold hostile
links, so paths in it are resolved by the kernel with the container's root as the root (``openat2``, ``RESOLVE_IN_ROOT``). Where
the agent is not root or does not share the engine's process numbers, ``docker cp`` (to standard output) and the engine's
configuration are asked.

Guarantee: what is read stays in memory and is bounded. Unreadable is ``None``, never a guess.
"""

from __future__ import annotations

import ctypes
import io
import os
import stat
import struct
import tarfile
from pathlib import Path
from typing import Final

from overseer.agent.containers import Container
from overseer.agent.engine import Engine
from overseer.core.secret_value import MAX_VALUE_BYTES, SecretValue

_SYS_OPENAT2: Final = 437  # the same number on every architecture but Alpha
_RESOLVE_NO_MAGICLINKS, _RESOLVE_IN_ROOT = 0x02, 0x10
#: A file from a template may be a little longer than the value in it.
_LARGEST: Final = 2 * MAX_VALUE_BYTES
_FLAGS: Final = os.O_PATH | os.O_CLOEXEC


def variable(container: Container, name: str) -> SecretValue | None:
    """The environment variable of the container's first process; the configured one where the process shows none of that name."""
    wanted = name.encode("utf-8") + b"="
    if _is_ours_to_read(container):
        try:
            raw = Path(f"/proc/{container.pid}/environ").read_bytes()
        except OSError:
            raw = b""
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
        found = _file_in_root(container.pid, path)
        if found is not None:
            return found
    return _file_by_copy(engine, container, path)


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
        return None
    try:
        descriptor = _open_inside(root, path.lstrip("/"))
    finally:
        os.close(root)
    if descriptor < 0:
        return None
    try:
        # Looked at before it is opened for reading: opening a device or a pipe can do something.
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        with Path(f"/proc/self/fd/{descriptor}").open("rb") as stream:
            content = stream.read(_LARGEST + 1)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return SecretValue(content) if len(content) <= _LARGEST else None


def _open_inside(root: int, path: str) -> int:
    """openat2(2): links and ``..`` end inside ``root``, links of /proc are not followed. -1 where it cannot be opened."""
    how = struct.pack("QQQ", _FLAGS, 0, _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS)
    libc = ctypes.CDLL(None, use_errno=True)
    return int(libc.syscall(_SYS_OPENAT2, root, os.fsencode(path), how, len(how)))


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

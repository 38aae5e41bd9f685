"""All files that changed since a moment, on every file system that is not kept in memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

#: Kept in memory, or without content of their own. An overlay shows files of file systems that are looked at themselves; one that
#: is the root is looked at as well.
_NO_DISK = frozenset({
    "autofs", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts", "devtmpfs", "efivarfs", "fusectl",
    "hugetlbfs", "mqueue", "nsfs", "overlay", "proc", "pstore", "ramfs", "rpc_pipefs", "securityfs", "selinuxfs", "squashfs",
    "sysfs", "tmpfs", "tracefs",
})  # fmt: skip
#: Larger files are not searched; where one belongs to the system under test, that is a failure.
LARGEST = 1 << 30


def disks() -> list[Path]:
    """Where file systems on disk are mounted, each once, the root always."""
    found: dict[str, Path] = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        _, _, device, root, place = left.split()[:5]
        if right.split()[0] not in _NO_DISK or place == "/":
            path = Path(place.encode().decode("unicode_escape"))
            if path.is_dir() and (device not in found or root == "/"):
                found[device] = path
    return list(found.values())


def changed_since(stamp: Path) -> Iterator[Path]:
    """Files whose content or inode changed after ``stamp`` was made, however their times were set afterwards."""
    for place in disks():
        command = ["find", str(place), "-xdev", "-type", "f", "-cnewer", str(stamp), "-size", f"-{LARGEST}c", "-print0"]
        listed = subprocess.run(command, check=False, capture_output=True).stdout  # files that vanish meanwhile are no failure
        yield from (Path(path.decode("utf-8", "surrogateescape")) for path in listed.split(b"\0") if path)


def is_core(path: Path) -> bool:
    """Whether it is the memory image of a crashed process, whatever its name: an ELF file of the type ET_CORE (elf(5))."""
    try:
        with path.open("rb") as file:
            head = file.read(18)
    except OSError:
        return False
    return head[:4] == b"\x7fELF" and int.from_bytes(head[16:18], sys.byteorder) == 4

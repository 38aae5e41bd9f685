"""The private directory in memory in which the workers of one server keep their numbers (``measures``).

It is the supervisor's: made before its workers, 0700, removed after them. One that a killed supervisor left is removed by the
next one of the same user. Where the machine has no directory in memory that we may write to, the ordinary one for temporary
files serves: the numbers are no secrets.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

_PREFIX: Final = "overseer-metrics-"
_IN_MEMORY: Final = Path("/dev/shm")  # noqa: S108  # the directory that we make in it is private


@contextmanager
def measure_directory(parent: Path | None = None) -> Iterator[str]:
    """A new directory below ``parent`` (default: systemd's runtime directory, else the machine's memory) for a block."""
    home = parent or _home()
    _remove_left_over(home)
    made = tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=home)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _home() -> Path:
    runtime = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    for place in (Path(runtime) if runtime else None, _IN_MEMORY):
        if place is not None and place.is_dir() and os.access(place, os.W_OK | os.X_OK):
            return place
    return Path(tempfile.gettempdir())


def _remove_left_over(home: Path) -> None:
    for found in home.glob(f"{_PREFIX}*"):
        owner = found.name.removeprefix(_PREFIX).partition("-")[0]
        with suppress(OSError):
            mine = found.lstat().st_uid == os.geteuid() and not found.is_symlink()
            if mine and owner.isdigit() and not Path("/proc", owner).exists():
                shutil.rmtree(found, ignore_errors=True)

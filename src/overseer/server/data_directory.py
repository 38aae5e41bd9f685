"""The data directory is its owner's alone: whoever else could write into it could put a key, settings or a token of theirs there.

Guarantees: after :func:`private_directory` neither group nor others can enter it. One that others could write into is refused,
because what lies in it can no longer be trusted; one that holds other things than Overseer's is refused as well, so that nobody's
shared directory is closed. It does not look at the files: each of them is checked where it is read.
"""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Final

from overseer.core.errors import ConfigurationProblem

_OF_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_WRITABLE: Final = stat.S_IWGRP | stat.S_IWOTH
_MARKS: Final = frozenset({"log", "overseer.toml", "owner-token", "postgres", "root.key"})


def private_directory(path: Path) -> None:
    """Make the directory with mode 0700, or take reading and entering from group and others. Blocks for a moment.

    Raises :class:`ConfigurationProblem` saying what to do.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = stat.S_IMODE(path.stat().st_mode)
        if not mode & _OF_OTHERS:
            return
        found = {entry.name for entry in path.iterdir()} - {"lost+found"}  # a file system of its own, just made
        if (mode & _WRITABLE and found) or (found and not found & _MARKS):
            raise ConfigurationProblem(
                f"the data directory {path} has mode {mode:04o}, so that others than its owner may use it: look through it, "
                f"then `chmod 0700` it, or set OVERSEER_DATA_DIR"
            )
        path.chmod(mode & ~_OF_OTHERS)
    except OSError as error:
        raise ConfigurationProblem(f"the data directory {path} cannot be used: {(error.strerror or '').lower()}") from None

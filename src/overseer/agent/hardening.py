"""What the agent forbids its own process, before it holds the first value.

Guarantees: no core dump, not attachable by other processes of the same user (not dumpable), files are made without rights for
others. Locking memory is best effort. It cannot protect against root on the node, and Python cannot wipe freed memory.
"""

from __future__ import annotations

import ctypes
import os
import resource
from typing import Final

_PR_SET_DUMPABLE: Final = 4
_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4


def harden_process() -> list[str]:
    """Apply all of it to this process; returns what could not be had, as sentences for the log."""
    os.umask(0o077)
    missing = []
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        missing.append("the kernel refused to make the process undumpable")
    # Locking future pages under a small limit would make later allocations fail, so only without a limit.
    unlimited = os.geteuid() == 0 or resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] == resource.RLIM_INFINITY
    if not unlimited or libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT) != 0:
        missing.append("memory is not locked: values could reach swap where swap is on")
    return missing

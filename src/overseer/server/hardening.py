"""What a process that holds keys does first: no core dump, no debugger of the same user, no file that others may read.

- ``RLIMIT_CORE`` 0 and ``PR_SET_DUMPABLE`` 0: neither a crash nor another process of the same account gets at the memory
  (ptrace and /proc/PID/mem are then for root only). The second does not survive ``exec``: each process sets it for itself.
- umask 077.
- ``mlockall`` where the limit on locked memory is unlimited: then keys are not written to swap. Under a finite limit it is
  left alone, because a later allocation beyond the limit would fail: use encrypted swap, or ``LimitMEMLOCK=infinity``.

What Python cannot promise: freed memory is not wiped, and copies of a value may stay in the heap until it is reused.
"""

from __future__ import annotations

import ctypes
import os
import resource
from contextlib import suppress
from typing import Final

_PR_SET_DUMPABLE: Final = 4
_MCL_CURRENT_AND_FUTURE: Final = 3


def harden_process() -> bool:
    """Do all of it; True where memory is locked. Never raises: what the kernel refuses is left as it was."""
    os.umask(0o077)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    if resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] != resource.RLIM_INFINITY:
        return False
    return bool(libc.mlockall(_MCL_CURRENT_AND_FUTURE) == 0)


def raise_file_limit() -> None:
    """As many open files as this account may have: each connection is one."""
    with suppress(OSError, ValueError):
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

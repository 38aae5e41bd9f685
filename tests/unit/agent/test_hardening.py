"""What the agent forbids its process, seen from a process that did it."""

from __future__ import annotations

import json
import subprocess
import sys

PROBE = """
import ctypes, json, os, resource
from overseer.agent.hardening import harden_process
missing = harden_process()
libc = ctypes.CDLL(None)
umask = os.umask(0)
print(json.dumps([resource.getrlimit(resource.RLIMIT_CORE), libc.prctl(3, 0, 0, 0, 0), umask, missing]))
"""


def test_no_core_not_dumpable_private_files() -> None:
    said = subprocess.run([sys.executable, "-c", PROBE], check=True, capture_output=True).stdout
    core, dumpable, umask, missing = json.loads(said)
    assert core == [0, 0]
    assert dumpable == 0
    assert umask == 0o077
    assert all("swap" in sentence for sentence in missing)  # locking memory may be refused, the rest may not

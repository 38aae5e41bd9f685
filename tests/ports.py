"""Ports for the servers that tests start.

Guarantees: no call in any process of this machine's network is given a port that another one was given while that process
lives, and none that the kernel would give to a connection in the meantime (they are below ``ip_local_port_range``). So the
seconds between the choice of a port and a server's ``bind`` are nobody else's. It won't keep the port from a program that asks
for exactly this number.
"""

from __future__ import annotations

import secrets
import socket
from typing import Final

_FIRST: Final = 20_000
_COUNT: Final = 12_000


def free_port() -> int:
    """A port of 127.0.0.1 on which nothing is bound, this process's until it ends."""
    for _ in range(1000):
        port = _FIRST + secrets.randbelow(_COUNT)
        if _claimed(port) and _unbound(port):
            return port
    raise AssertionError("a thousand ports are in use")


def _claimed(port: int) -> bool:
    """An abstract socket's name is unique in a network namespace, as a port is, and goes with the process that has it."""
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        claim.bind(f"\0overseer-test-port-{port}")
    except OSError:
        claim.close()
        return False
    claim.detach()  # not inherited by children, and closed by the end of this process alone
    return True


def _unbound(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True

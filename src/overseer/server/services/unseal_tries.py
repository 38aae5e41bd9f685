"""How often somebody may try to unseal: each peer by itself, so that a flood of guesses from one locks nobody else out.

Five tries at once and one in ten seconds after that, for each peer (IPv6: its /64); this machine's own loopback is one peer that
no stranger can spend for. A try that finds none left is no guess and costs nothing; it is counted into the audit log.

Per process and in memory, bounded in size.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from math import ceil
from typing import Final

from overseer.core.errors import RateLimited

BURST: Final = 5
SECONDS_PER_TRY: Final = 10.0
MAX_PEERS: Final = 10_000
LOCAL: Final = "local"


@dataclass(slots=True)
class _Tries:
    left: float
    at: float


class UnsealTries:
    """``clock`` is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._peers: OrderedDict[str, _Tries] = OrderedDict()

    def take(self, peer: str) -> None:
        """Take a try of ``peer``, or raise :class:`RateLimited`."""
        now = self._clock()
        key = peer_key(peer)
        tries = self._peers.pop(key, None) or _Tries(BURST, now)
        self._peers[key] = tries
        if len(self._peers) > MAX_PEERS:
            self._peers.popitem(last=False)
        tries.left = min(BURST, tries.left + (now - tries.at) / SECONDS_PER_TRY)
        tries.at = now
        if tries.left < 1:
            raise RateLimited("too many tries to unseal; wait", retry_after=ceil((1 - tries.left) * SECONDS_PER_TRY))
        tries.left -= 1

    def give_back(self, peer: str) -> None:
        """What the try brought was right: it was no guess, so it costs nothing (a seal of many shares needs many)."""
        tries = self._peers.get(peer_key(peer))
        if tries is not None:
            tries.left = min(BURST, tries.left + 1)


def peer_key(peer: str) -> str:
    """Whose tries a peer's are: :data:`LOCAL` for loopback and for what has no address (a Unix socket)."""
    try:
        address = ip_address(peer)
    except ValueError:
        return peer or LOCAL
    if address.is_loopback:
        return LOCAL
    return address.exploded[:19] if isinstance(address, IPv6Address) else str(address)

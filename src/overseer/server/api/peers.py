"""Whose address a request comes from.

The peer is the other end of the connection. Only where that end lies in ``OVERSEER_TRUSTED_PROXIES`` is X-Forwarded-For read,
from the right: the first address that is no trusted proxy is the peer, since everything left of it was written by the client.
Addresses are plain texts that PostgreSQL's ``inet`` accepts: IPv4-mapped IPv6 is unmapped and zone ids are cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Final

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address
RawHeaders = Iterable[tuple[bytes, bytes]]

#: No address or host name with a port is longer (RFC 1035: 255 for a name); what is remembered of strangers' texts stays small.
MOST_CHARACTERS: Final = 300


class PeerRule:
    """Finds the peer of a request, given the networks whose X-Forwarded-For is believed."""

    def __init__(self, trusted_proxies: Sequence[str] = ()) -> None:
        self._trusted: tuple[Network, ...] = tuple(ip_network(text) for text in trusted_proxies)

    def from_proxy(self, scope: Mapping[str, Any]) -> bool:
        """Whether the other end of the connection is a trusted proxy."""
        client = scope.get("client")
        direct = parse_address(client[0]) if client else None
        return direct is not None and self._is_trusted(direct)

    def peer(self, scope: Mapping[str, Any]) -> str:
        """The peer's address, '' where the connection has none (a Unix socket)."""
        client = scope.get("client")
        direct = parse_address(client[0]) if client else None
        if direct is None:
            return ""
        if not self._trusted or not self._is_trusted(direct):
            return _text(direct)
        nearest = direct
        for text in reversed(_forwarded(scope["headers"])):
            hop = parse_address(_without_port(text))
            if hop is None:
                break  # what stands left of nonsense is worth nothing
            nearest = hop
            if not self._is_trusted(hop):
                break
        return str(nearest)

    def _is_trusted(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)


def parse_address(text: str) -> Address | None:
    """The address in ``text`` without zone id and IPv4 mapping, None where it is none."""
    return _parsed(text) if len(text) <= MOST_CHARACTERS else None


@lru_cache(maxsize=1024)
def _parsed(text: str) -> Address | None:
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


@lru_cache(maxsize=1024)
def _text(address: Address) -> str:
    return str(address)


def _forwarded(headers: RawHeaders) -> list[str]:
    lines = [value.decode("latin-1") for name, value in headers if name == b"x-forwarded-for"]
    return [part.strip() for line in lines for part in line.split(",")][-32:]


def _without_port(text: str) -> str:
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text

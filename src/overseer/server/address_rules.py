"""Which addresses the server itself may connect to on behalf of what people have set up.

Guarantees: a name is resolved once, every address that it resolves to is judged, and the caller connects to the very address that
was judged. Link-local addresses, where clouds keep their metadata, multicast and unspecified ones are always refused; loopback
and private ones unless the operator's configuration lists their network; what is not encrypted goes only to networks that are
listed for that. Whoever may set something up can therefore not make the server knock at doors inside.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from overseer.core.errors import ConfigurationProblem, NotReady

PLAIN: Final = "plain:"
NOT_ALLOWED: Final = "its address is not allowed here"
RULE: Final = "a list of networks such as 10.20.0.0/16, each with plain: before it where connections need no TLS there"


@dataclass(frozen=True, slots=True)
class AddressRule:
    """``allowed`` networks beside the public ones; ``plain`` those where a connection need not be encrypted."""

    allowed: tuple[IPv4Network | IPv6Network, ...] = ()
    plain: tuple[IPv4Network | IPv6Network, ...] = ()

    @classmethod
    def parse(cls, texts: Iterable[str], setting: str) -> AddressRule:
        """By the text of a setting. Raises :class:`ConfigurationProblem`."""
        try:
            networks = [(ip_network(text.removeprefix(PLAIN)), text.startswith(PLAIN)) for text in texts]
        except ValueError:
            raise ConfigurationProblem(f"{setting} is {RULE}") from None
        return cls(tuple(one for one, _ in networks), tuple(one for one, plain in networks if plain))

    def allows(self, address: IPv4Address | IPv6Address, *, encrypted: bool) -> bool:
        """Whether a connection may go there."""
        if address.is_link_local or address.is_multicast or address.is_unspecified:
            return False
        if not encrypted and not any(address in network for network in self.plain):
            return False
        return address.is_global or any(address in network for network in self.allowed)

    async def judged(self, host: str, port: int, *, encrypted: bool, what: str) -> str:
        """The address to connect to for ``host``. Raises :class:`NotReady` that names ``what``, never the address."""
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
            addresses = [plain_address(entry[4][0]) for entry in found]
        except (OSError, ValueError):
            raise NotReady(f"{what} cannot be asked: its name is not known", retry_after=5) from None
        if not addresses or not all(self.allows(address, encrypted=encrypted) for address in addresses):
            raise NotReady(f"{what} cannot be asked: {NOT_ALLOWED}", retry_after=5)
        return str(addresses[0])


def plain_address(text: str | int) -> IPv4Address | IPv6Address:
    """An address without a zone; an IPv4 address that is written as an IPv6 one is taken for what it is."""
    address = ip_address(str(text).partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address

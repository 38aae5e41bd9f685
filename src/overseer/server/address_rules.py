"""Which addresses the server itself may connect to on behalf of what people have set up.

Guarantees: a name is resolved once, every address that it resolves to is judged, and the caller connects to the very address
that was judged. Link-local addresses and the others where clouds keep their metadata, multicast and unspecified ones are always
refused; loopback and private ones unless the operator's configuration lists their network; what is not encrypted goes only to
networks that are listed for that. An IPv6 address that only carries an IPv4 one to a translator or a tunnel is judged as the
one that it carries. Whoever may set something up can therefore not make the server knock at doors inside.
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
#: Where clouds answer with a machine's credentials, outside of link-local: AWS and Google over IPv6, Alibaba, Oracle.
METADATA: Final = frozenset(ip_address(text) for text in ("fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "192.0.0.192"))
#: IPv6 addresses whose last 32 bits are an IPv4 one: NAT64 (RFC 6052, RFC 8215), compatible (RFC 4291), translated (RFC 2765).
_CARRIERS: Final = tuple(ip_network(text) for text in ("64:ff9b::/96", "64:ff9b:1::/48", "::/96", "::ffff:0:0:0/96"))
NOT_ALLOWED: Final = "its address is not allowed here, see OVERSEER_ROTATOR_NETWORKS"
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
        address = carried(address)
        if is_never_asked(address):
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


def is_never_asked(address: IPv4Address | IPv6Address) -> bool:
    """Whether no configuration allows it."""
    return address.is_link_local or address.is_multicast or address.is_unspecified or address in METADATA


def carried(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address that an IPv6 one carries to a translator or tunnel (6to4, Teredo and those of RFC 6052), else itself."""
    if isinstance(address, IPv4Address) or address.is_loopback or address.is_unspecified:
        return address
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    return IPv4Address(int(address) & 0xFFFFFFFF) if any(address in network for network in _CARRIERS) else address


def plain_address(text: str | int) -> IPv4Address | IPv6Address:
    """An address without a zone; an IPv4 address that is written as an IPv6 one is taken for what it is."""
    address = ip_address(str(text).partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address

"""Which Host a request may name, and which Origin a browser's changing request may come from.

A web page that makes its own name point at 127.0.0.1 (DNS rebinding) still sends that name as Host: it is refused. Accepted are
the loopback names, the host that the server listens on, what ``OVERSEER_ALLOWED_HOSTS`` lists, and the very address that the
connection arrived at (an address cannot be rebound). A state-changing request with an Origin must come from the same scheme, host
and port (RFC 6454, section 5): a page that somebody in between served as plain http is another site. The server's own scheme is
the connection's, or https where that comes from a trusted proxy, which ends TLS.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, Final
from urllib.parse import urlsplit

from overseer.core.errors import ForeignOrigin, WrongHost
from overseer.server.api.peers import MOST_CHARACTERS, parse_address

LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})
DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_OTHER_SCHEME: Final = (
    "this page was opened under another scheme or port than the server's own; open it again, and list a proxy that ends TLS in "
    "OVERSEER_TRUSTED_PROXIES"
)


class HostRule:
    """Checks Host and Origin. ``allowed`` are host names or addresses without a port; IPv6 without brackets. ``from_proxy`` says
    of a request whether it comes from a proxy that ends TLS."""

    def __init__(self, allowed: Iterable[str] = (), from_proxy: Callable[[Mapping[str, Any]], bool] = lambda _: False) -> None:
        self._from_proxy = from_proxy
        self._allowed = LOOPBACK_NAMES | {_plain(name) for name in allowed}

    def check(self, scope: Mapping[str, Any], headers: Mapping[bytes, list[bytes]]) -> None:
        """Raise :class:`WrongHost` (421) or :class:`ForeignOrigin` (403); neither names the header's content."""
        hosts = headers.get(b"host", [])
        host = hosts[0].decode("latin-1").lower() if len(hosts) == 1 else ""
        name = host_of(host)
        if not name or not (name in self._allowed or name == _local_address(scope)):
            raise WrongHost("this server does not answer to that Host; add it to OVERSEER_ALLOWED_HOSTS if it should")
        if scope["method"] in _SAFE_METHODS:
            return
        origins = headers.get(b"origin")
        if not origins:
            return
        own = origin_of(f"{self._scheme(scope)}://{host}")
        for text in origins:
            origin = origin_of(text.decode("latin-1"))
            if origin is None or origin != own:
                same = origin is not None and own is not None and origin[1] == own[1]
                raise ForeignOrigin(_OTHER_SCHEME if same else "a page of another site may not change anything here")

    def _scheme(self, scope: Mapping[str, Any]) -> str:
        return "https" if scope.get("scheme") == "https" or self._from_proxy(scope) else "http"


def origin_of(text: str) -> tuple[str, str, int] | None:
    """Scheme, host and port of an origin as a browser writes it (RFC 6454, section 6.2); None for anything else, ``null`` too."""
    if len(text) > MOST_CHARACTERS:
        return None
    try:
        parts = urlsplit(text)
        host, port = host_of(parts.netloc), parts.port
    except ValueError:
        return None
    if parts.scheme not in DEFAULT_PORTS or not host or parts.path or parts.query or parts.fragment:
        return None
    return parts.scheme, host, DEFAULT_PORTS[parts.scheme] if port is None else port


def host_of(netloc: str) -> str:
    """Name or address in ``host``, ``host:port``, ``[v6]`` or ``[v6]:port``; '' where it is none of these."""
    return _host_of(netloc) if len(netloc) <= MOST_CHARACTERS else ""


@lru_cache(maxsize=1024)
def _host_of(netloc: str) -> str:
    if netloc.startswith("["):
        name, bracket, rest = netloc[1:].partition("]")
        valid = bracket and (not rest or (rest[0] == ":" and rest[1:].isdigit()))
        return _plain(name) if valid else ""
    name, colon, port = netloc.partition(":")
    return _plain(name) if not colon or port.isdigit() else ""


def _plain(name: str) -> str:
    lowered = name.strip("[]").lower().removesuffix(".")
    address = parse_address(lowered)
    return lowered if address is None else str(address)


def _local_address(scope: Mapping[str, Any]) -> str | None:
    server = scope.get("server")
    return _plain(server[0]) if server and server[0] else None

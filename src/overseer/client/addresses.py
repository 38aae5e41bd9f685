"""Where a server is: a base URL, or those of several replicas, checked before a credential goes anywhere near one.

Guarantees that a token is never sent in the clear: plain HTTP is for this machine only (``localhost``, 127.0.0.0/8, ``::1``),
and no setting turns that off. Proxy variables of the environment are not honoured.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from overseer.core.errors import ConfigurationProblem

DEFAULT_URL = "http://127.0.0.1:8420"


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """Scheme, host and port of a server, and the path below which its routes lie ("" at the root)."""

    scheme: str
    host: str
    port: int
    prefix: str

    @property
    def secure(self) -> bool:
        return self.scheme == "https"

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = {"http": 80, "https": 443}[self.scheme]
        port = "" if self.port == usual else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.prefix}"


def parse_address(url: str) -> ServerAddress:
    """The address in ``url``, or :class:`ConfigurationProblem` that says what is wrong (a password in it is not shown)."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ConfigurationProblem("the server's URL cannot be read: write it like https://overseer.example.org:8420") from None
    if parts.scheme not in ("http", "https") or not host:
        raise ConfigurationProblem("the server's URL must begin with https:// (or http:// on this machine) and name a host")
    if parts.username is not None or parts.password is not None:
        raise ConfigurationProblem("the server's URL must not hold a user or a password: give the token as OVERSEER_TOKEN")
    if parts.query or parts.fragment:
        raise ConfigurationProblem("the server's URL must not hold '?' or '#'")
    if parts.scheme == "http" and not is_loopback(host):
        raise ConfigurationProblem(
            f"refusing plain HTTP to {host}: a token and secrets would cross the network unencrypted; use https:// "
            "(with OVERSEER_CA_FILE when the server has its own CA)"
        )
    if port is None:
        port = 443 if parts.scheme == "https" else 80
    return ServerAddress(parts.scheme, host, port, parts.path.rstrip("/"))


def parse_addresses(urls: str) -> tuple[ServerAddress, ...]:
    """The addresses of one server's replicas, separated by commas; each once, in the order given, at least one.

    Raises :class:`ConfigurationProblem` as :func:`parse_address` does, for the first that is wrong.
    """
    parts = [part.strip() for part in urls.split(",")]
    return tuple(dict.fromkeys(parse_address(part) for part in parts if part)) or (parse_address(""),)


def as_text(addresses: Iterable[ServerAddress]) -> str:
    """The addresses as :func:`parse_addresses` reads them, in one form."""
    return ",".join(map(str, addresses))


def is_loopback(host: str) -> bool:
    """True for ``localhost`` and for literal loopback addresses; no name is looked up."""
    if host == "localhost":
        return True
    import ipaddress  # here: https needs it not, and it costs a few milliseconds of a command's start

    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

"""The listening sockets: bound once by the supervisor, inherited by every worker, so a restarted worker loses no connection."""

from __future__ import annotations

import socket
import ssl
import stat
from contextlib import suppress
from typing import Final

from overseer.core.errors import ConfigurationProblem
from overseer.server.settings import Settings

BACKLOG: Final = 2048


def listening_sockets(host: str, port: int) -> list[socket.socket]:
    """One socket for each address of ``host``. Raises :class:`ConfigurationProblem` where none can be bound."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError:
        raise ConfigurationProblem("OVERSEER_LISTEN names a host that cannot be looked up") from None
    sockets: list[socket.socket] = []
    trouble = ""
    for family, type_, protocol, _, address in dict.fromkeys(found):
        try:
            sockets.append(_bound(family, type_, protocol, address))
        except OSError as error:
            trouble = error.strerror or "refused"
        if port == 0 and sockets:
            break  # the others would get another port
    if not sockets:
        raise ConfigurationProblem(f"OVERSEER_LISTEN {host}:{port} cannot be bound: {trouble.lower()}")
    return sockets


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """TLS 1.2 or later with the settings' certificate; None without one. Raises :class:`ConfigurationProblem`."""
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    with suppress(OSError):
        if settings.tls_key.stat().st_mode & (stat.S_IRWXO | stat.S_IWGRP):
            raise ConfigurationProblem("OVERSEER_TLS_KEY: others than its owner and group may read the file; chmod 0640 or less")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key)
    except (OSError, ssl.SSLError):
        raise ConfigurationProblem(
            "OVERSEER_TLS_CERT and OVERSEER_TLS_KEY are not a readable PEM chain and its private key"
        ) from None
    return context


def _bound(family: int, type_: int, protocol: int, address: tuple[object, ...]) -> socket.socket:
    made = socket.socket(family, type_, protocol)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(address)
        made.listen(BACKLOG)
        made.setblocking(False)
    except OSError:
        made.close()
        raise
    return made

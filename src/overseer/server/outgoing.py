"""Requests that the server itself sends to the outside: to addresses of the operator's configuration, and no further.

Guarantees: https (plain http to this machine's loopback alone, where it is allowed); the name is resolved once, every address it
resolves to is judged, and the connection goes to the very address that was judged (no second look-up in between); link-local
addresses, where clouds keep their metadata, are always refused, loopback and private ones unless the configuration allows
them; no redirect is followed and no proxy of the environment is used; one deadline over everything; an answer beyond the limit is
given up while it is read. An error says which service failed, never what it said.
"""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

import httpx

from overseer.core.errors import NotReady
from overseer.core.secret_value import SecretValue

SECONDS: Final = 10.0
MAX_ANSWER: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """A status and the decoded JSON, None where the body is none. Its repr shows no content."""

    status: int
    json: Any

    def __repr__(self) -> str:
        return f"Answer(status={self.status})"


class Outgoing:
    """Requests to one service, called ``name`` in errors. A connection is not kept: they are rare."""

    def __init__(self, name: str, *, allow_private: bool, ca_file: Path | None = None, seconds: float = SECONDS) -> None:
        self._name = name
        self._allow_private = allow_private
        self._ca_file = ca_file
        self._seconds = seconds

    async def get(self, url: str) -> Answer:
        """A document. Raises :class:`NotReady` where the service does not answer as it should."""
        return await self._send("GET", url, None, {})

    async def post_form(self, url: str, form: Mapping[str, str], basic: tuple[str, SecretValue] | None = None) -> Answer:
        """The answer to a form, with a client's id and secret as RFC 6749, section 2.3.1, wants them. Raises as :meth:`get`."""
        headers = {}
        if basic is not None:
            pair = f"{quote(basic[0], safe='')}:{quote(basic[1].reveal().decode('utf-8'), safe='')}"
            headers["authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        return await self._send("POST", url, form, headers)

    async def _send(self, method: str, url: str, form: Mapping[str, str] | None, headers: Mapping[str, str]) -> Answer:
        try:
            async with asyncio.timeout(self._seconds):
                parts = urlsplit(url)
                host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
                address = await self._judged(parts.scheme, host, port)
                return await self._exchange(method, httpx.URL(url).copy_with(host=address), host, form, headers)
        except (OSError, TimeoutError, ValueError, httpx.HTTPError, httpx.InvalidURL):
            raise self._failed("it does not answer") from None

    async def _exchange(
        self, method: str, url: httpx.URL, host: str, form: Mapping[str, str] | None, headers: Mapping[str, str]
    ) -> Answer:
        named = f"[{host}]" if ":" in host else host
        sent = {**headers, "host": named if url.port is None else f"{named}:{url.port}", "accept": "application/json"}
        async with httpx.AsyncClient(
            verify=self._tls(), trust_env=False, follow_redirects=False, timeout=self._seconds
        ) as client:
            request = client.build_request(
                method, url, data=dict(form) if form else None, headers=sent, extensions={"sni_hostname": host}
            )
            answer = await client.send(request, stream=True)
            try:
                body = b""
                async for part in answer.aiter_bytes():
                    body += part
                    if len(body) > MAX_ANSWER:
                        raise self._failed("its answer is too long")
            finally:
                await answer.aclose()
        if 300 <= answer.status_code < 400:
            raise self._failed("it answers with a redirect, which is not followed")
        return Answer(answer.status_code, _json(body))

    def _tls(self) -> ssl.SSLContext:
        """TLS 1.2 or later with the host name checked; where a CA file is given that CA alone is trusted."""
        try:
            return ssl.create_default_context(cafile=None if self._ca_file is None else str(self._ca_file))
        except (OSError, ValueError):
            raise self._failed("its CA file cannot be read") from None

    async def _judged(self, scheme: str, host: str, port: int) -> str:
        """The address to connect to; every one of the name has to be allowed."""
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = [_address(entry[4][0]) for entry in found]
        if not addresses or not all(self._allowed(address, scheme) for address in addresses):
            raise self._failed("its address is not allowed here")
        return str(addresses[0])

    def _allowed(self, address: IPv4Address | IPv6Address, scheme: str) -> bool:
        if address.is_link_local or address.is_multicast or address.is_unspecified:
            return False
        if scheme != "https" and not address.is_loopback:
            return False
        return self._allow_private or address.is_global

    def _failed(self, why: str) -> NotReady:
        return NotReady(f"{self._name} cannot be asked: {why}", retry_after=5)


def _address(text: str | int) -> IPv4Address | IPv6Address:
    address = ip_address(str(text).partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None

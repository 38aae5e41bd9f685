"""Requests that the server itself sends to the outside: to addresses of the operator's configuration, and no further.

Guarantees: https (plain http to this machine's loopback alone, where it is allowed); the name is resolved once for each
request, every address it resolves to is judged, and the connection goes to the very address that was judged (no second look-up
between); link-local addresses and others where clouds keep their metadata are refused (but for the one host that
``metadata_host`` names), loopback and private ones unless the configuration allows them, and the same written as IPv6; no
redirect is followed and no proxy of the environment is used; one deadline over everything; an answer beyond the limit is given
up while it is read. A connection is used again for the same host alone: another name at the same address has its own
certificate to show. An error says which service failed, never what it said.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

import httpx

from overseer.core.errors import NotReady
from overseer.core.secret_value import SecretValue
from overseer.server.address_rules import AddressRule, carried, is_never_asked, plain_address

SECONDS: Final = 10.0
MAX_ANSWER: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """A status and the body: its bytes, and decoded JSON (None where it is none). Its repr shows no content."""

    status: int
    json: Any
    body: bytes = field(default=b"", repr=False)

    def __repr__(self) -> str:
        return f"Answer(status={self.status})"


class OutgoingFailure(Exception):
    """No answer that can be used: ``stage`` is a word for programs (dns, address, connect, tls, timeout, redirect, too_large),
    ``why`` goes on after "it cannot be asked:"."""

    def __init__(self, stage: str, why: str) -> None:
        super().__init__(why)
        self.stage = stage
        self.why = why


class Outgoing:
    """Requests to one service, called ``name`` in errors. ``host_allowed`` judges names before they are looked up."""

    def __init__(
        self,
        name: str,
        *,
        allow_private: bool,
        ca_file: Path | None = None,
        ca_pem: str | None = None,
        client_pem: SecretValue | None = None,
        seconds: float = SECONDS,
        max_answer: int = MAX_ANSWER,
        host_allowed: Callable[[str], bool] = lambda _: True,
        metadata_host: str | None = None,
        rule: AddressRule | None = None,
    ) -> None:
        """``rule``: which addresses are allowed, where it is not ``allow_private`` that says so."""
        self._name = name
        self._rule = rule
        self._allow_private = allow_private
        self._trust = (ca_file, ca_pem, client_pem)
        self._context: ssl.SSLContext | None = None
        self._seconds = seconds
        self._max_answer = max_answer
        self._host_allowed = host_allowed
        self._metadata_host = metadata_host

    async def get(self, url: str) -> Answer:
        """A document. Raises :class:`NotReady` where the service does not answer as it should."""
        return await self._once("GET", url, None, {})

    async def post_form(self, url: str, form: Mapping[str, str], basic: tuple[str, SecretValue] | None = None) -> Answer:
        """The answer to a form, with a client's id and secret as RFC 6749, section 2.3.1, wants them. Raises as :meth:`get`."""
        headers = {}
        if basic is not None:
            pair = f"{quote(basic[0], safe='')}:{quote(basic[1].reveal().decode('utf-8'), safe='')}"
            headers["authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        return await self._once("POST", url, form, headers)

    async def _once(self, method: str, url: str, form: Mapping[str, str] | None, headers: Mapping[str, str]) -> Answer:
        try:
            async with self.opened() as connections:
                return await connections.send(method, url, headers=headers, form=form)
        except OutgoingFailure as failure:
            raise NotReady(f"{self._name} cannot be asked: {failure.why}", retry_after=5) from None

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Connections]:
        """Connections that several requests share; they end with the block."""
        async with AsyncExitStack() as stack:
            yield Connections(self, stack)

    async def judged(self, url: str) -> tuple[str, str]:
        """Host and address to connect to; every address of the name has to be allowed. Raises :class:`OutgoingFailure`."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError:
            raise OutgoingFailure("address", "its address is no URL") from None
        if not self._host_allowed(host):
            raise OutgoingFailure("address", "the operator's configuration does not allow its host")
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise OutgoingFailure("dns", "it does not answer: its name cannot be resolved") from None
        addresses = [plain_address(entry[4][0]) for entry in found]
        if not addresses or not all(self._allowed(host, address, parts.scheme) for address in addresses):
            raise OutgoingFailure("address", "its address is not allowed here")
        return host, str(addresses[0])

    def tls(self) -> ssl.SSLContext:
        """TLS 1.2 or later with the host name checked; where a CA is given that CA alone is trusted."""
        if self._context is None:
            ca_file, ca_pem, client_pem = self._trust
            try:
                context = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file), cadata=ca_pem)
                if client_pem is not None:
                    _load_client(context, client_pem)
            except (OSError, ValueError):
                raise OutgoingFailure("tls", "its CA file, or the client's certificate, cannot be read") from None
            self._context = context
        return self._context

    @property
    def seconds(self) -> float:
        """The deadline of one request."""
        return self._seconds

    @property
    def max_answer(self) -> int:
        """The most bytes of an answer."""
        return self._max_answer

    def _allowed(self, host: str, address: IPv4Address | IPv6Address, scheme: str) -> bool:
        if self._metadata_host is not None and host == str(address) == self._metadata_host:
            return True
        if self._rule is not None:
            return self._rule.allows(address, encrypted=scheme == "https")
        meant = carried(address)
        if is_never_asked(meant):
            return False
        if scheme != "https" and not address.is_loopback:
            return False
        return self._allow_private or meant.is_global


class Connections:
    """Open connections of an :class:`Outgoing`, one client for each host."""

    def __init__(self, outgoing: Outgoing, stack: AsyncExitStack) -> None:
        self._outgoing = outgoing
        self._stack = stack
        self._clients: dict[str, httpx.AsyncClient] = {}

    async def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
        content: bytes | None = None,
    ) -> Answer:
        """One request and its whole answer, whatever its status. Raises :class:`OutgoingFailure`."""
        try:
            async with asyncio.timeout(self._outgoing.seconds):
                host, address = await self._outgoing.judged(url)
                return await self._exchange(method, httpx.URL(url).copy_with(host=address), host, headers or {}, form, content)
        except (TimeoutError, httpx.TimeoutException):
            raise OutgoingFailure("timeout", "it does not answer in time") from None
        except (OSError, httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            if _is_tls(error):
                raise OutgoingFailure("tls", "it does not answer: its certificate does not verify, or TLS fails") from None
            raise OutgoingFailure("connect", "it does not answer") from None

    async def _exchange(
        self,
        method: str,
        url: httpx.URL,
        host: str,
        headers: Mapping[str, str],
        form: Mapping[str, str] | None,
        content: bytes | None,
    ) -> Answer:
        named = f"[{host}]" if ":" in host else host
        sent = {"accept": "application/json", "accept-encoding": "identity", **headers}
        sent["host"] = named if url.port is None else f"{named}:{url.port}"
        client = await self._client(host)
        request = client.build_request(
            method, url, data=dict(form) if form else None, content=content, headers=sent, extensions={"sni_hostname": host}
        )
        answer = await client.send(request, stream=True)
        try:
            body = b""
            # As it came, not unpacked: a packed answer was not asked for, and could be a thousand times as long.
            async for part in answer.aiter_raw():
                body += part
                if len(body) > self._outgoing.max_answer:
                    raise OutgoingFailure("too_large", "its answer is too long")
        finally:
            await answer.aclose()
        if 300 <= answer.status_code < 400:
            raise OutgoingFailure("redirect", "it answers with a redirect, which is not followed")
        return Answer(answer.status_code, _json(body), body)

    async def _client(self, host: str) -> httpx.AsyncClient:
        if host not in self._clients:
            made = httpx.AsyncClient(
                verify=self._outgoing.tls(), trust_env=False, follow_redirects=False, timeout=self._outgoing.seconds
            )
            self._clients[host] = await self._stack.enter_async_context(made)
        return self._clients[host]


def _load_client(context: ssl.SSLContext, pem: SecretValue) -> None:
    """OpenSSL reads a key from a path alone: one in memory, which no disk sees and which ends here."""
    held = os.memfd_create("client", os.MFD_CLOEXEC)
    try:
        os.write(held, pem.reveal())
        context.load_cert_chain(f"/proc/self/fd/{held}", password=lambda: b"")
    finally:
        os.close(held)


def _is_tls(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None

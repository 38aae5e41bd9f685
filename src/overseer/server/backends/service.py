"""The service behind a backend as adapters see it: one round of requests under the operator's rules, and what statuses mean."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import msgspec

from overseer.core.secret_value import SecretValue
from overseer.server.backend_settings import AddressRules
from overseer.server.backends.contract import BackendFailure, Stage
from overseer.server.outgoing import Answer, Connections, Outgoing, OutgoingFailure

MAX_ANSWER: Final = 4 * 1024 * 1024
AT_ONCE: Final = 8
Form = TypeVar("Form")
Part = TypeVar("Part")
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Setup:
    """How one backend is set up: its ``name``, checked ``settings``, ``credentials``, the rules, and seconds for one request."""

    name: str
    settings: Mapping[str, str]
    credentials: Mapping[str, str] = field(repr=False)
    rules: AddressRules
    seconds: float = 5.0

    def credential(self, name: str) -> str:
        """One that is needed now. Raises :class:`BackendFailure` where it is not set."""
        found = self.credentials.get(name, "")
        if not found:
            raise BackendFailure(Stage.AUTH, f"the credential {name} is not set: overseer backend update {self.name}")
        return found


class Round:
    """Requests of one round. Each raises :class:`BackendFailure` unless an answer came; statuses are the adapter's to judge."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    async def send(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, body: Any = None, form: Any = None
    ) -> Answer:
        """One request, with ``body`` (bytes as they are, anything else as JSON)."""
        sent = dict(headers or {})
        content = body if isinstance(body, bytes) or body is None else msgspec.json.encode(body)
        if content is not None and not isinstance(body, bytes):
            sent.setdefault("content-type", "application/json")
        try:
            answer = await self._connections.send(method, url, headers=sent, form=form, content=content)
        except OutgoingFailure as failure:
            raise BackendFailure(Stage(failure.stage), failure.why) from None
        if answer.status >= 500 or answer.status == 429:
            raise BackendFailure(Stage.UNAVAILABLE, f"it cannot answer now (status {answer.status})")
        return answer


class Service:
    """Opens rounds to where ``setup`` says."""

    def __init__(
        self,
        setup: Setup,
        address: str,
        *,
        ca_pem: str = "",
        client_pem: str = "",
        metadata_host: str | None = None,
    ) -> None:
        host = host_of(address)
        self._outgoing = Outgoing(
            setup.name,
            allow_private=setup.rules.private_allowed(host),
            ca_pem=ca_pem or None,
            client_pem=SecretValue(client_pem) if client_pem else None,
            seconds=setup.seconds,
            max_answer=MAX_ANSWER,
            host_allowed=lambda name: name == metadata_host or setup.rules.host_allowed(name),
            metadata_host=metadata_host,
        )

    @asynccontextmanager
    async def round(self) -> AsyncIterator[Round]:
        """Connections for requests that belong together."""
        async with self._outgoing.opened() as connections:
            yield Round(connections)


def host_of(address: str) -> str:
    """The host of an ``https://host[:port]`` address. Raises :class:`BackendFailure` where it is none."""
    import httpx

    try:
        url = httpx.URL(address)
    except (httpx.InvalidURL, ValueError):
        raise BackendFailure(Stage.ADDRESS, "its address is no URL") from None
    if url.scheme not in ("https", "http") or not url.host or url.userinfo or url.query or url.fragment:
        raise BackendFailure(Stage.ADDRESS, "its address is https://HOST[:PORT] without user, query and fragment")
    return url.host


async def each(parts: Sequence[Part], fetch: Callable[[Part], Awaitable[Found]]) -> dict[Part, Found | BackendFailure]:
    """Every part of a round (a reference, a folder, a batch) by itself, at most :data:`AT_ONCE` of them at a time; a failure is
    its own."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(part: Part) -> Found | BackendFailure:
        async with turns:
            try:
                return await fetch(part)
            except BackendFailure as failure:
                return failure

    values = await asyncio.gather(*(one(part) for part in parts))
    return dict(zip(parts, values, strict=True))


def decoded(answer: Answer, form: type[Form]) -> Form:
    """The body of an answer, or the failure of one that is not what this kind of service says."""
    try:
        return msgspec.json.decode(answer.body, type=form)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BackendFailure(Stage.ANSWER, "it does not answer as this kind of backend does: check its address") from None


def not_understood(answer: Answer) -> BackendFailure:
    """For a status that nothing explains."""
    return BackendFailure(Stage.ANSWER, f"it answers with a status that is not expected ({answer.status}): check its settings")

"""What a route function gets and what it may give back.

A :class:`Call` is a request that has passed every check that needs no database: its body, query and path obey their types, its
headers are read. Nothing in it is a decision about access: that is made by the service's gate.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from msgspec import Struct

from overseer.core.principals import Caller
from overseer.server.services.idempotency import Idempotency

if TYPE_CHECKING:
    from overseer.server.services.catalogue import Services

Body = TypeVar("Body")
Query = TypeVar("Query")
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True, repr=False)
class Call(Generic[Body, Query]):
    """One checked request. ``body`` and ``query`` are None where the route declares none. Its repr shows no content.

    ``ended`` is set when the client of a held route left or the server stops. ``forwarded``: a proxy says that it asks for
    somebody else.
    """

    services: Services
    caller: Caller
    body: Body
    query: Query
    if_match: str | None = None
    idempotency: Idempotency | None = None
    last_event_id: str | None = None
    forwarded: bool = False
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def __repr__(self) -> str:
        return f"Call(request_id={self.caller.request_id!r})"


@dataclass(frozen=True, slots=True, repr=False)
class Reply(Generic[Answer]):
    """An answer with what goes beside it: ``etag`` (strong, with its quotes), or another ``status`` than the route's.

    ``notes``: headers that the route declares, for an answer without a body; ASCII.
    """

    body: Answer
    etag: str | None = None
    status: int | None = None
    notes: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Reply(status={self.status})"


@dataclass(frozen=True, slots=True)
class Document:
    """An answer that is not a message: bytes made beforehand, with their media type and content security policy."""

    media_type: str
    content: bytes
    policy: str | None = None


@dataclass(frozen=True, slots=True)
class EventStream:
    """An answer that goes on: server-sent events, each with its id, its name and its message; None is a heartbeat."""

    events: AsyncGenerator[tuple[str, str, Struct] | None, None]

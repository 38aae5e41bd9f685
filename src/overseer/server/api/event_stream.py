"""Server-sent events (the HTML standard, section 9.2): an answer that goes on until its events end, its reader leaves or the
server stops.

The first event is waited for before the answer begins, so that a refusal is still a problem document. What fails later ends the
stream without a word: the reader comes back with Last-Event-ID and is told then.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import msgspec

from overseer.core.errors import InvalidInput, OverseerError, Problem
from overseer.server.api.call import EventStream
from overseer.server.api.front import Receive, Send

EVENT_STREAM: Final = b"text/event-stream"
HEARTBEAT: Final = b": nothing new\n\n"
MAX_EVENT_ID: Final = 4096
Event = tuple[str, str, msgspec.Struct]
_ENCODER: Final = msgspec.json.Encoder()
_HEADERS: Final = [(b"content-type", EVENT_STREAM), (b"x-accel-buffering", b"no")]


async def send_events(
    stream: EventStream, method: str, receive: Receive, send: Send, draining: asyncio.Event
) -> None:
    """Answer with the events of ``stream``. Raises what the first of them raises; nothing was sent then."""
    events = stream.events
    gone = asyncio.ensure_future(_gone(receive))
    drain = asyncio.ensure_future(draining.wait())
    try:
        first = await _next(events, gone, drain)
        await send({"type": "http.response.start", "status": 200, "headers": list(_HEADERS)})
        try:
            while first is not None and method != "HEAD":
                await send({"type": "http.response.body", "body": first, "more_body": True})
                first = await _next(events, gone, drain)
        except OverseerError:
            pass
        await send({"type": "http.response.body", "body": b""})
    finally:
        for task in (gone, drain):
            task.cancel()
        await asyncio.gather(gone, drain, return_exceptions=True)
        await events.aclose()


async def _next(
    events: AsyncIterator[Event | None], gone: asyncio.Future[Any], drain: asyncio.Future[Any]
) -> bytes | None:
    """The next event as text, None at the end of them or where nobody should wait any longer."""
    work = asyncio.create_task(_one(events))
    futures: set[asyncio.Future[Any]] = {work, gone, drain}
    await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
    if not work.done():
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        return None
    try:
        event = work.result()
    except StopAsyncIteration:
        return None
    if event is None:
        return HEARTBEAT
    name, kind, message = event
    # JSON has no line breaks of its own, so one data line is enough.
    return b"id: %s\nevent: %s\ndata: %s\n\n" % (name.encode("ascii"), kind.encode("ascii"), _ENCODER.encode(message))


async def _one(events: AsyncIterator[Event | None]) -> Event | None:
    return await anext(events)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def last_event_id(headers: Mapping[bytes, list[bytes]]) -> str | None:
    """What the reader saw last. :class:`InvalidInput` where that is too long to be ours."""
    sent = b" ".join(headers.get(b"last-event-id", [])).decode("latin-1")
    if len(sent) > MAX_EVENT_ID:
        rule = f"is longer than {MAX_EVENT_ID} characters"
        raise InvalidInput(f"Last-Event-ID {rule}", problems=[Problem("header.last-event-id", rule, "too_long")])
    return sent or None

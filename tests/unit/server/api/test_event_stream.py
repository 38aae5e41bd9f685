"""An answer that goes on: its form, its ends, and that its source is always closed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from overseer.core.errors import InvalidInput, RateLimited, StoreUnavailable
from overseer.server.api.call import EventStream
from overseer.server.api.event_stream import last_event_id, send_events
from overseer.wire.messages import Answer

pytestmark = pytest.mark.anyio
FOREVER = 3600.0


class Said(Answer, frozen=True):
    text: str


class Reader:
    """The other side of a stream: it leaves once ``leaves`` is set."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.leaves, self.told = asyncio.Event(), asyncio.Event()
        self.draining = asyncio.Event()
        self.closed = False

    async def source(self, *events: tuple[str, str, Said] | Exception | None) -> AsyncGenerator[Any, None]:
        try:
            for event in events:
                if isinstance(event, Exception):
                    raise event
                yield event
            await asyncio.sleep(FOREVER)
        finally:
            self.closed = True

    async def receive(self) -> dict[str, Any]:
        await self.leaves.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        self.messages.append(message)
        if message.get("body"):
            self.told.set()

    async def read(self, source: AsyncGenerator[Any, None], method: str = "GET") -> None:
        await asyncio.wait_for(send_events(EventStream(source), method, self.receive, self.send, self.draining), 90)  # type: ignore[arg-type]

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.messages)


async def _short(reader: Reader) -> AsyncGenerator[Any, None]:
    yield ("1.0", "state", Said(text="two\nlines"))
    yield None
    yield ("2.0", "output", Said(text="é"))


async def test_events_are_written_as_the_standard_says() -> None:
    reader = Reader()
    await reader.read(_short(reader))
    assert dict(reader.messages[0]["headers"])[b"content-type"] == b"text/event-stream"
    assert reader.body == (
        b'id: 1.0\nevent: state\ndata: {"text":"two\\nlines"}\n\n'
        b": nothing new\n\n"
        b'id: 2.0\nevent: output\ndata: {"text":"\xc3\xa9"}\n\n'
    )
    assert [message.get("more_body") for message in reader.messages[1:]] == [True, True, True, None]


@pytest.mark.parametrize("end", ["leaves", "draining"])
async def test_it_ends_with_its_reader_and_with_the_server(end: str) -> None:
    reader = Reader()
    reading = asyncio.create_task(reader.read(reader.source(("1", "state", Said(text="a")))))
    await asyncio.wait_for(reader.told.wait(), 90)
    getattr(reader, end).set()
    await reading
    assert reader.closed
    assert reader.messages[-1] == {"type": "http.response.body", "body": b""}


async def test_a_first_failure_is_no_answer_yet_and_a_later_one_ends_it() -> None:
    reader = Reader()
    with pytest.raises(RateLimited):
        await reader.read(reader.source(RateLimited("too many")))
    assert (reader.messages, reader.closed) == ([], True)
    reader = Reader()
    await reader.read(reader.source(("1", "state", Said(text="a")), StoreUnavailable("gone")))
    assert b"gone" not in reader.body
    assert reader.messages[-1] == {"type": "http.response.body", "body": b""}


async def test_head_has_no_events() -> None:
    reader = Reader()
    await reader.read(reader.source(("1", "state", Said(text="a"))), "HEAD")
    assert (len(reader.messages), reader.body, reader.closed) == (2, b"", True)


def test_an_event_id_is_what_was_sent_unless_it_is_too_long() -> None:
    assert last_event_id({}) is None
    assert last_event_id({b"last-event-id": [b"1.2,3.4"]}) == "1.2,3.4"
    with pytest.raises(InvalidInput):
        last_event_id({b"last-event-id": [b"1" * 4097]})

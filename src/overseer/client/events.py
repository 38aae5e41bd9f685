"""Server-sent events as a client reads them (the HTML standard, section 9.2.6): lines in, events out.

Of the standard it knows what Overseer sends: ``id``, ``event``, one or several lines of ``data``, and comments as heartbeats.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One event; ``id`` is what to send as Last-Event-ID to go on after it. ``name`` is empty for a heartbeat."""

    id: str
    name: str
    data: bytes


def read_events(lines: Iterable[bytes]) -> Iterator[ServerEvent]:
    """Each event as soon as its blank line was read; a comment is an event without name and data.

    An event that is cut off by the end is dropped.
    """
    last, name = "", "message"
    data: list[bytes] = []
    for line in lines:
        if not line:
            if data:
                yield ServerEvent(last, name, b"\n".join(data))
            name, data = "message", []
            continue
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if not field:
            yield ServerEvent(last, "", b"")
        elif field == b"id":
            last = value.decode("ascii", "replace")
        elif field == b"event":
            name = value.decode("ascii", "replace")
        elif field == b"data":
            data.append(value)

"""Lists that come in pages, read as one iterator: the next page is asked for when it is needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar

from overseer.client.retries import RetryingClient
from overseer.wire.messages import Page

Item = TypeVar("Item")


def every(http: RetryingClient, path: str, page: type[Page[Item]], query: Mapping[str, str | int | None]) -> Iterator[Item]:
    """Every item of the list at ``path`` in the server's order."""
    cursor: str | None = None
    while True:
        answer = http.request("GET", path, returns=page, query={**query, "cursor": cursor}).value
        yield from answer.items
        if answer.next_cursor is None or answer.next_cursor == cursor:
            return
        cursor = answer.next_cursor

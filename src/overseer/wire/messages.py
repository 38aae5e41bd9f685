"""The two bases of all messages and the page of a list."""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

Item = TypeVar("Item")


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a client sends; an unknown field is refused by name. Its repr shows no field, for some are secret."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What the server sends; a reader ignores fields that it does not know. Its repr shows no field, for some are secret."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"


class Page(msgspec.Struct, Generic[Item], frozen=True, kw_only=True):
    """A part of a list; ``next_cursor`` is None at its end, else the opaque ``cursor`` of the next part."""

    items: list[Item]
    next_cursor: str | None = None


class Nothing(Answer, frozen=True):
    """An empty answer body."""

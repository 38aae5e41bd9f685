"""Opaque cursors of lists: where the page before ended, in base64url of JSON. They carry no right and no secret."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar
from uuid import UUID

from overseer.core.errors import InvalidInput, Problem
from overseer.core.identifiers import is_name

CURSOR_RULE: Final = "cursor is the next_cursor of the page before, unchanged"
LIMIT_RULE: Final = "limit is a number of 1 to 500"
MAX_LIMIT: Final = 500
Row = TypeVar("Row")


def write_cursor(*fields: str | int) -> str:
    """The cursor after a row whose sort key is ``fields``."""
    return base64.urlsafe_b64encode(json.dumps(fields).encode()).decode("ascii")


def read_cursor(cursor: str, *kinds: type) -> list[Any]:
    """The fields, of exactly those types. Raises :class:`InvalidInput`."""
    try:
        fields = json.loads(base64.b64decode(cursor.encode("ascii"), altchars=b"-_", validate=True))
    except (ValueError, binascii.Error, RecursionError):
        fields = None
    if not isinstance(fields, list) or [type(one) for one in fields] != list(kinds):
        raise bad_cursor()
    return fields


def read_name_cursor(cursor: str) -> tuple[str, UUID]:
    """The name and id after which a list goes on that is sorted by both. Raises :class:`InvalidInput`."""
    name, text = read_cursor(cursor, str, str)
    if not is_name(name):
        raise bad_cursor()
    return name, _id(text)


def read_id_cursor(cursor: str) -> UUID:
    """The id after which a list goes on that is sorted by it. Raises :class:`InvalidInput`."""
    return _id(read_cursor(cursor, str)[0])


def _id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise bad_cursor() from None


def part_of(
    rows: Iterable[Row], key: Callable[[Row], str], cursor: str | None, limit: int, *, descending: bool = False
) -> tuple[list[Row], str | None]:
    """A page of rows that are few enough to be read as a whole, in the order of ``key``, which no two share; and the next cursor.

    Raises :class:`InvalidInput` for the cursor and the limit.
    """
    check_limit(limit)
    ordered = sorted(rows, key=key, reverse=descending)
    if cursor is not None:
        after: str = read_cursor(cursor, str)[0]
        ordered = [row for row in ordered if (key(row) < after if descending else key(row) > after)]
    return ordered[:limit], write_cursor(key(ordered[limit - 1])) if len(ordered) > limit else None


def bad_cursor() -> InvalidInput:
    """The error for a cursor that this server did not write."""
    return InvalidInput(CURSOR_RULE, problems=[Problem("query.cursor", CURSOR_RULE, "bad_cursor")])


def check_limit(limit: int) -> int:
    """``limit`` itself. Raises :class:`InvalidInput` outside 1 to 500."""
    if not 1 <= limit <= MAX_LIMIT:
        raise InvalidInput(LIMIT_RULE, problems=[Problem("query.limit", LIMIT_RULE, "bad_limit")])
    return limit

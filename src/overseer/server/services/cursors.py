"""Opaque cursors of lists: where the page before ended, in base64url of JSON. They carry no right and no secret."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any, Final

from overseer.core.errors import InvalidInput, Problem

CURSOR_RULE: Final = "cursor is the next_cursor of the page before, unchanged"
LIMIT_RULE: Final = "limit is a number of 1 to 500"
MAX_LIMIT: Final = 500


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


def bad_cursor() -> InvalidInput:
    """The error for a cursor that this server did not write."""
    return InvalidInput(CURSOR_RULE, problems=[Problem("query.cursor", CURSOR_RULE, "bad_cursor")])


def check_limit(limit: int) -> int:
    """``limit`` itself. Raises :class:`InvalidInput` outside 1 to 500."""
    if not 1 <= limit <= MAX_LIMIT:
        raise InvalidInput(LIMIT_RULE, problems=[Problem("query.limit", LIMIT_RULE, "bad_limit")])
    return limit

"""Identifiers and names.

Ids are UUIDs of version 7 (RFC 9562, section 5.7): sortable by creation time, 74 random bits, so they say
when something was made and nothing else. Names follow one rule, so that Compose's ``:-``, ``:?`` and ``:+``
can never be part of one.
"""

from __future__ import annotations

import re
import secrets
from datetime import datetime
from typing import Final
from uuid import UUID

from overseer.core.errors import InvalidInput, Problem

NAME_RULE: Final = (
    "a name has 1 to 128 characters, begins with a letter, a digit or '_' "
    "and goes on with letters, digits, '_', '.' or '-' (ASCII)"
)
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


def is_name(text: str) -> bool:
    """True where ``text`` obeys :data:`NAME_RULE`."""
    return _NAME.fullmatch(text) is not None


def check_name(text: str, place: str) -> str:
    """``text`` itself, or :class:`InvalidInput` that names ``place`` and the rule, never the text."""
    if not is_name(text):
        raise InvalidInput(f"{place}: {NAME_RULE}", problems=[Problem(place, NAME_RULE, "bad_name")])
    return text


def new_id(now: datetime) -> UUID:
    """A UUID of version 7 for the moment ``now`` (aware). Unique by its 74 random bits, not by the clock."""
    milliseconds = int(now.timestamp() * 1000) & 0xFFFF_FFFF_FFFF
    random = secrets.randbits(74)
    number = milliseconds << 80 | 0x7 << 76 | (random >> 62) << 64 | 0b10 << 62 | random & ((1 << 62) - 1)
    return UUID(int=number)

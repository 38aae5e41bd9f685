"""The shape of a JSON text, checked before any of it is decoded: depth, number of parts, doubled keys, size of integers.

A decoder keeps the last of two equal keys, so two readers of one body can disagree about what was asked; here it is refused
(RFC 8259, section 4, leaves it open). One linear scan; whether the text is JSON at all is the decoder's business.
No message holds anything of the text.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from overseer.core.errors import InvalidInput, Problem

MAX_DEPTH: Final = 32
MAX_PARTS: Final = 50_000
MAX_INTEGER: Final = 2**31 - 1

# Possessive loops, and a closing quote that may be missing: each byte is looked at once, whatever the input. (A text without
# its end must match as well, or the search would begin again at every quote inside it.)
_PART: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[{}\[\]:]|\d[\d.eE+-]{9,}', re.DOTALL)
_TEXT: Final = msgspec.json.Decoder(str)


def check_shape(text: bytes) -> None:
    """Raise :class:`InvalidInput` where the JSON in ``text`` is too deep, has too many parts, equal keys or a huge integer."""
    open_objects: list[set[bytes] | None] = []
    previous = b""
    for count, match in enumerate(_PART.finditer(text)):
        part = match[0]
        if count >= MAX_PARTS:
            raise _refused(f"has more than {MAX_PARTS:,} keys, texts and brackets", "too_many_parts")
        if part in (b"{", b"["):
            if len(open_objects) >= MAX_DEPTH:
                raise _refused(f"is nested deeper than {MAX_DEPTH} levels", "too_deep")
            open_objects.append(set() if part == b"{" else None)
        elif part in (b"}", b"]"):
            if open_objects:
                open_objects.pop()
        elif part == b":":
            _add_key(open_objects, previous)
        elif part.isdigit() and int(part[:20]) > MAX_INTEGER:
            raise _refused(f"holds an integer beyond {MAX_INTEGER:,}", "too_big_integer")
        previous = part


def _add_key(open_objects: list[set[bytes] | None], key: bytes) -> None:
    keys = open_objects[-1] if open_objects else None
    if keys is None:
        return  # not JSON: the decoder says so
    if b"\\" in key:
        try:
            key = b'"' + _TEXT.decode(key).encode("utf-8") + b'"'  # "\u0061" is "a"
        except (msgspec.DecodeError, UnicodeError):
            return
    if key in keys:
        raise _refused("has an object with two equal keys", "doubled_key")
    keys.add(key)


def _refused(rule: str, code: str) -> InvalidInput:
    return InvalidInput(f"the body {rule}", problems=[Problem("body", rule, code)])

"""From bytes and texts to typed messages, with problems that name the place and the rule and never hold the input.

The decoder's own messages are not passed on as they are: some quote the input (an unknown field, a word that is not in a list).
What is passed on is an allow-list of messages that are made from the schema alone.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any, Final, TypeVar

import msgspec

from overseer.core.errors import InvalidInput, Problem
from overseer.server.api.json_shape import check_shape

Message = TypeVar("Message")

_FROM_SCHEMA: Final = (
    "Expected ",
    "Integer value out of range",
    "Number out of range",
    "Invalid RFC3339 encoded ",
    "Invalid UUID",
    "Invalid base64 encoded string",
)
_MISSING: Final = re.compile(r"Object missing required field `([A-Za-z0-9_]+)`")
_PLACE: Final = re.compile(r"(?:\.[A-Za-z0-9_]+|\[(?:\.\.\.|\d+)\])*")
_NOT_JSON: Final = "is not JSON in UTF-8 (RFC 8259)"


@cache
def _decoder(type_: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(type_)


def decode_body(text: bytes, type_: type[Message]) -> Message:
    """The message in a request body; :class:`InvalidInput` (422) where it breaks a rule."""
    check_shape(text)
    try:
        return _decoder(type_).decode(text)  # type: ignore[no-any-return, arg-type]  # a class is hashable
    except msgspec.ValidationError as error:
        raise _refused("body", str(error), type_) from None
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise InvalidInput(f"the body {_NOT_JSON}", problems=[Problem("body", _NOT_JSON, "not_json")]) from None


def convert_query(parameters: dict[str, str], type_: type[Message]) -> Message:
    """The typed query out of its texts; :class:`InvalidInput` (422) where it breaks a rule."""
    try:
        return msgspec.convert(parameters, type_, strict=False)
    except msgspec.ValidationError as error:
        raise _refused("query", str(error), type_) from None


def _refused(part: str, said: str, type_: Any) -> InvalidInput:
    detail, _, where = said.partition(" - at `")
    path = where.rpartition("`")[0].removeprefix("$")
    if _PLACE.fullmatch(path) is None:
        path = ""  # a form that this version does not know: rather no place than one that quotes the input
    problem = _problem(part + path, detail, () if path else getattr(type_, "__struct_fields__", ()))
    return InvalidInput(str(problem), problems=[problem])


def _problem(place: str, detail: str, fields: tuple[str, ...]) -> Problem:
    if missing := _MISSING.fullmatch(detail):
        return Problem(f"{place}.{missing[1]}", "is required", "missing")
    if detail.startswith("Object contains unknown field"):
        known = f"; known are {', '.join(fields)}" if fields else ""
        return Problem(place, f"has a field that is not known{known}", "unknown_field")
    if detail.startswith("Invalid enum value"):
        return Problem(place, "is not one of the words that are allowed here", "not_allowed")
    if detail.startswith(_FROM_SCHEMA):
        return Problem(place, detail.replace("`", ""), "invalid")
    return Problem(place, "does not have the form that is required here", "invalid")

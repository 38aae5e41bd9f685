"""A change that a form asks for: done and on to the next page, or the same page again with the reason."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from overseer.core.errors import (
    BackendRefused,
    BackendUnavailable,
    Conflict,
    Denied,
    InvalidInput,
    OverseerError,
    PreconditionFailed,
    RateLimited,
    Unavailable,
)
from overseer.server.web.page import Answer

#: What a person at a form can mend, or has to be told beside it. Everything else is a page of its own.
MISTAKES: Final = (
    BackendRefused,
    BackendUnavailable,
    Conflict,
    Denied,
    InvalidInput,
    PreconditionFailed,
    RateLimited,
    Unavailable,
)

Again = Callable[[OverseerError], Awaitable[Answer]]


def problems_of(error: OverseerError | None) -> dict[str, str]:
    """Field → rule, for the hints beside the fields of a form that was refused."""
    return {problem.place.removeprefix("body."): problem.rule for problem in error.problems} if error else {}


async def attempt(change: Callable[[], Awaitable[Answer]], again: Again) -> Answer:
    """The answer of ``change``; where it raises a mistake, of ``again``."""
    try:
        return await change()
    except MISTAKES as error:
        return await again(error)

"""From an answer of the server back to an error of the one tree in ``overseer.core.errors``.

The class is found by the problem's stable ``code``; lists of problems, the current version and the time to wait are kept.
What is no problem document of Overseer (a proxy's page) becomes an error that says so; its text is never shown.
"""

from __future__ import annotations

import msgspec

from overseer.core.errors import (
    ConfigurationProblem,
    Denied,
    NotReady,
    OverseerError,
    PreconditionFailed,
    Problem,
    RateLimited,
    TooLarge,
    Unauthenticated,
    Unavailable,
    error_classes,
)
from overseer.wire.problems import ProblemDetails

_LONGEST_WAIT = 3600


def error_from_answer(status: int, media_type: str, body: bytes, retry_after: str | None, server: str) -> OverseerError:
    """The error that the answer with ``status`` (300 to 599) stands for. ``retry_after`` is the header, in seconds."""
    wait = _seconds(retry_after)
    if media_type.partition(";")[0].strip().lower() == "application/problem+json":
        try:
            return error_from_problem(msgspec.json.decode(body, type=ProblemDetails), wait)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            pass  # no document of ours
    return _foreign_error(status, wait, server)


def error_from_problem(details: ProblemDetails, retry_after: int | None = None) -> OverseerError:
    """The error for a problem document; an unknown code keeps its text and counts as an error of the server."""
    asked = details.retry_after if details.retry_after is not None else retry_after
    wait = None if asked is None else min(max(asked, 0), _LONGEST_WAIT)
    message = details.detail or details.title
    cls = next((c for c in error_classes() if c.code == details.code), OverseerError)
    error: OverseerError
    if issubclass(cls, PreconditionFailed):
        error = cls(message, current_version=details.current_version or 0)
    elif issubclass(cls, RateLimited | NotReady):
        error = cls(message) if wait is None else cls(message, retry_after=wait)
    else:
        error = cls(message, problems=[Problem(p.place, p.rule, p.code) for p in details.problems])
    if details.request_id:
        error.add_note(f"request id {details.request_id}")
    return error


def _foreign_error(status: int, wait: int | None, server: str) -> OverseerError:
    said = f"{server} answered {status} without an Overseer problem document"
    if 300 <= status < 400:
        return ConfigurationProblem(f"{server} answered with a redirect ({status}), which is not followed: name where it leads")
    if status in (502, 503, 504):
        return NotReady(f"{said}: the proxy in front has no server to ask", retry_after=2 if wait is None else wait)
    if status == 429:
        return RateLimited(said, retry_after=1 if wait is None else wait)
    plain: dict[int, type[OverseerError]] = {401: Unauthenticated, 403: Denied, 404: Unavailable, 413: TooLarge}
    return plain.get(status, ConfigurationProblem)(f"{said}: is this URL an Overseer server of this version?")


def _seconds(header: str | None) -> int | None:
    if header is None or not header.isascii() or not header.isdigit() or len(header) > 9:
        return None  # the date form of RFC 9110 is not used by Overseer
    return min(int(header), _LONGEST_WAIT)

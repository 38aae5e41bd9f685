"""Every error becomes ``application/problem+json`` (RFC 9457), from the one tree in ``overseer.core.errors``.

The status is the error class's own, so there is one table. An exception that is not of the tree is a defect: it answers 500
``internal`` with the request id and nothing else, because its text may quote a value; the log gets its type and where it
was raised, no text and no local variables.
"""

from __future__ import annotations

import logging
import traceback
from http import HTTPStatus
from typing import Any, Final

import msgspec

from overseer.core.errors import NotReady, OverseerError, PreconditionFailed, RateLimited, Unauthenticated
from overseer.wire.problems import ProblemDetails, ProblemEntry

PROBLEM_TYPE: Final = "application/problem+json"
_LOG: Final = logging.getLogger("overseer.errors")
_ENCODER: Final = msgspec.json.Encoder()
Headers = list[tuple[bytes, bytes]]


def problem_response(error: BaseException, request_id: str) -> tuple[int, Headers, bytes]:
    """Status, headers and body for ``error``; what is not of the tree is logged here."""
    if not isinstance(error, OverseerError):
        log_defect(error, request_id)
        error = OverseerError("the server made an error; it is in the server's log under this request id")
    elif error.status >= 500 and not isinstance(error, NotReady):
        _LOG.error("%s: %s", error.code, error.message, extra={"request_id": request_id})
    headers: Headers = [(b"content-type", PROBLEM_TYPE.encode())]
    retry_after = error.retry_after if isinstance(error, NotReady | RateLimited) else None
    if retry_after is not None:
        headers.append((b"retry-after", str(retry_after).encode()))
    if isinstance(error, Unauthenticated):
        headers.append((b"www-authenticate", b'Bearer realm="overseer"'))  # RFC 6750, section 3
    return error.status, headers, _ENCODER.encode(problem_details(error, request_id, retry_after))


def problem_details(error: OverseerError, request_id: str, retry_after: int | None = None) -> ProblemDetails:
    """The document for one error of the tree."""
    return ProblemDetails(
        type=f"urn:overseer:error:{error.code}",
        title=HTTPStatus(error.status).phrase,
        status=error.status,
        detail=error.message,
        code=error.code,
        request_id=request_id,
        problems=[ProblemEntry(place=p.place, rule=p.rule, code=p.code) for p in error.problems],
        current_version=error.current_version if isinstance(error, PreconditionFailed) else None,
        retry_after=retry_after,
    )


def log_defect(error: BaseException, request_id: str) -> None:
    """Log the types and places of an unexpected exception and its causes: never a text, never a local variable."""
    chain: list[dict[str, Any]] = []
    seen: BaseException | None = error
    while seen is not None and len(chain) < 5:
        frames = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(seen.__traceback__)]
        chain.append({"type": f"{type(seen).__module__}.{type(seen).__qualname__}", "frames": frames[-20:]})
        seen = seen.__cause__ or seen.__context__
    _LOG.error("unexpected exception", extra={"request_id": request_id, "exception": chain})

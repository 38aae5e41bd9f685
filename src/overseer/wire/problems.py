"""Errors over HTTP: ``application/problem+json`` of RFC 9457, with a stable ``code`` and the complete list of problems."""

from __future__ import annotations

import msgspec


class ProblemEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One problem: ``place`` is a field path or ``file:line:column``; ``rule`` never holds a value."""

    place: str
    rule: str
    code: str


class ProblemDetails(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """RFC 9457, section 3.1; ``type`` is ``urn:overseer:error:CODE``. What does not apply is left out: ``problems`` where there
    are none, ``current_version`` beside 412, ``retry_after`` beside 429 and 503."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    problems: list[ProblemEntry] = []
    current_version: int | None = None
    retry_after: int | None = None

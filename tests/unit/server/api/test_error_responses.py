"""Every class of the error tree has its problem document, and HTTP knows its status."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import msgspec
import pytest

from overseer.core.errors import NotReady, PreconditionFailed, Problem, error_classes
from overseer.server.api.error_responses import problem_response
from overseer.wire.problems import ProblemDetails


@pytest.mark.parametrize("cls", error_classes(), ids=lambda cls: cls.__name__)
def test_every_error_is_a_problem_document(cls: Any) -> None:
    error = cls("text", current_version=2) if issubclass(cls, PreconditionFailed) else cls("text")
    error.problems = (Problem("body.a", "is wrong", "wrong"),)
    status, headers, body = problem_response(error, "rid")
    details = msgspec.json.decode(body, type=ProblemDetails, strict=True)
    assert (status, details.status, details.code) == (cls.status, cls.status, cls.code)
    assert details.title == HTTPStatus(cls.status).phrase
    assert details.detail == "text"
    assert details.problems[0].place == "body.a"
    assert (b"retry-after" in dict(headers)) == (status in (429, 503))
    assert (b"www-authenticate" in dict(headers)) == (status == 401)


def test_what_does_not_apply_is_left_out() -> None:
    _, _, body = problem_response(PreconditionFailed("changed", current_version=4), "rid")
    assert msgspec.json.decode(body)["current_version"] == 4
    assert set(msgspec.json.decode(body)) == {"type", "title", "status", "detail", "code", "request_id", "current_version"}
    _, _, body = problem_response(NotReady("later", retry_after=7), "rid")
    assert set(msgspec.json.decode(body)) == {"type", "title", "status", "detail", "code", "request_id", "retry_after"}

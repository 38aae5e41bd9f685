from __future__ import annotations

import json

import pytest

from overseer.client.answers import error_from_answer
from overseer.core.errors import (
    ConfigurationProblem,
    NotReady,
    OverseerError,
    PreconditionFailed,
    Problem,
    RateLimited,
    Unauthenticated,
    error_classes,
)

PROBLEM = "application/problem+json"


def _body(cls: type[OverseerError], **more: object) -> bytes:
    document = {
        "type": f"urn:overseer:error:{cls.code}",
        "title": "title",
        "status": cls.status,
        "detail": "what to do",
        "code": cls.code,
        "request_id": "r-7",
    }
    return json.dumps(document | more).encode()


@pytest.mark.parametrize("cls", error_classes(), ids=lambda cls: cls.code)
def test_every_class_of_the_tree_comes_back_as_itself(cls: type[OverseerError]) -> None:
    error = error_from_answer(cls.status, f"{PROBLEM}; charset=utf-8", _body(cls), None, "server")
    assert type(error) is cls
    assert error.message == "what to do"
    assert error.exit_code == cls.exit_code
    assert error.__notes__ == ["request id r-7"]


def test_problems_version_and_waiting_time_are_kept() -> None:
    entries = [{"place": "compose.yaml:3:7", "rule": "not there", "code": "unavailable"}] * 2
    refused = next(c for c in error_classes() if c.code == "references_refused")
    error = error_from_answer(422, PROBLEM, _body(refused, problems=entries), None, "server")
    assert error.problems == (Problem("compose.yaml:3:7", "not there", "unavailable"),) * 2
    stale = error_from_answer(412, PROBLEM, _body(PreconditionFailed, current_version=7), None, "server")
    assert isinstance(stale, PreconditionFailed)
    assert stale.current_version == 7
    limited = error_from_answer(429, PROBLEM, _body(RateLimited), "17", "server")
    assert isinstance(limited, RateLimited)
    assert limited.retry_after == 17
    slow = error_from_answer(503, PROBLEM, _body(NotReady, retry_after=3), "17", "server")
    assert isinstance(slow, NotReady)
    assert slow.retry_after == 3
    for asked, given in ((2**62, 3600), (3 * 10**9, 3600), (-5, 0)):
        endless = error_from_answer(503, PROBLEM, _body(NotReady, retry_after=asked), None, "server")
        assert isinstance(endless, NotReady)
        assert endless.retry_after == given


def test_an_unknown_code_keeps_its_text() -> None:
    body = _body(Unauthenticated, code="from_the_future")
    error = error_from_answer(400, PROBLEM, body, None, "server")
    assert type(error) is OverseerError
    assert error.message == "what to do"


@pytest.mark.parametrize(
    ("status", "exit_code"),
    [(301, 78), (308, 78), (401, 77), (403, 77), (404, 66), (413, 65), (418, 78), (429, 75), (502, 69), (503, 69)],
)
def test_a_page_of_a_proxy_is_named_as_such_and_not_shown(status: int, exit_code: int) -> None:
    error = error_from_answer(status, "text/html", b"<h1>canary</h1>", "nonsense", "https://proxy")
    assert error.exit_code == exit_code
    assert "https://proxy" in error.message
    assert str(status) in error.message
    assert "canary" not in error.message


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"code": 4}', b"\xff\xfe"])
def test_a_broken_problem_document_is_a_foreign_answer(body: bytes) -> None:
    assert isinstance(error_from_answer(400, PROBLEM, body, None, "server"), ConfigurationProblem)

"""What every adapter answers alike: values, absence, refusal, a session that ended, services that are not what they should be."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from overseer.core.backend_references import BackendReference
from overseer.core.secret_value import SecretValue
from overseer.server.backends.contract import ABSENT, Backend, BackendFailure, Stage
from tests.contract.backends.arrangements import Arranged

pytestmark = pytest.mark.anyio


async def fetched(backend: Backend, *refs: str) -> list[Any]:
    """The JSON values, or the stages."""
    asked = [BackendReference.parse(ref) for ref in refs]
    try:
        found = await backend.fetch_many(asked)
    except BackendFailure as failure:
        return [failure.stage] * len(refs)
    return [
        json.loads(value.reveal()) if isinstance(value, SecretValue) else value.stage for value in (found[one] for one in asked)
    ]


async def test_values_absence_and_lists(arranged: Arranged) -> None:
    first, second = arranged.refs
    arranged.put(first, "one, and a € sign")
    arranged.put(second, "two")
    backend = arranged.open()
    await backend.check()
    assert await fetched(backend, first) == [{"value": "one, and a € sign"}]
    assert await fetched(backend, second, arranged.absent, first) == [
        {"value": "two"},
        Stage.PATH,
        {"value": "one, and a € sign"},
    ]
    listed = list(await backend.list(arranged.folder))
    assert listed == sorted([first, second])
    arranged.put(first, "changed")
    assert await fetched(backend, first) == [{"value": "changed"}]


async def test_what_the_service_refuses_is_a_permission(arranged: Arranged) -> None:
    if arranged.forbid is None:
        assert arranged.kind == "aws-secrets-manager"  # moto has no policies: test_aws_answers
        return
    arranged.put(arranged.refs[0], "one")
    closed = arranged.forbid()
    assert await fetched(arranged.open(), closed, arranged.refs[0]) == [Stage.PERMISSION, {"value": "one"}]


async def test_a_wrong_credential_is_told_as_such_and_never_shown(arranged: Arranged) -> None:
    arranged.put(arranged.refs[0], "one")
    backend = arranged.open(**arranged.bad)
    with pytest.raises(BackendFailure) as caught:
        await backend.check()
    assert caught.value.stage is Stage.AUTH
    assert await fetched(backend, arranged.refs[0]) == [Stage.AUTH]
    for secret in filter(None, (*arranged.bad.values(), *arranged.credentials.values())):
        assert secret not in caught.value.why


async def test_a_session_that_ended_in_between_is_begun_anew_once(arranged: Arranged) -> None:
    if arranged.forget is None:
        assert arranged.kind == "aws-secrets-manager"  # every request is signed by itself
        return
    arranged.put(arranged.refs[0], "one")
    arranged.put(arranged.refs[1], "two")
    backend = arranged.open()
    assert await fetched(backend, arranged.refs[0]) == [{"value": "one"}]
    arranged.forget()
    assert await fetched(backend, *arranged.refs) == [{"value": "one"}, {"value": "two"}]
    before = arranged.requests()
    assert await fetched(backend, arranged.refs[0]) == [{"value": "one"}]
    assert arranged.requests() - before == 1, "the session is kept"


@contextmanager
def something_else(status: int, body: bytes, *, hang: float = 0.0) -> Iterator[str]:
    """A server that is no vault at all."""
    ended = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def serve(self) -> None:
            self.rfile.read(int(self.headers.get("content-length") or 0))
            ended.wait(hang)
            self.send_response(status)
            self.send_header("location", "http://127.0.0.1:1/elsewhere")
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_LIST = serve  # noqa: N815  # the base class's names

        def log_message(self, *_arguments: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        server.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients that give up are what is tested
        serving = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            ended.set()
            server.shutdown()
            serving.join()


@pytest.mark.parametrize(
    ("status", "body", "stage"),
    [
        (500, b"{}", Stage.UNAVAILABLE),
        (503, b"not json", Stage.UNAVAILABLE),
        (429, b"{}", Stage.UNAVAILABLE),
        (302, b"", Stage.REDIRECT),
        (200, b"<html>", Stage.ANSWER),
        (200, b"[" * 100_000, Stage.ANSWER),
        (200, b'{"data": 7}', Stage.ANSWER),
        (200, b'"' + b"x" * (5 << 20) + b'"', Stage.TOO_LARGE),
    ],
)
async def test_what_is_no_such_service_is_found_out(misled: Arranged, status: int, body: bytes, stage: Stage) -> None:
    with something_else(status, body) as url:
        for name in ("address", "authority"):
            if name in misled.settings:
                misled.settings[name] = url
        misled.settings.pop("ca_pem", None)
        assert await fetched(misled.open(), misled.refs[0]) == [stage]


async def test_nothing_waits_longer_than_the_deadline(misled: Arranged) -> None:
    with something_else(200, b"{}", hang=20) as url:
        for name in ("address", "authority"):
            if name in misled.settings:
                misled.settings[name] = url
        began = time.monotonic()
        assert await fetched(misled.open(seconds=0.3), misled.refs[0]) == [Stage.TIMEOUT]
        assert time.monotonic() - began < 15  # before the service answers


async def test_nobody_there_is_an_absence(misled: Arranged) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    for name in ("address", "authority"):
        if name in misled.settings:
            misled.settings[name] = f"http://127.0.0.1:{port}"
    assert await fetched(misled.open(), misled.refs[0]) == [Stage.CONNECT]
    assert {Stage.CONNECT, Stage.TIMEOUT, Stage.DNS, Stage.UNAVAILABLE} == ABSENT

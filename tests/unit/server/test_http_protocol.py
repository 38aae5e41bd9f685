"""A real server on a real socket: heads that are late or huge are cut off, ordinary ones pass, and nothing of uvicorn shows."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from overseer.server import http_protocol
from overseer.server.api.endpoint import Edge
from overseer.server.http_protocol import HEAD_BYTES, protocol_options
from overseer.server.listening import listening_sockets
from tests.unit.server.api.small_api import small_app

pytestmark = pytest.mark.anyio


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    monkeypatch.setattr(http_protocol, "HEAD_SECONDS", 0.5)
    (bound,) = listening_sockets("127.0.0.1", 0)
    server: Any = uvicorn.Server(uvicorn.Config(small_app(), **protocol_options()))
    running = asyncio.create_task(server._serve([bound]))
    yield bound.getsockname()[1]
    server.should_exit = True
    await running


async def exchange(port: int, *parts: bytes, pause: float = 0.0) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause)
        return await asyncio.wait_for(reader.read(), 90)
    except ConnectionError:
        return b"reset"
    finally:
        writer.close()


GET = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n"


async def test_an_ordinary_request_passes_and_nothing_of_the_server_shows(port: int) -> None:
    answer = await exchange(port, GET + b"Connection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"uvicorn" not in answer.lower()


async def test_two_requests_on_one_connection_pass(port: int) -> None:
    answer = await exchange(port, GET + b"\r\n", GET + b"Connection: close\r\n\r\n", pause=0.3)
    assert answer.count(b"HTTP/1.1 200 ") == 2


async def test_nothing_of_a_request_waits_for_the_collector(port: int) -> None:
    """A head holds a credential: it goes when its request has ended, not when Python next looks for what is left in circles."""
    gc.collect()
    gc.disable()
    try:
        await exchange(port, *[GET + b"\r\n"] * 20, GET + b"Connection: close\r\n\r\n", pause=0.01)
        left = [one for one in gc.get_objects() if isinstance(one, RequestResponseCycle)]
    finally:
        gc.enable()
    assert len(left) <= 1


@pytest.mark.parametrize("head", [b"", b"GET / HTTP/1.1\r\n", GET])
async def test_a_head_that_never_ends_is_cut_off(port: int, head: bytes) -> None:
    assert (await exchange(port, head)).startswith(b"HTTP/1.1 408 ")


async def test_a_late_second_head_is_cut_off(port: int) -> None:
    answer = await exchange(port, GET + b"\r\n", b"GET / HT", pause=0.1)
    assert b"HTTP/1.1 200 " in answer
    assert b"HTTP/1.1 408 " in answer


async def test_a_huge_head_is_cut_off(port: int) -> None:
    answer = await exchange(port, GET, b"X: " + b"a" * (HEAD_BYTES + 1))
    assert answer.startswith(b"HTTP/1.1 431 ") or answer == b"reset"


async def test_a_large_body_in_one_piece_is_no_head(port: int) -> None:
    body = b'{"text":"' + b"a" * (2 * HEAD_BYTES) + b'"}'
    head = b"POST /notes HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: "
    answer = await exchange(port, head + str(len(body)).encode() + b"\r\n\r\n" + body)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"too_large" in answer


async def test_a_body_that_is_announced_as_too_large_is_not_asked_for(port: int) -> None:
    head = b"POST /notes HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n"
    answer = await exchange(port, head + b"Content-Length: 1001\r\nExpect: 100-continue\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413 ")


CHUNKED = (
    b"POST /notes HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"2\r\n{}\r\n0\r\n"
)


async def test_a_chunked_body_without_trailers_passes(port: int) -> None:
    answer = await exchange(port, CHUNKED + b"\r\n", GET + b"Connection: close\r\n\r\n", pause=0.2)
    assert b"HTTP/1.1 200 " in answer


@pytest.mark.parametrize("trailers", [b"a: b\r\n", b"a: b\r\n" * 10_000], ids=["one", "many"])
async def test_trailers_are_refused_and_nothing_follows(port: int, trailers: bytes) -> None:
    answer = await exchange(port, CHUNKED + trailers + b"\r\n" + GET + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ") or answer in (b"", b"reset")
    assert answer.count(b"HTTP/1.1 ") <= 1


@pytest.mark.parametrize("piece", [b"a: b\r\n", b"x" * 1000], ids=["many fields", "one endless name"])
async def test_endless_trailers_are_cut_off(port: int, piece: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(CHUNKED)
    with pytest.raises(ConnectionError):  # noqa: PT012  # how many pieces it takes is the kernel's affair
        for _ in range(2000):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.001)
            if reader.at_eof():
                raise ConnectionResetError
    writer.close()


async def test_endless_framing_of_a_body_is_cut_off(port: int) -> None:
    head = CHUNKED.partition(b"2\r\n")[0]
    answer = await exchange(port, head + b"1;", b"x" * (HEAD_BYTES + 1), pause=0.1)
    assert answer.startswith(b"HTTP/1.1 431 ") or answer == b"reset"


async def test_an_answer_to_half_a_request_ends_the_connection(port: int) -> None:
    head = b"POST /notes HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    answer = await exchange(port, head + b"Content-Length: 1001\r\nExpect: 100-continue\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"\r\nconnection: close\r\n" in answer


async def test_a_client_that_leaves_ends_its_long_poll() -> None:
    services = SimpleNamespace(waiting=asyncio.Event(), ended=asyncio.Event())
    edge = Edge(services=services, sealed=lambda: False)  # type: ignore[arg-type]
    (bound,) = listening_sockets("127.0.0.1", 0)
    server: Any = uvicorn.Server(uvicorn.Config(small_app(edge=edge), **protocol_options()))
    running = asyncio.create_task(server._serve([bound]))
    _, writer = await asyncio.open_connection("127.0.0.1", bound.getsockname()[1])
    writer.write(b"POST /wait HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
    await asyncio.wait_for(services.waiting.wait(), 90)
    writer.close()
    await asyncio.wait_for(services.ended.wait(), 90)
    server.should_exit = True
    await running


class Written:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.said: list[bytes | str] = []
        self.write_paused = False  # the flow's
        self.write, self.close = self.said.append, lambda: self.said.append("closed")


START = {"type": "http.response.start", "status": 200}
TYPE, LENGTH = (b"content-type", b"application/json"), (b"content-length", b"4")
BODY = {"type": "http.response.body", "body": b"abcd"}
ANSWERS: dict[str, list[dict[str, Any]]] = {
    "whole": [{**START, "headers": [TYPE, LENGTH]}, BODY],
    "in two parts": [{**START, "headers": [LENGTH]}, {**BODY, "body": b"ab", "more_body": True}, {**BODY, "body": b"cd"}],
    "empty": [{**START, "headers": [(b"content-length", b"0")]}, {**BODY, "body": b""}],
    "without a length": [{**START, "headers": [TYPE]}, BODY],
    "no content": [{**START, "status": 204, "headers": []}, {**BODY, "body": b""}],
    "closing": [{**START, "headers": [LENGTH, (b"connection", b"close")]}, BODY],
    "chunked": [{**START, "headers": [(b"transfer-encoding", b"chunked")]}, BODY],
    "too long": [{**START, "headers": [LENGTH]}, {**BODY, "body": b"abcde"}],
    "too short": [{**START, "headers": [LENGTH]}, {**BODY, "body": b"abc"}],
    "more than one answer": [{**START, "headers": [LENGTH]}, BODY, BODY],
    "a second header in a value": [{**START, "headers": [LENGTH, (b"x-a", b"b\r\nset-cookie: c")]}, BODY],
    "a line feed in a value": [{**START, "headers": [LENGTH, (b"x-a", b"b\nc")]}, BODY],
    "a control in a value": [{**START, "headers": [LENGTH, (b"x-a", b"b\x00")]}, BODY],
    "a header's end in a value": [{**START, "headers": [LENGTH, (b"x-a", b"b\r\n\r\n")]}, BODY],
}


async def said(kind: type[RequestResponseCycle], method: str, keep_alive: bool, messages: list[dict[str, Any]]) -> list[Any]:
    """What a cycle writes, and what it raises in the end."""
    written: Any = Written()
    log: Any = logging.getLogger("nobody")
    cycle = kind(
        {"method": method}, written, written, log, log, False, [(b"date", b"today")], asyncio.Event(), False, keep_alive,  # type: ignore[typeddict-item]
        lambda: written.said.append("told"),
    )  # fmt: skip
    try:
        for message in messages:
            await cycle.send(message)  # type: ignore[arg-type]
    except RuntimeError as error:
        written.said.append(str(error))
    texts = b"".join(one for one in written.said if isinstance(one, bytes))
    return [texts, *(one for one in written.said if isinstance(one, str)), cycle.response_complete]


@pytest.mark.parametrize("case", ANSWERS)
@pytest.mark.parametrize("method", ["POST", "HEAD"])
@pytest.mark.parametrize("keep_alive", [True, False])
async def test_what_is_written_is_what_uvicorn_writes(case: str, method: str, keep_alive: bool) -> None:
    ours = await said(http_protocol._Cycle, method, keep_alive, ANSWERS[case])
    assert ours == await said(RequestResponseCycle, method, keep_alive, ANSWERS[case])
    assert len(ours) > 1

"""Requests per second over real HTTP/1.1, from a process of its own: ``python -m benchmarks.http_load PORT CLIENTS SECONDS``.

Raw sockets and keep-alive, one request in flight a client, and as little work as Python lets it: what the client costs is taken
from the same cores as the server. Prints JSON: requests, seconds, p50 and p99 in milliseconds. Standard input is JSON with the
token (never an argument) and the requests as ``[method, path, body]``, which the clients go through in turns.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from typing import Any


class Client(asyncio.Protocol):
    """One connection that asks until the time is over."""

    def __init__(self, requests: list[bytes], start: int, until: float, times: list[float], done: asyncio.Future[None]) -> None:
        self._requests = requests
        self._number = start
        self._until = until
        self._times = times
        self._done = done
        self._answer = b""
        self._began = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._ask()

    def data_received(self, data: bytes) -> None:
        self._answer += data
        head, end, body = self._answer.partition(b"\r\n\r\n")
        if not end:
            return
        if not head.startswith((b"HTTP/1.1 200", b"HTTP/1.1 201")):
            self._fail(RuntimeError(self._answer[:400].decode("utf-8", "replace")))
            return
        length = int(head.rpartition(b"content-length: ")[2].partition(b"\r\n")[0])
        if len(body) < length:
            return
        now = time.perf_counter()
        self._times.append(now - self._began)
        if now < self._until:
            self._ask()
        else:
            self._transport.close()
            self._done.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done.done():
            self._fail(exc or RuntimeError("the server closed the connection"))

    def _ask(self) -> None:
        self._answer = b""
        request = self._requests[self._number % len(self._requests)]
        self._number += 7
        self._began = time.perf_counter()
        self._transport.write(request)

    def _fail(self, error: Exception) -> None:
        if not self._done.done():
            self._done.set_exception(error)


def request_bytes(port: int, token: str, method: str, path: str, body: str) -> bytes:
    """One request, ready to be sent."""
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n"
        f"User-Agent: overseer-python/0\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return (head + body).encode()


async def load(port: int, requests: list[bytes], clients: int, seconds: float) -> dict[str, float]:
    """``clients`` at once for ``seconds``."""
    loop = asyncio.get_running_loop()
    times: list[float] = []
    began = time.perf_counter()
    ends = [loop.create_future() for _ in range(clients)]
    for number, end in enumerate(ends):
        client = Client(requests, number * (len(requests) // clients or 1), began + seconds, times, end)
        await loop.create_connection(lambda client=client: client, "127.0.0.1", port)  # type: ignore[misc]
    await asyncio.gather(*ends)
    spent = time.perf_counter() - began
    ordered = sorted(times)
    return {
        "requests": len(times),
        "seconds": spent,
        "rate": len(times) / spent,
        "p50": statistics.median(ordered) * 1000,
        "p99": ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))] * 1000,
    }


def main() -> None:
    """See the module's text."""
    import uvloop

    given = json.load(sys.stdin)
    port, clients, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    requests = [request_bytes(port, given["token"], *one) for one in given["requests"]]
    print(json.dumps(uvloop.run(load(port, requests, clients, seconds))))


if __name__ == "__main__":
    main()

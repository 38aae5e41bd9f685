"""Requests per second of one path over real HTTP/1.1, from a process of its own: ``python -m benchmarks.http_load``.

Raw sockets and keep-alive, one request in flight a client, so that the client costs as little as Python lets it. Prints JSON:
requests, seconds, p50 and p99 in milliseconds. Reads the token from standard input, never from an argument.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time


async def client(port: int, paths: list[str], token: str, until: float, times: list[float], start: int) -> None:
    """One connection that asks until the time is over."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    number = start
    while time.perf_counter() < until:
        path = paths[number % len(paths)]
        number += 7
        head = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n"
            "User-Agent: overseer-python/0\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
        )
        began = time.perf_counter()
        writer.write(head.encode())
        answer = await reader.readuntil(b"\r\n\r\n")
        if not answer.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(answer[:200])
        length = int(answer.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        times.append(time.perf_counter() - began)
    writer.close()


async def load(port: int, paths: list[str], token: str, clients: int, seconds: float) -> dict[str, float]:
    """``clients`` at once for ``seconds``."""
    times: list[float] = []
    began = time.perf_counter()
    until = began + seconds
    await asyncio.gather(*(client(port, paths, token, until, times, number) for number in range(clients)))
    spent = time.perf_counter() - began
    ordered = sorted(times)
    return {
        "requests": len(times),
        "seconds": spent,
        "p50": statistics.median(ordered) * 1000,
        "p99": ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))] * 1000,
    }


def main() -> None:
    """Arguments: port, clients, seconds; standard input: the token, then a path a line."""
    token, *paths = sys.stdin.read().split()
    port, clients, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    try:
        import uvloop

        runner = uvloop.run
    except ImportError:
        runner = asyncio.run
    print(json.dumps(runner(load(port, paths, token, clients, seconds))))


if __name__ == "__main__":
    main()

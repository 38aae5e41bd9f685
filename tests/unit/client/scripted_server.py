"""A real HTTP server on a loopback port whose answers a test writes down beforehand, and which keeps what it was asked."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


@dataclass
class Asked:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Reply:
    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    media_type: str = "application/json"
    #: Close the connection instead of answering.
    drop: bool = False
    #: Close the connection after this answer, without saying so.
    hang_up: bool = False

    @property
    def raw(self) -> bytes:
        if self.body is None:
            return b""
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


def problem(code: str, status: int, detail: str = "it failed", **more: Any) -> Reply:
    body = {"type": f"urn:overseer:error:{code}", "title": code, "status": status, "detail": detail, "code": code}
    return Reply(status, {**body, "request_id": "r-1", **more}, media_type="application/problem+json")


@dataclass
class ScriptedServer:
    port: int
    scheme: str
    replies: list[Reply | Callable[[Asked], Reply]]
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def next_reply(self, asked: Asked) -> Reply:
        self.asked.append(asked)
        if not self.replies:
            return problem("internal", 500, "the script of this test has ended")
        reply = self.replies.pop(0) if len(self.replies) > 1 or not callable(self.replies[0]) else self.replies[0]
        return reply(asked) if callable(reply) else reply


@contextmanager
def scripted_server(*replies: Reply | Callable[[Asked], Reply], tls: tuple[Path, Path] | None = None) -> Iterator[ScriptedServer]:
    """Replies are given in order; a callable that stands last answers everything that is left."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.handle_error = lambda request, address: None  # type: ignore[method-assign]  # a refused handshake is expected
    script = ScriptedServer(server.server_address[1], "https" if tls else "http", list(replies))
    server.script = script  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield script
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self.server.script.connections += 1  # type: ignore[attr-defined]

    def log_message(self, *args: object) -> None:
        pass

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        asked = Asked(self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body)
        reply: Reply = self.server.script.next_reply(asked)  # type: ignore[attr-defined]
        if reply.drop:
            self.close_connection = True
            return
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if reply.status != 204:
            self.send_header("Content-Type", reply.media_type)
            self.send_header("Content-Length", str(len(reply.raw)))
        self.end_headers()
        if reply.status != 204:
            self.wfile.write(reply.raw)
        if reply.hang_up:
            self.wfile.flush()
            self.close_connection = True

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer  # noqa: N815

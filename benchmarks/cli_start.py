"""Starting the command: ``overseer --version`` and ``overseer secret get``, beside ``python -c pass`` of the same interpreter.

``secret get`` talks to a server of canned answers on this machine's loopback, so its row is the command's own time: start,
imports, two requests, output. Aims are those of the design, 80 ms and 150 ms where the bare interpreter takes 15 ms.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

ROUNDS: Final = 25
BARE_MS: Final = 15.0
AIMS_MS: Final = {"overseer --version": 80.0, "overseer secret get": 150.0}
_NOW: Final = "2026-01-01T00:00:00Z"
_SECRET: Final = {
    "id": "01a20c93-0000-7000-8000-000000000001",
    "name": "db-password",
    "scope": {"app": None, "environment": None, "node": None},
    "version": 1,
    "active_version": 1,
    "description": "",
    "labels": {},
    "owner": "",
    "expires_at": None,
    "rotation": None,
    "source": None,
    "created_at": _NOW,
    "updated_at": _NOW,
}


class _Answers(BaseHTTPRequestHandler):
    """A list of one secret, and its value."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet: two would wait for each other's acknowledgement

    def do_GET(self) -> None:
        self._answer({"items": [_SECRET], "next_cursor": None})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._answer({"id": _SECRET["id"], "name": _SECRET["name"], "version": 1, "value": "a value"})

    def log_message(self, *_arguments: object) -> None:
        """Nothing is logged."""

    def _answer(self, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def _server() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def measure(rounds: int = ROUNDS) -> list[dict[str, Any]]:
    """Rows ``{name, value, unit, floor, ratio, aim}``; times are medians in milliseconds, taken alternately."""
    overseer = [str(Path(sys.executable).with_name("overseer"))]
    works = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "overseer --version": [*overseer, "--version"],
        "overseer secret get": [*overseer, "secret", "get", "db-password"],
    }
    times: dict[str, list[float]] = {name: [] for name in works}
    with _server() as url, tempfile.TemporaryDirectory() as home:
        kept = {key: text for key, text in os.environ.items() if not key.startswith(("OVERSEER_", "PYTHON"))}
        environment = {**kept, "OVERSEER_URL": url, "OVERSEER_TOKEN": "ovs_benchmark", "XDG_CONFIG_HOME": home}
        for number in range(rounds + 1):
            for name, arguments in works.items():
                began = time.perf_counter()
                subprocess.run(arguments, check=True, capture_output=True, env=environment)
                if number:  # the first round fills caches
                    times[name].append((time.perf_counter() - began) * 1000)
    middle = {name: statistics.median(found) for name, found in times.items()}
    bare = middle["python -c pass"]
    return [
        {
            "name": f"start of {name} / python -c pass",
            "value": round(middle[name], 1),
            "unit": "ms",
            "floor": round(bare, 1),
            "ratio": round(middle[name] / bare, 2),
            "aim": round(aim / BARE_MS, 2),
        }
        for name, aim in AIMS_MS.items()
    ]

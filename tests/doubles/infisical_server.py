"""A double of Infisical: universal auth, secrets of one project by environment and folder, imports, versions, folders.

The official ``infisicalsdk`` drives it in ``test_official_clients.py``, so that a double that lies is found.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

Place = tuple[str, str]


class Refusal(Exception):
    """An error as Infisical writes it."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class InfisicalServer:
    """One project; ``values`` by (environment, folder) and key, the versions of each in order."""

    def __init__(self) -> None:
        self.project = secrets.token_hex(12)
        self.client_id, self.client_secret = secrets.token_hex(8), secrets.token_hex(16)
        self.values: dict[Place, dict[str, list[str]]] = {}
        self.imports: dict[Place, list[Place]] = {}
        self.refused: set[Place] = set()
        self.hidden: set[str] = set()
        self.tokens: dict[str, float] = {}
        self.later = 0.0
        self.lifetime = 7200
        self.requests: list[tuple[str, str, int]] = []

    def put(self, environment: str, folder: str, key: str, value: str) -> None:
        """A new version."""
        self.values.setdefault((environment, folder), {}).setdefault(key, []).append(value)

    def answer(self, method: str, target: str, headers: dict[str, str], content: bytes) -> tuple[int, dict[str, Any]]:
        """Status and body for one HTTP request."""
        parts = urlsplit(target)
        try:
            status, body = 200, self._answer(method, parts.path, parse_qs(parts.query), headers, content)
        except Refusal as refusal:
            status = refusal.status
            body = {"reqId": secrets.token_hex(6), "statusCode": status, "message": refusal.message, "error": "Refused"}
        self.requests.append((method, parts.path, status))
        return status, body

    def _answer(
        self, method: str, path: str, query: dict[str, list[str]], headers: dict[str, str], content: bytes
    ) -> dict[str, Any]:
        if path == "/api/v1/auth/universal-auth/login" and method == "POST":
            return self._login(json.loads(content))
        bearer = headers.get("authorization", "").removeprefix("Bearer ")
        if self.tokens.get(bearer, 0.0) <= time.monotonic() + self.later:
            raise Refusal(401, "Token expired or unknown")
        asked = {name: values[0] for name, values in query.items()}
        if path == f"/api/v1/workspace/{self.project}":
            return {"workspace": {"id": self.project, "name": "shop"}}
        if path.startswith("/api/v1/workspace/"):
            raise Refusal(404, "Project not found")
        if asked.get("workspaceId", asked.get("projectId")) != self.project:
            raise Refusal(404, "Project not found")
        place = (asked.get("environment", ""), asked.get("secretPath", asked.get("path", "/")))
        if place in self.refused:
            raise Refusal(403, "You are not allowed to read on secrets")
        if path == "/api/v1/folders":
            return {"folders": [{"id": name, "name": name} for name in self._folders(place)]}
        if place not in self.values:
            raise Refusal(404, f"Folder with path '{place[1]}' in environment with slug '{place[0]}' not found")
        if path == "/api/v3/secrets/raw":
            imports = self.imports.get(place, []) if asked.get("include_imports") == "true" else []
            return {
                "secrets": [self._view(place, key) for key in self.values[place]],
                "imports": [self._imported(one) for one in imports],
            }
        if path.startswith("/api/v3/secrets/raw/"):
            return {"secret": self._one(place, unquote(path.rpartition("/")[2]), asked)}
        raise Refusal(404, "Route not found")

    def _login(self, body: dict[str, str]) -> dict[str, Any]:
        if (body.get("clientId"), body.get("clientSecret")) != (self.client_id, self.client_secret):
            raise Refusal(401, "Invalid credentials")
        token = secrets.token_urlsafe(20)
        self.tokens[token] = time.monotonic() + self.later + self.lifetime
        return {
            "accessToken": token,
            "expiresIn": self.lifetime,
            "accessTokenMaxTTL": 2_592_000,
            "tokenType": "Bearer",
        }

    def _one(self, place: Place, key: str, asked: dict[str, str]) -> dict[str, Any]:
        if key in self.values[place]:
            number = int(asked.get("version", len(self.values[place][key])))
            if not 1 <= number <= len(self.values[place][key]):
                raise Refusal(404, f"Secret with name '{key}' not found")
            return self._view(place, key, number)
        for one in reversed(self.imports.get(place, []) if asked.get("include_imports", "true") == "true" else []):
            if key in self.values.get(one, {}):
                return self._view(one, key)
        raise Refusal(404, f"Secret with name '{key}' not found")

    def _imported(self, place: Place) -> dict[str, Any]:
        found = [self._view(place, key) for key in self.values.get(place, {})]
        return {"secretPath": place[1], "environment": place[0], "folderId": "", "secrets": found}

    def _view(self, place: Place, key: str, number: int | None = None) -> dict[str, Any]:
        versions = self.values[place][key]
        return {
            "id": f"{key}-id",
            "_id": f"{key}-id",
            "workspace": self.project,
            "environment": place[0],
            "version": number or len(versions),
            "type": "shared",
            "secretKey": key,
            "secretValue": "<hidden-by-infisical>" if key in self.hidden else versions[(number or len(versions)) - 1],
            "secretComment": "",
            "secretPath": place[1],
            "createdAt": "2026-01-01T00:00:00.000Z",
            "updatedAt": "2026-01-01T00:00:00.000Z",
            "secretMetadata": [],
            "secretValueHidden": key in self.hidden,
            "tags": [],
        }

    def _folders(self, place: Place) -> list[str]:
        prefix = place[1].rstrip("/") + "/"
        below = [path[len(prefix) :] for environment, path in self.values if environment == place[0] and path.startswith(prefix)]
        return sorted({name.partition("/")[0] for name in below if name})


@contextmanager
def served(server: InfisicalServer) -> Iterator[str]:
    """The server on a free port of loopback; its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # an answer is two writes: the second would wait 40 ms for the client

        def serve(self) -> None:
            content = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, body = server.answer(self.command, self.path, headers, content)
            sent = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json; charset=utf-8")
            self.send_header("content-length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        do_GET = do_POST = serve  # noqa: N815  # the base class's names

        def log_message(self, *_arguments: object) -> None:
            """Nothing: pytest's output is for tests."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        listening.daemon_threads = True
        serving = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        serving.start()
        try:
            yield f"http://127.0.0.1:{listening.server_address[1]}"
        finally:
            listening.shutdown()
            serving.join()

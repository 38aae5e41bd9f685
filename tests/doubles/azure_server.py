"""A double of Azure: the token endpoint of one tenant and one Key Vault, over HTTPS on one port; a machine's metadata service.

The official ``azure-keyvault-secrets`` drives it in ``test_official_clients.py``, challenge included.
"""

from __future__ import annotations

import json
import secrets
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit


class AzureServer:
    """``values`` by lower-case name: the versions in order, each an id and a value."""

    def __init__(self) -> None:
        self.tenant, self.client_id, self.client_secret = (secrets.token_hex(8) for _ in range(3))
        self.address = ""
        self.values: dict[str, list[tuple[str, str]]] = {}
        self.disabled: set[str] = set()
        self.forbidden = False
        self.next_link: str | None = None
        self.tokens: dict[str, float] = {}
        self.later = 0.0
        self.requests: list[tuple[str, str, int]] = []
        self.machine_asked: list[dict[str, str]] = []

    def put(self, name: str, value: str) -> str:
        """A new version; its id."""
        made = secrets.token_hex(16)
        self.values.setdefault(name.lower(), []).append((made, value))
        return made

    def answer(
        self, method: str, target: str, headers: dict[str, str], content: bytes
    ) -> tuple[int, dict[str, Any], dict[str, str]]:
        """Status, body and headers for one HTTP request."""
        parts = urlsplit(target)
        if parts.path == "/metadata/identity/oauth2/token":
            return self._machine(parse_qs(parts.query), headers)
        status, body, more = self._answer(method, parts.path, parse_qs(parts.query), headers, content)
        self.requests.append((method, parts.path, status))
        return status, body, more

    def _answer(  # noqa: PLR0911  # one line for each answer
        self, method: str, path: str, query: dict[str, list[str]], headers: dict[str, str], content: bytes
    ) -> tuple[int, dict[str, Any], dict[str, str]]:
        if path == f"/{self.tenant}/oauth2/v2.0/token" and method == "POST":
            return self._token({name: values[0] for name, values in parse_qs(content.decode()).items()})
        bearer = headers.get("authorization", "").removeprefix("Bearer ")
        if self.tokens.get(bearer, 0.0) <= time.monotonic() + self.later:
            challenge = f'Bearer authorization="{self.address}/{self.tenant}", resource="https://vault.azure.net"'
            return (
                401,
                _error("Unauthorized", "AKV10000: Request is missing a Bearer or PoP token."),
                {"WWW-Authenticate": challenge},
            )
        if "api-version" not in query:
            return 400, _error("BadParameter", "api-version must be specified"), {}
        if self.forbidden:
            return 403, _error("Forbidden", "Caller is not authorized to perform action on resource."), {}
        segments = path.strip("/").split("/")
        if segments == ["secrets"]:
            return 200, {"value": [self._item(name) for name in sorted(self.values)], "nextLink": self.next_link}, {}
        if segments[0] != "secrets" or len(segments) > 3:
            return 404, _error("NotFound", "no such route"), {}
        return self._secret(segments[1], segments[2] if len(segments) == 3 else "")

    def _secret(self, name: str, version: str) -> tuple[int, dict[str, Any], dict[str, str]]:
        versions = self.values.get(name.lower(), [])
        found = [one for one in versions if one[0] == version] if version else versions[-1:]
        if not found:
            return 404, _error("SecretNotFound", f"A secret with (name/id) {name} was not found in this key vault."), {}
        if name.lower() in self.disabled:
            return 403, _error("Forbidden", "Operation get is not allowed on a disabled secret."), {}
        made, value = found[0]
        times = {"enabled": True, "created": 1700000000, "updated": 1700000000, "recoveryLevel": "Recoverable+Purgeable"}
        return 200, {"value": value, "id": f"{self.address}/secrets/{name}/{made}", "attributes": times, "tags": {}}, {}

    def _token(self, form: dict[str, str]) -> tuple[int, dict[str, Any], dict[str, str]]:
        given = (form.get("grant_type"), form.get("client_id"), form.get("client_secret"), form.get("scope"))
        if given != ("client_credentials", self.client_id, self.client_secret, "https://vault.azure.net/.default"):
            return 401, {"error": "invalid_client", "error_description": "AADSTS7000215: Invalid client secret provided."}, {}
        return 200, {"token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599, "access_token": self.token()}, {}

    def _machine(self, query: dict[str, list[str]], headers: dict[str, str]) -> tuple[int, dict[str, Any], dict[str, str]]:
        """As the instance metadata service says it: numbers are texts, and without its header it answers nobody."""
        asked = {name: values[0] for name, values in query.items()}
        self.machine_asked.append(asked)
        if (
            headers.get("metadata") != "true"
            or not asked.get("api-version")
            or asked.get("resource") != "https://vault.azure.net"
        ):
            return 400, {"error": "invalid_request", "error_description": "Required metadata header not specified"}, {}
        if asked.get("client_id", self.client_id) != self.client_id:
            return 400, {"error": "invalid_request", "error_description": "Identity not found"}, {}
        body = {"access_token": self.token(), "expires_in": "3599", "resource": asked["resource"], "token_type": "Bearer"}
        return 200, body, {}

    def token(self) -> str:
        """A live token."""
        made = secrets.token_urlsafe(20)
        self.tokens[made] = time.monotonic() + self.later + 3599
        return made

    def _item(self, name: str) -> dict[str, Any]:
        return {"id": f"{self.address}/secrets/{name}", "attributes": {"enabled": True}, "tags": {}}


def _error(code: str, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message}}


@contextmanager
def served(server: AzureServer, certificate: tuple[Path, Path] | None) -> Iterator[str]:
    """The server on a free port of loopback; its address, which it knows itself. Without a certificate over plain HTTP: the
    machine's metadata service."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # an answer is two writes: the second would wait 40 ms for the client

        def serve(self) -> None:
            content = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, body, more = server.answer(self.command, self.path, headers, content)
            sent = json.dumps(body).encode()
            self.send_response(status)
            for name, value in {
                **more,
                "content-type": "application/json; charset=utf-8",
                "content-length": str(len(sent)),
            }.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(sent)

        do_GET = do_POST = serve  # noqa: N815  # the base class's names

        def log_message(self, *_arguments: object) -> None:
            """Nothing: pytest's output is for tests."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        listening.daemon_threads = True
        address = f"http://127.0.0.1:{listening.server_address[1]}"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            listening.socket = context.wrap_socket(listening.socket, server_side=True, do_handshake_on_connect=False)
            server.address = address = f"https://127.0.0.1:{listening.server_address[1]}"
        serving = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        serving.start()
        try:
            yield address
        finally:
            listening.shutdown()
            serving.join()

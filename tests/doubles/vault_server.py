"""A double of a Vault or OpenBao server: the protocol over HTTP, in a process of the tests.

It is faithful where a client can tell: status codes, ``errors`` arrays, the envelope of answers (``request_id``, ``data``,
``auth``, …), tokens with policies, seals (503), namespaces, and a transit engine that really encrypts, with key versions and
derived keys. The official client ``hvac`` drives it in ``test_vault_server.py``, so that a double that lies is found.

How to extend it: an engine is a class with :meth:`Engine.handle`, mounted by path in :attr:`VaultServer.mounts`; an auth method
is one with :meth:`AuthMethod.handle`, in :attr:`VaultServer.auth`. Both get a :class:`VaultRequest` after token and policy were
checked (a login has none), and answer with :class:`Answer` or raise :class:`Refusal`.
"""

from __future__ import annotations

import json
import secrets
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

from tests.doubles.vault_tokens import Token

ROOT_POLICY = "root"
_OPERATIONS = {"GET": "read", "LIST": "list", "POST": "update", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


class Refusal(Exception):
    """An answer with an ``errors`` array; a 404 without texts has an empty one, as Vault's has."""

    def __init__(self, status: int, *errors: str) -> None:
        super().__init__(*errors)
        self.status = status
        self.errors = list(errors)


@dataclass(frozen=True)
class Answer:
    """``data`` and ``auth`` of the envelope; without either the answer is 204 and empty. ``raw`` takes the envelope's place."""

    data: dict[str, Any] | None = None
    auth: dict[str, Any] | None = None
    raw: dict[str, Any] | None = None
    status: int = 200
    lease: int = 0
    warnings: list[str] | None = None


@dataclass(frozen=True)
class VaultRequest:
    """One request below a mount: ``path`` without the mount, ``operation`` as a policy names it."""

    operation: str
    path: str
    body: dict[str, Any]
    query: dict[str, str]
    token: str = ""


class Engine(Protocol):
    """A secrets engine."""

    def handle(self, request: VaultRequest) -> Answer:
        """What it answers, or :class:`Refusal`."""

    def creates(self, request: VaultRequest) -> bool:
        """True where an ``update`` would make something new, for which a policy has to allow ``create``."""


class AuthMethod(Protocol):
    """A way to a token, or its administration below ``auth/MOUNT/``."""

    def handle(self, server: VaultServer, request: VaultRequest) -> Answer:
        """What it answers, or :class:`Refusal`. ``login`` comes here without a token."""


class VaultServer:
    """The state of one server. ``policies`` map a name to capabilities by path, where a path may end in ``*``."""

    def __init__(self, namespace: str = "") -> None:
        self.namespace = namespace
        self.sealed = False
        self.standby = False
        self.share = secrets.token_hex(32)
        self.root_token = f"hvs.{secrets.token_urlsafe(18)}"
        self.tokens: dict[str, Token] = {self.root_token: Token((ROOT_POLICY,), path="auth/token/root")}
        self.policies: dict[str, dict[str, frozenset[str]]] = {}
        self.mounts: dict[str, Engine] = {}
        self.auth: dict[str, AuthMethod] = {}
        self.requests: list[tuple[str, str, int]] = []
        self.later = 0.0  # seconds by which the server's clock is ahead
        self.lease = 3600
        self.hide_mounts = False
        self._lock = threading.Lock()

    def token(self, *policies: str, uses: int = 0) -> str:
        """A new token."""
        made = f"hvs.{secrets.token_urlsafe(18)}"
        self.tokens[made] = Token(policies, uses)
        return made

    def allow(self, policy: str, path: str, *capabilities: str) -> None:
        """Add a rule to a policy."""
        self.policies.setdefault(policy, {})[path] = frozenset(capabilities)

    def now(self) -> float:
        """The server's clock; tests move it with ``later``."""
        return time.monotonic() + self.later

    def login(self, path: str, policies: tuple[str, ...], metadata: dict[str, str] | None = None, lease: int = 0) -> Answer:
        """A token as an auth method gives it, for ``lease`` seconds or :attr:`lease`."""
        made = self.token(*policies)
        token = self.tokens[made]
        token.path, token.metadata, token.lease = path, metadata, lease or self.lease
        return self._lent(made)

    def _lent(self, made: str) -> Answer:
        """A token's lease begins (again)."""
        token = self.tokens[made]
        token.ends_at = self.now() + token.lease
        return Answer(auth=token.lent(made))

    def answer(self, method: str, target: str, headers: dict[str, str], content: bytes) -> tuple[int, bytes]:
        """Status and body for one HTTP request."""
        with self._lock:
            try:
                found = self._answer(method, target, headers, content)
                status, body = found.status, _envelope(found)
                if body is None:
                    status = 204
            except Refusal as refusal:
                status, body = refusal.status, {"errors": refusal.errors}
            self.requests.append((method, urlsplit(target).path, status))
        return status, b"" if body is None else json.dumps(body).encode("utf-8")

    def _answer(self, method: str, target: str, headers: dict[str, str], content: bytes) -> Answer:
        parts = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        path = parts.path.removeprefix("/v1/")
        if path == parts.path:
            raise Refusal(404)
        if path == "sys/health":
            return self._health()
        if path in ("sys/seal-status", "sys/unseal"):
            if path == "sys/unseal" and _body(content).get("key") == self.share:
                self.sealed = False
            return Answer(raw=_seal_status(self.sealed))
        if self.sealed:
            raise Refusal(503, "Vault is sealed")
        if headers.get("x-vault-namespace", "").strip("/") != self.namespace.strip("/"):
            raise Refusal(404, "namespace not found")
        operation = "list" if method == "GET" and query.get("list") == "true" else _OPERATIONS.get(method, "")
        if not operation:
            raise Refusal(405)
        request = VaultRequest(operation, path, _body(content), query, _token(headers))
        return self._route(request)

    def _route(self, request: VaultRequest) -> Answer:
        for mount, method in self.auth.items():
            below = request.path.removeprefix(f"auth/{mount}/")
            if below != request.path:
                if below != "login":
                    self._check(request, create=False)
                return method.handle(self, _below(request, below))
        if request.operation == "list" and not request.path.endswith("/"):
            request = _below(request, f"{request.path}/")  # as Vault routes a list
        mount = max((name for name in self.mounts if request.path.startswith(f"{name}/")), key=len, default=None)
        engine = self.mounts[mount] if mount is not None else None
        below = _below(request, request.path[len(mount or "") + 1 :])
        self._check(request, create=engine is not None and request.operation == "update" and engine.creates(below))
        if request.path.startswith("auth/token/"):
            return self._own_token(request)
        if request.path.startswith("sys/internal/ui/mounts/"):
            return self._mount(request, request.path.removeprefix("sys/internal/ui/mounts/").strip("/"))
        if engine is None:
            raise Refusal(404, f'no handler for route "{request.path}". route entry not found.')
        return engine.handle(below)

    def _own_token(self, request: VaultRequest) -> Answer:
        token, action = self.tokens[request.token], request.path.removeprefix("auth/token/")
        if action == "lookup-self":
            return Answer(token.looked_at(request.token, token.ends_at - self.now()))
        if action == "revoke-self":
            del self.tokens[request.token]
            return Answer()
        if action == "create":
            lease = int(str(request.body.get("ttl", "0s")).removesuffix("s"))
            made = self.login(request.path, tuple(request.body["policies"]), lease=lease)
            self.tokens[(made.auth or {})["client_token"]].uses = int(request.body.get("num_uses", 0))
            return made
        if action != "renew-self":
            raise Refusal(404, f'unsupported path "{request.path}"')
        if not token.lease:
            raise Refusal(400, "invalid lease ID")
        return self._lent(request.token)

    def _check(self, request: VaultRequest, *, create: bool) -> None:
        """Token first, then policy. Vault says 403 to an unknown token as to one that may not."""
        token = self.tokens.get(request.token)
        if token is not None and token.ends_at <= self.now():
            del self.tokens[request.token]
            token = None
        if token is None:
            raise Refusal(403, "permission denied")
        if token.uses:
            token.uses -= 1
            if not token.uses:
                del self.tokens[request.token]
        own = request.path.startswith("auth/token/") and request.path.endswith("-self")
        if own or request.path.startswith("sys/internal/ui/mounts/"):
            return  # the policy "default", which every token has, and what decides by itself
        needed = "create" if create else request.operation
        if ROOT_POLICY not in token.policies and needed not in self._capabilities(token, request.path):
            raise Refusal(403, "1 error occurred:\n\t* permission denied\n\n")

    def _mount(self, request: VaultRequest, path: str) -> Answer:
        """What is mounted there, for whoever may do anything below it."""
        token = self.tokens[request.token]
        engine = self.mounts.get(path)
        rules = [rule for policy in token.policies for rule in self.policies.get(policy, {})]
        may = ROOT_POLICY in token.policies or any(rule.startswith(f"{path}/") for rule in rules)
        if engine is None or not may or self.hide_mounts:
            raise Refusal(
                403, f'preflight capability check returned 403, please ensure client\'s policies grant access to path "{path}/"'
            )
        return Answer(_mounted(path, getattr(engine, "type", "transit"), getattr(engine, "options", None)))

    def _capabilities(self, token: Token, path: str) -> frozenset[str]:
        """Of the rules that fit, an exact one wins over a prefix, and a longer prefix over a shorter one."""
        rules = [rule for policy in token.policies for rule in self.policies.get(policy, {}).items()]
        fitting = [(p, c) for p, c in rules if p == path or (p.endswith("*") and path.startswith(p[:-1]))]
        best = max((not p.endswith("*"), len(p)) for p, _ in fitting) if fitting else None
        return frozenset().union(*(c for p, c in fitting if (not p.endswith("*"), len(p)) == best))

    def _health(self) -> Answer:
        status = 503 if self.sealed else 429 if self.standby else 200
        shown = {"initialized": True, "sealed": self.sealed, "standby": self.standby or self.sealed, "version": "2.99.0"}
        mode = "unknown" if self.sealed else "disabled"
        shown |= {"replication_performance_mode": mode, "replication_dr_mode": mode, "server_time_utc": int(time.time())}
        cluster = {} if self.sealed else {"cluster_name": "vault-cluster-double", "cluster_id": secrets.token_hex(16)}
        return Answer(raw=shown | cluster, status=status)


def _seal_status(sealed: bool) -> dict[str, Any]:
    shown: dict[str, Any] = {"type": "shamir", "initialized": True, "sealed": sealed, "t": 1, "n": 1, "progress": 0, "nonce": ""}
    shown |= {"version": "2.99.0", "commit_date": "2026-01-01T00:00:00Z", "migration": False, "recovery_seal": False}
    cluster = {} if sealed else {"cluster_name": "vault-cluster-double", "cluster_id": secrets.token_hex(16)}
    return shown | {"storage_type": "inmem"} | cluster


def _mounted(path: str, kind: str, options: dict[str, str] | None) -> dict[str, Any]:
    return {
        "accessor": f"{kind}_{secrets.token_hex(4)}",
        "config": {"default_lease_ttl": 0, "force_no_cache": False, "max_lease_ttl": 0},
        "deprecation_status": "supported",
        "description": "",
        "external_entropy_access": False,
        "local": False,
        "options": options,
        "path": f"{path}/",
        "plugin_version": "",
        "running_plugin_version": "v2.99.0+builtin.bao",
        "running_sha256": "",
        "seal_wrap": False,
        "type": kind,
        "uuid": secrets.token_hex(16),
    }


def _below(request: VaultRequest, path: str) -> VaultRequest:
    return VaultRequest(request.operation, path, request.body, request.query, request.token)


def _body(content: bytes) -> dict[str, Any]:
    if not content:
        return {}
    try:
        found = json.loads(content)
    except ValueError:
        raise Refusal(400, "failed to parse JSON input: invalid character") from None
    if not isinstance(found, dict):
        raise Refusal(400, "failed to parse JSON input: cannot unmarshal into object")
    return found


def _token(headers: dict[str, str]) -> str:
    scheme, _, bearer = headers.get("authorization", "").partition(" ")
    return headers.get("x-vault-token") or (bearer if scheme.lower() == "bearer" else "")


def _envelope(answer: Answer) -> dict[str, Any] | None:
    if answer.raw is not None:
        return answer.raw
    if answer.data is None and answer.auth is None and answer.warnings is None:
        return None
    return {
        "request_id": secrets.token_hex(16),
        "lease_id": "",
        "renewable": False,
        "lease_duration": answer.lease,
        "data": answer.data,
        "wrap_info": None,
        "warnings": answer.warnings,
        "auth": answer.auth,
    }


@contextmanager
def served(server: VaultServer, certificate: tuple[Path, Path] | None = None, client_ca: Path | None = None) -> Iterator[str]:
    """The server on a free port of loopback, with TLS where a certificate and its key are given; its address.

    ``client_ca``: clients have to show a certificate of that CA.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # an answer is two writes: the second would wait 40 ms for the client

        def serve(self) -> None:
            content = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, body = server.answer(self.command, self.path, headers, content)
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("cache-control", "no-store")
            if status != 204:
                self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            """Nothing: pytest's output is for tests."""

    for method in _OPERATIONS:
        setattr(Handler, f"do_{method}", Handler.serve)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        listening.daemon_threads = True
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            if client_ca is not None:
                context.load_verify_locations(client_ca)
                context.verify_mode = ssl.CERT_REQUIRED
            listening.socket = context.wrap_socket(listening.socket, server_side=True, do_handshake_on_connect=False)
        serving = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        serving.start()
        try:
            yield f"{'https' if certificate else 'http'}://127.0.0.1:{listening.server_address[1]}"
        finally:
            listening.shutdown()
            serving.join()

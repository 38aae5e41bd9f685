"""The server's side of the agent's conversation: real proofs, assertions and bundles; its memory is a few dictionaries."""

from __future__ import annotations

import base64
import hashlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec

from overseer.core.errors import Unauthenticated
from overseer.core.secret_value import SecretValue
from overseer.crypto.node_assertions import verify_assertion
from overseer.crypto.node_keys import (
    Challenge,
    NodePublicKeys,
    answer_is_right,
    join_is_proven,
    new_challenge,
    rotation_is_proven,
)
from overseer.crypto.sealed_bundle import BundleContext, BundleRequest, seal_bundle
from overseer.crypto.signatures import SigningKey
from overseer.crypto.tokens import TokenPrefix, new_token, token_hash
from overseer.wire.agent import ReleasePayload
from overseer.wire.enrolment_token import EnrolmentToken, format_enrolment_token
from tests.unit.client.scripted_server import Asked, Reply, problem


@dataclass
class AgentServer:
    """``answer`` is a script for ``scripted_server``. What a test changes between requests takes effect at once."""

    node: str = "n1"
    instance_id: UUID = field(default_factory=uuid4)
    node_id: UUID = field(default_factory=uuid4)
    signing: SigningKey = field(default_factory=SigningKey.generate)
    ca_spki: bytes | None = None
    clock: timedelta = timedelta(0)
    expires_in: int = 600
    work: list[dict[str, Any]] = field(default_factory=list)
    reports: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    polls: list[dict[str, Any]] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    used: set[str] = field(default_factory=set)
    failures: dict[str, list[Reply]] = field(default_factory=dict)
    payloads: dict[str, ReleasePayload] = field(default_factory=dict)
    current: dict[str, dict[str, Any]] = field(default_factory=dict)
    holdings: list[dict[str, Any]] = field(default_factory=list)
    before: dict[str, Callable[[Asked], None]] = field(default_factory=dict)
    keys: NodePublicKeys | None = None
    active: bool = False
    enrolment: SecretValue = field(default_factory=lambda: new_token(TokenPrefix.ENROLMENT)[0])
    _challenge: Challenge | None = None
    _next_keys: NodePublicKeys | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def token(self) -> SecretValue:
        return format_enrolment_token(EnrolmentToken(self.enrolment, self.node, self.signing.public, self.ca_spki))

    def answer(self, asked: Asked) -> Reply:
        with self._lock:
            name = asked.path.rsplit("/", 1)[-1]
            if name in self.before:
                self.before[name](asked)
            if self.failures.get(name):
                return self.failures[name].pop(0)
            reply: Reply = getattr(self, f"_{name}")(asked)
        if name == "poll" and not reply.body.get("work"):
            time.sleep(0.05)
        return reply

    def _enrol(self, asked: Asked) -> Reply:
        body = asked.json
        public = NodePublicKeys(_bytes(body["encryption_key"]), _bytes(body["signing_key"]))
        nonce = _bytes(body["nonce"])
        digest = token_hash(SecretValue(body["token"]))
        if digest != token_hash(self.enrolment) or self.keys not in (None, public):
            return problem("unauthenticated", 401, "this enrolment token is not known or used by another agent")
        if not join_is_proven(public, digest, nonce, _bytes(body["proof"])):
            return problem("unauthenticated", 401, "the proof does not verify")
        self.keys = public
        self._challenge = new_challenge(public, self.instance_id, self.node_id, nonce)
        return Reply(200, {
            "node_id": str(self.node_id), "node": self.node, "instance_id": str(self.instance_id),
            "verify_key": _text(self.signing.public), "key_id": "key", "challenge": _text(self._challenge.sealed),
        })  # fmt: skip

    def _confirm(self, asked: Asked) -> Reply:
        if self._challenge is None or not answer_is_right(_bytes(asked.json["response"]), self._challenge.answer_hash):
            return problem("unauthenticated", 401, "the challenge was not answered")
        self.active = True
        if self._next_keys is not None:
            self.keys, self._next_keys = self._next_keys, None
            self.tokens.clear()
        return Reply(200, {
            "id": str(self.node_id), "name": self.node, "description": "", "state": "active", "agent_version": "",
            "last_seen_at": None, "created_at": "2026-01-01T00:00:00Z",
        })  # fmt: skip

    def _token(self, asked: Asked) -> Reply:
        text = asked.json["assertion"]
        now = datetime.now(UTC) + self.clock
        if not self.active or self.keys is None or text in self.used or "authorization" in asked.headers:
            return problem("unauthenticated", 401, "this node is not enrolled or was revoked")
        try:
            verify_assertion(text, self.keys.signing, self.instance_id, now)
        except Unauthenticated as error:
            return problem("unauthenticated", 401, error.message)
        self.used.add(text)
        token = "ovsn_" + hashlib.sha256(text.encode()).hexdigest()
        self.tokens.add(token)
        return Reply(200, {"access_token": token, "expires_in": self.expires_in, "server_time": now.isoformat()})

    def _refused(self, asked: Asked) -> Reply | None:
        token = asked.headers.get("authorization", "").removeprefix("Bearer ")
        return None if token in self.tokens else problem("unauthenticated", 401, "no live credential")

    def _poll(self, asked: Asked) -> Reply:
        if refused := self._refused(asked):
            return refused
        self.polls.append(asked.json)
        busy = asked.json.get("busy", [])
        return Reply(200, {"work": [one for one in self.work if one["deployment_id"] not in busy]})

    def _release(self, asked: Asked) -> Reply:
        if refused := self._refused(asked):
            return refused
        assert self.keys is not None
        deployment_id = asked.path.split("/")[-2]
        request = BundleRequest(self.instance_id, self.node_id, UUID(deployment_id), _bytes(asked.json["nonce"]))
        expires_at = datetime.now(UTC) + timedelta(minutes=2)
        plaintext = SecretValue(msgspec.msgpack.encode(self.payloads[deployment_id]))
        sealed = seal_bundle(plaintext, BundleContext(request, expires_at), self.keys.sealing, self.signing)
        return Reply(200, {"sealed": _text(sealed), "expires_at": expires_at.isoformat()})

    def _lost(self, asked: Asked) -> Reply:
        if refused := self._refused(asked):
            return refused
        lost = asked.json["deployments"]
        return Reply(200, {"refill": [one for one in self.current.values() if one["deployment_id"] in lost]})

    def _holdings(self, asked: Asked) -> Reply:
        if refused := self._refused(asked):
            return refused
        self.holdings += asked.json["holdings"]
        return Reply(200, {"accepted": [one["deployment_id"] for one in asked.json["holdings"]], "stale": []})

    def _keys(self, asked: Asked) -> Reply:
        if refused := self._refused(asked):
            return refused
        assert self.keys is not None
        body = asked.json
        public, nonce = NodePublicKeys(_bytes(body["encryption_key"]), _bytes(body["signing_key"])), _bytes(body["nonce"])
        proofs = _bytes(body["old_proof"]), _bytes(body["new_proof"])
        if not rotation_is_proven(self.keys.signing, public, self.instance_id, self.node_id, nonce, proofs):
            return problem("unauthenticated", 401, "the new keys are not proven")
        self._next_keys = public
        self._challenge = new_challenge(public, self.instance_id, self.node_id, nonce)
        return Reply(200, {"key_id": "next", "challenge": _text(self._challenge.sealed)})

    def _report(self, asked: Asked) -> Reply:
        if refused := self._refused(asked):
            return refused
        deployment_id = asked.path.split("/")[-2]
        body = asked.json
        self.reports.append((deployment_id, body))
        if body["state"] == "succeeded":
            self.current |= {
                one["project"]: one for one in self.work if (one["deployment_id"], one["action"]) == (deployment_id, "deploy")
            }
        if body["state"] in ("succeeded", "failed"):
            self.work = [one for one in self.work if one["deployment_id"] != deployment_id]
        return Reply(200, {
            "id": deployment_id, "app": "shop", "environment": None, "node": self.node, "action": "deploy", "bundle": None,
            "project": "p", "state": body["state"], "references": [], "services": [], "output": "", "error": "",
            "created_by": None, "created_at": "2026-01-01T00:00:00Z", "finished_at": None,
        })  # fmt: skip


def work(action: str = "deploy", project: str = "shop", app: str = "shop") -> dict[str, Any]:
    return {
        "deployment_id": str(uuid4()), "action": action, "app": app, "environment": None, "project": project,
        "wait_timeout": 5, "attempt": 1,
    }  # fmt: skip


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()

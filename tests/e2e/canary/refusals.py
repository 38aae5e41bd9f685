"""Requests that are refused, each with a canary in the place that is wrong."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from overseer.crypto.tokens import TokenPrefix, new_token
from tests.e2e.canary.markers import Canaries

MAX_VALUE = 1 << 20


@dataclass(frozen=True)
class Refusal:
    """A request and the status that it has to get."""

    purpose: str
    statuses: frozenset[int]
    method: str = "POST"
    path: str = "/api/secrets"
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    token: str | None = field(default=None, repr=False)


def refusals(canaries: Canaries, secret_id: str) -> Iterator[Refusal]:
    """Bodies, then paths and queries, then headers. ``secret_id`` is that of a secret called ``in-use``."""
    yield from _bodies(canaries, secret_id)
    yield from _paths(canaries, secret_id)
    yield from _headers(canaries, secret_id)


def _bodies(canaries: Canaries, secret_id: str) -> Iterator[Refusal]:
    def text(what: str) -> str:
        return canaries.text(f"refused: {what}")

    value = f"/api/secrets/{secret_id}/value"
    encoded = base64.b64encode(canaries.data("refused: base64")).decode()
    bodies: dict[str, tuple[str, Any]] = {
        "name": ("/api/secrets", {"name": text("name"), "value": text("value of a bad name")}),
        "name that is a list": ("/api/secrets", {"name": [text("name that is a list")], "value": "v"}),
        "value that is a list": ("/api/secrets", {"name": "n", "value": [text("value that is a list")]}),
        "value that is an object": ("/api/secrets", {"name": "n", "value": {text("value that is an object"): 1}}),
        "unknown field": ("/api/secrets", {"name": "n", "value": "v", "extra": text("unknown field")}),
        "name of a field": ("/api/secrets", {"name": "n", "value": "v", text("name of a field"): 1}),
        "base64": ("/api/secrets", {"name": "n", "value_base64": encoded + "!"}),
        "base64 that is text": ("/api/secrets", {"name": "n", "value_base64": text("base64 that is text")}),
        "both": ("/api/secrets", {"name": "n", "value": text("both"), "value_base64": encoded}),
        "generator": ("/api/secrets", {"name": "n", "generate": text("generator")}),
        "label's name": ("/api/secrets", {"name": "n", "value": "v", "labels": {text("label's name"): "x"}}),
        "label that is a list": ("/api/secrets", {"name": "n", "value": "v", "labels": {"k": [text("label that is a list")]}}),
        "description": ("/api/secrets", {"name": "n", "value": "v", "description": text("description") * 100}),
        "app": ("/api/secrets", {"name": "n", "value": text("value for a bad app"), "app": text("app")}),
        "date": ("/api/secrets", {"name": "n", "value": "v", "expires_at": text("date")}),
        "rotation": ("/api/secrets", {"name": "n", "value": "v", "rotation": {"every": text("rotation")}}),
        "version": (value, {"version": text("version")}),
        "version as a name": (value, {text("version as a name"): 1}),
        "activation": (f"/api/secrets/{secret_id}/activate", {"version": text("activation")}),
        "names": ("/api/resolve", {"names": [text("names")], "app": "shop"}),
        "names that are text": ("/api/resolve", {"names": text("names that are text")}),
        "explanation": ("/api/explain", {"name": text("explanation")}),
        "file's path": ("/api/apps/shop/bundles", {"files": [{"path": text("file's path"), "content": text("its content")}]}),
        "broken YAML": (
            "/api/apps/shop/bundles",
            {"files": [{"path": "compose.yaml", "content": f"a: [${{SECRET:x}}, {text('broken YAML')}"}]},
        ),
        "deployment": ("/api/deployments", {"app": "shop", "node": text("deployment"), "bundle": text("digest")}),
        "action": ("/api/deployments", {"app": "shop", "node": "local", "action": text("action")}),
        "enrolment": ("/api/agent/enrol", {"token": text("enrolment")}),
        "enrolment's keys": (
            "/api/agent/enrol",
            {"token": "t", **dict.fromkeys(("encryption_key", "signing_key", "nonce", "proof"), text("enrolment's keys"))},
        ),
        "account": ("/api/service-accounts", {"name": text("account")}),
        "binding": (
            "/api/bindings",
            {"principal": "me", "role": text("binding"), "app": "*", "environment": "*", "node": "*", "name": "*"},
        ),
        "network": ("/api/tokens", {"principal": "me", "networks": [text("network")]}),
    }
    for what, (path, body) in bodies.items():
        yield Refusal(what, frozenset({401, 404, 422}), path=path, body=body)
    yield Refusal("duplicate", frozenset({409}), body={"name": "in-use", "value": text("duplicate")})
    yield Refusal("assertion", frozenset({401}), path="/api/agent/token", body={"assertion": text("assertion")})
    yield Refusal("unseal what is open", frozenset({200}), path="/api/seal/unseal", body={"passphrase": text("unseal")})
    too_long = text("too long") + "x" * MAX_VALUE
    yield Refusal("too long", frozenset({413}), body={"name": "n", "value": too_long})
    yield Refusal("far too long", frozenset({413}), body={"name": "n", "value": text("far too long") * 60_000})
    yield Refusal("no JSON", frozenset({422}), body=f'{{"name": "n", "value": "{canaries.word("refused: no JSON")}'.encode())
    yield Refusal("no UTF-8", frozenset({422}), body=b'{"name": "' + canaries.data("refused: no UTF-8", nul=False) + b'"}')
    yield Refusal("twice", frozenset({422}), body=f'{{"value": {json.dumps(text("twice"))}, "value": "v", "name": "n"}}'.encode())
    yield Refusal("no object", frozenset({422}), body=json.dumps([text("no object")]).encode())
    media = {"content-type": "text/plain"}
    yield Refusal("media", frozenset({415}), body=text("media").encode(), headers=media)
    match = {"if-match": '"v99"'}
    yield Refusal("stale", frozenset({412}), "PUT", f"/api/secrets/{secret_id}", {"value": text("stale")}, match)
    changed = {"value": text("patched value")}
    yield Refusal("patch", frozenset({422}), "PATCH", f"/api/secrets/{secret_id}", changed)


def _paths(canaries: Canaries, secret_id: str) -> Iterator[Refusal]:
    def escaped(what: str) -> str:
        return quote(canaries.text(f"refused: {what}"), safe="")

    yield Refusal("path", frozenset({404}), "GET", f"/{escaped('path')}")
    yield Refusal("path below", frozenset({404}), "GET", f"/api/{escaped('path below')}/x")
    yield Refusal("id", frozenset({404, 422}), "GET", f"/api/secrets/{escaped('id')}")
    yield Refusal("id to delete", frozenset({404, 422}), "DELETE", f"/api/secrets/{escaped('id to delete')}")
    yield Refusal("app in the path", frozenset({404, 422}), "DELETE", f"/api/apps/{escaped('app in the path')}")
    yield Refusal("environment in the path", frozenset({404, 422}), "DELETE", f"/api/environments/{escaped('env in the path')}")
    yield Refusal("node in the path", frozenset({404, 422}), "GET", f"/api/nodes/{escaped('node in the path')}")
    yield Refusal("node to revoke", frozenset({404, 422}), path=f"/api/nodes/{escaped('node to revoke')}/revoke")
    yield Refusal("bundles", frozenset({404, 422}), "GET", f"/api/apps/{escaped('bundles')}/bundles")
    yield Refusal("deployment in the path", frozenset({404, 422}), "GET", f"/api/deployments/{escaped('deployment in the path')}")
    yield Refusal("method", frozenset({405}), "PUT", f"/api/secrets?x={escaped('method')}")
    yield Refusal("query", frozenset({422}), "GET", f"/api/secrets?value={escaped('query')}")
    yield Refusal("query's name", frozenset({422}), "GET", f"/api/secrets?{escaped('name of the query')}=1")
    yield Refusal("limit", frozenset({422}), "GET", f"/api/secrets?limit={escaped('limit')}")
    yield Refusal("cursor", frozenset({422}), "GET", f"/api/secrets?cursor={escaped('cursor')}")
    yield Refusal("audit cursor", frozenset({422}), "GET", f"/api/audit?cursor={escaped('audit cursor')}")
    yield Refusal("audit since", frozenset({422}), "GET", f"/api/audit?since={escaped('audit since')}")
    value = f"/api/secrets/{secret_id}/value?v={escaped('query of a POST')}"
    yield Refusal("query of a POST", frozenset({422}), path=value, body={})


def _headers(canaries: Canaries, secret_id: str) -> Iterator[Refusal]:
    def word(what: str) -> str:
        return canaries.word(f"refused: {what}")

    ugly = canaries.text("refused: header", lines=False).encode().decode("latin-1").encode("ascii", "replace").decode()
    get = f"/api/secrets/{secret_id}"
    yield Refusal("token", frozenset({401}), "GET", get, headers={"authorization": f"Bearer {word('token')}"})
    unknown = new_token(TokenPrefix.API)[0].reveal().decode()
    yield Refusal("well-formed token", frozenset({401}), "GET", get, token=unknown)
    yield Refusal("basic", frozenset({401}), "GET", get, headers={"authorization": f"Basic {word('basic')}"})
    yield Refusal("host", frozenset({421}), "GET", get, headers={"host": word("host")})
    yield Refusal("origin", frozenset({403}), body={"name": "n"}, headers={"origin": f"https://{word('origin')}.example"})
    yield Refusal("if-match", frozenset({412, 422}), "PUT", get, {"value": "v"}, {"if-match": f'"{word("if-match")}"'})
    yield Refusal("key", frozenset({422}), body={"name": "n", "value": "v"}, headers={"idempotency-key": f"{word('key')} {ugly}"})
    yield Refusal("media type", frozenset({415}), body={"name": "n"}, headers={"content-type": word("media type")})
    others = {"cookie": f"a={word('cookie')}", "x-forwarded-for": word("forwarded"), "x-request-id": f"{word('id')} {ugly}"}
    yield Refusal("other headers", frozenset({404}), "GET", "/api/none", headers=others | {"x-canary": ugly, "referer": ugly})

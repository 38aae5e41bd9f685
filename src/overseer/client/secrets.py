"""Secrets over the API. A value is a ``SecretValue`` on the way in and on the way out."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import msgspec

from overseer.client.pages import every
from overseer.client.retries import IDEMPOTENCY_KEY, RetryingClient
from overseer.core.errors import ConfigurationProblem, InvalidInput, Unavailable
from overseer.core.scopes import GLOBAL_NAMES, Scope
from overseer.core.secret_value import SecretValue
from overseer.wire.messages import Page
from overseer.wire.secrets import (
    ExplainAnswer,
    ExplainRequest,
    ResolveAnswer,
    ResolveRequest,
    SecretActivate,
    SecretCreate,
    SecretPatch,
    SecretRotate,
    SecretUpdate,
    SecretView,
    ValueAnswer,
    ValueRequest,
    VersionView,
)

if TYPE_CHECKING:  # loaded by the commands that use them
    from overseer.wire.secret_batches import BatchResult, Operation, SecretMoved


@dataclass(frozen=True, slots=True)
class RevealedSecret:
    """One version of a secret with its value."""

    id: str
    name: str
    version: int
    value: SecretValue


def scope_kind(scope: Scope[str]) -> str:
    """The name of a scope's shape as the API filters by it: ``app+node+environment`` … ``global``."""
    parts = [name for name in ("app", "node", "environment") if getattr(scope, name) is not None]
    return "+".join(parts) or "global"


class Secrets:
    """Everything under ``/api/secrets``, and resolve and explain. ``secret_id`` is the id of a :class:`SecretView`."""

    def __init__(self, http: RetryingClient) -> None:
        self._http = http

    def create(
        self,
        name: str,
        value: SecretValue | None = None,
        *,
        generate: str | None = None,
        scope: Scope[str] = GLOBAL_NAMES,
        description: str = "",
        labels: dict[str, str] | None = None,
        owner: str | None = None,
        expires_at: datetime | None = None,
        rotation: dict[str, Any] | None = None,
    ) -> SecretView:
        """A new secret with version 1 from exactly one of ``value`` and ``generate`` (a spec such as ``hex:32``)."""
        body = SecretCreate(
            name=name,
            **_content(value, generate),
            app=scope.app,
            environment=scope.environment,
            node=scope.node,
            description=description,
            labels=labels or {},
            owner=owner,
            expires_at=expires_at,
            rotation=rotation,
        )
        return self._http.request("POST", "/api/secrets", body, returns=SecretView, headers=_once()).value

    def list(
        self, *, name: str | None = None, q: str | None = None, label: str | None = None,
        app: str | None = None, environment: str | None = None, node: str | None = None, scope: str | None = None,
    ) -> Iterator[SecretView]:  # fmt: skip
        """The secrets that the caller may list and that match every filter; ``scope`` is a shape such as ``app+environment``."""
        query = {"name": name, "q": q, "label": label, "app": app, "environment": environment, "node": node, "scope": scope}
        return every(self._http, "/api/secrets", Page[SecretView], query)

    def find(self, name: str, scope: Scope[str] = GLOBAL_NAMES) -> SecretView:
        """The secret of that name at exactly that scope, or :class:`Unavailable`."""
        found = self.list(name=name, app=scope.app, environment=scope.environment, node=scope.node, scope=scope_kind(scope))
        for view in found:
            if view.name == name and (view.scope.app, view.scope.environment, view.scope.node) == (
                scope.app, scope.environment, scope.node,
            ):  # fmt: skip
                return view
        raise Unavailable(f"there is no secret {name} at exactly {scope}, or you may not list it")

    def get(self, secret_id: str) -> SecretView:
        """Metadata, never a value."""
        return self._http.request("GET", f"/api/secrets/{secret_id}", returns=SecretView).value

    def reveal(self, secret_id: str, *, version: int | None = None, reason: str = "") -> RevealedSecret:
        """The value (default: of the active version). Audited, with the reason."""
        body = ValueRequest(version=version, reason=reason)
        answer = self._http.request("POST", f"/api/secrets/{secret_id}/value", body, returns=ValueAnswer, repeatable=True)
        return _revealed(answer.value)

    def update(
        self, secret_id: str, value: SecretValue | None = None, *,
        generate: str | None = None, activate: bool = True, if_version: int | None = None, immediate: bool = False,
    ) -> SecretView:  # fmt: skip
        """A new version; with ``if_version`` only while that is the newest one (else :class:`PreconditionFailed`).

        Where containers use the secret, a rollout brings it to them (``SecretView.rollout``) unless ``immediate``.
        """
        body = SecretUpdate(**_content(value, generate), activate=activate, immediate=immediate)
        return self._changed("PUT", secret_id, "", body, if_version)

    def patch(self, secret_id: str, patch: SecretPatch, *, if_version: int | None = None) -> SecretView:
        """New metadata."""
        headers = _if_match(if_version)
        return self._http.request("PATCH", f"/api/secrets/{secret_id}", patch, returns=SecretView, headers=headers).value

    def rotate(
        self, secret_id: str, value: SecretValue | None = None, *,
        generate: str | None = None, if_version: int | None = None, immediate: bool = False,
    ) -> SecretView:  # fmt: skip
        """A new version from a value, a generator, or (with neither) the way the secret was made; ``immediate`` as in update."""
        content = {} if value is None and generate is None else _content(value, generate)
        body = SecretRotate(**content, immediate=immediate)
        return self._changed("POST", secret_id, "/rotate", body, if_version)

    def activate(self, secret_id: str, version: int, *, immediate: bool = False) -> SecretView:
        """Make an existing version the active one; ``immediate`` as in update."""
        return self._changed("POST", secret_id, "/activate", SecretActivate(version=version, immediate=immediate), None)

    def delete(self, secret_id: str, *, if_version: int | None = None, force: bool = False) -> Sequence[str]:
        """Delete the secret with all of its history; the ids of secrets that consumers may get instead from now on.

        :class:`InUse` where something that is deployed uses it, unless ``force``.
        """
        path, query = f"/api/secrets/{secret_id}", {"force": "true"} if force else None
        answer = self._http.request("DELETE", path, headers=_if_match(if_version), query=query)
        return [one for one in answer.headers.get("overseer-unshadows", "").split(", ") if one]

    def move(
        self, secret_id: str, scope: Scope[str], name: str | None = None, *, force: bool = False, if_version: int | None = None
    ) -> SecretMoved:
        """Give the secret exactly this scope, and this name where one is given; its versions are encrypted anew."""
        from overseer.wire.secret_batches import ScopeTarget, SecretMove, SecretMoved

        target = ScopeTarget(app=scope.app, environment=scope.environment, node=scope.node)
        body = SecretMove(scope=target, name=name, force=force)
        headers = _once() | _if_match(if_version)
        return self._http.request("POST", f"/api/secrets/{secret_id}/move", body, returns=SecretMoved, headers=headers).value

    def batch(self, operations: Sequence[Operation]) -> Sequence[BatchResult]:
        """Up to 500 operations of ``overseer.wire.secret_batches``, all or nothing; one result for each.

        Raises :class:`BatchRefused`, or another error whose ``problems`` name every operation that cannot be done.
        """
        from overseer.wire.secret_batches import SecretBatch, SecretBatchAnswer

        body = SecretBatch(operations=[*operations])
        answer = self._http.request("POST", "/api/secrets/batch", body, returns=SecretBatchAnswer, headers=_once())
        return answer.value.results

    def versions(self, secret_id: str) -> Iterator[VersionView]:
        """Its versions, without values."""
        return every(self._http, f"/api/secrets/{secret_id}/versions", Page[VersionView], {})

    def resolve(
        self, names: Sequence[str] | None = None, scope: Scope[str] = GLOBAL_NAMES, *, reason: str = ""
    ) -> dict[str, RevealedSecret]:
        """What a consumer at ``scope`` gets for ``names`` (None: every name), all or nothing; names map to values."""
        body = ResolveRequest(
            names=None if names is None else [*names],
            app=scope.app,
            environment=scope.environment,
            node=scope.node,
            reason=reason,
        )
        answer = self._http.request("POST", "/api/resolve", body, returns=ResolveAnswer, repeatable=True).value
        return {item.name: _revealed(item) for item in answer.values}

    def explain(self, name: str, scope: Scope[str] = GLOBAL_NAMES) -> ExplainAnswer:
        """Which secret of that name wins at ``scope``, and which ones it shadows."""
        body = ExplainRequest(name=name, app=scope.app, environment=scope.environment, node=scope.node)
        return self._http.request("POST", "/api/explain", body, returns=ExplainAnswer, repeatable=True).value

    def _changed(self, method: str, secret_id: str, action: str, body: msgspec.Struct, if_version: int | None) -> SecretView:
        headers = _once() | _if_match(if_version)
        return self._http.request(method, f"/api/secrets/{secret_id}{action}", body, returns=SecretView, headers=headers).value


def _content(value: SecretValue | None, generate: str | None) -> dict[str, Any]:
    """The one field of a message that carries the value: text where it is UTF-8, base64 otherwise."""
    if (value is None) == (generate is None):
        raise InvalidInput("give exactly one of a value and a generator")
    if value is None:
        return {"generate": generate}
    raw = value.reveal()
    try:
        return {"value": raw.decode("utf-8")}
    except UnicodeDecodeError:
        return {"value_base64": base64.b64encode(raw).decode("ascii")}


def _revealed(answer: ValueAnswer) -> RevealedSecret:
    if answer.value_base64 is not None:
        try:
            value = SecretValue(base64.b64decode(answer.value_base64, validate=True))
        except (binascii.Error, ValueError):
            raise ConfigurationProblem("the server sent a value that is not base64") from None
    elif answer.value is not None:
        value = SecretValue(answer.value)
    else:
        raise ConfigurationProblem("the server sent an answer without a value")
    return RevealedSecret(answer.id, answer.name, answer.version, value)


def _once() -> dict[str, str]:
    return {IDEMPOTENCY_KEY: uuid4().hex}


def _if_match(version: int | None) -> dict[str, str]:
    return {} if version is None else {"If-Match": f'"v{version}"'}

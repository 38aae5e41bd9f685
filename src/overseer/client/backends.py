"""Backends over the API, and secrets whose values come from them. Credentials go in as ``SecretValue`` and never come out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

from overseer.client.pages import every
from overseer.client.retries import IDEMPOTENCY_KEY, RetryingClient
from overseer.core.errors import Unavailable
from overseer.core.scopes import GLOBAL_NAMES, Scope
from overseer.core.secret_value import SecretValue
from overseer.wire.backends import (
    BackendCreate,
    BackendPatch,
    BackendRefs,
    BackendTest,
    BackendView,
    SecretSource,
    SourcedSecretCreate,
    SourceView,
)
from overseer.wire.messages import Page
from overseer.wire.secrets import SecretView


class Backends:
    """``/api/backends`` and the sources of secrets. ``times``: ttl, stale_if_error, max_age, timeout in seconds."""

    def __init__(self, http: RetryingClient) -> None:
        self._http = http

    def create(
        self,
        name: str,
        kind: str,
        settings: dict[str, str],
        credentials: dict[str, SecretValue],
        description: str = "",
        times: Mapping[str, int] | None = None,
    ) -> BackendView:
        """Set one up; it is not asked: :meth:`test` does that."""
        body = BackendCreate(
            name=name,
            kind=kind,
            settings=dict(settings),
            credentials=_revealed(credentials),
            description=description,
            **dict(times or {}),
        )
        headers = {IDEMPOTENCY_KEY: uuid4().hex}
        return self._http.request("POST", "/api/backends", body, returns=BackendView, headers=headers).value

    def list(self) -> Iterator[BackendView]:
        """By name."""
        return every(self._http, "/api/backends", Page[BackendView], {})

    def find(self, name: str) -> BackendView:
        """By name; :class:`Unavailable` where there is none."""
        found = next((view for view in self.list() if view.name == name), None)
        if found is None:
            raise Unavailable(f"there is no backend {name}: 'overseer backend list' shows them")
        return found

    def get(self, backend_id: str) -> BackendView:
        return self._http.request("GET", f"/api/backends/{backend_id}", returns=BackendView).value

    def patch(
        self,
        backend_id: str,
        *,
        settings: Mapping[str, str] | None = None,
        credentials: Mapping[str, SecretValue] | None = None,
        description: str | None = None,
        times: Mapping[str, int] | None = None,
    ) -> BackendView:
        """What is None stays; new settings need the credentials as well."""
        fields: dict[str, Any] = dict(times or {})
        if settings is not None:
            fields["settings"] = dict(settings)
        if credentials is not None:
            fields["credentials"] = _revealed(credentials)
        if description is not None:
            fields["description"] = description
        return self._http.request("PATCH", f"/api/backends/{backend_id}", BackendPatch(**fields), returns=BackendView).value

    def delete(self, backend_id: str) -> None:
        """:class:`Conflict` where secrets come from it."""
        self._http.request("DELETE", f"/api/backends/{backend_id}")

    def test(self, backend_id: str) -> BackendTest:
        """Whether it can be asked, and what is wrong."""
        return self._http.request("POST", f"/api/backends/{backend_id}/test", returns=BackendTest).value

    def refs(self, backend_id: str, folder: str = "", scope: Scope[str] = GLOBAL_NAMES) -> BackendRefs:
        """What is directly in a folder, never values."""
        asked = {"folder": folder, "app": scope.app, "environment": scope.environment, "node": scope.node}
        query = urlencode({name: text for name, text in asked.items() if text})
        path = f"/api/backends/{backend_id}/refs"
        return self._http.request("GET", f"{path}?{query}" if query else path, returns=BackendRefs).value

    def secrets(self, backend_id: str) -> Iterator[SourceView]:
        """The secrets that come from it: those that you may list."""
        return every(self._http, f"/api/backends/{backend_id}/secrets", Page[SourceView], {})

    def source(self, secret_id: str) -> SourceView:
        """Where a secret's value comes from; :class:`Conflict` where it has values of its own."""
        return self._http.request("GET", f"/api/secrets/{secret_id}/source", returns=SourceView).value

    def create_secret(
        self,
        name: str,
        source: SecretSource,
        scope: Scope[str] = GLOBAL_NAMES,
        description: str = "",
        labels: Mapping[str, str] | None = None,
    ) -> SecretView:
        """A new secret whose value comes from a backend."""
        body = SourcedSecretCreate(
            name=name,
            backend=source.backend,
            ref=source.ref,
            field=source.field,
            mode=source.mode,
            app=scope.app,
            environment=scope.environment,
            node=scope.node,
            description=description,
            labels=dict(labels or {}),
        )
        headers = {IDEMPOTENCY_KEY: uuid4().hex}
        return self._http.request("POST", "/api/backends/secrets", body, returns=SecretView, headers=headers).value

    def tie(self, secret_id: str, source: SecretSource) -> SecretView:
        """Take the value of an existing secret from a backend from now on."""
        return self._http.request("PUT", f"/api/secrets/{secret_id}/source", source, returns=SecretView).value

    def untie(self, secret_id: str) -> SecretView:
        """The secret keeps its versions and takes new ones by hand."""
        return self._http.request("DELETE", f"/api/secrets/{secret_id}/source", returns=SecretView).value


def _revealed(credentials: Mapping[str, SecretValue]) -> dict[str, str]:
    return {name: value.reveal().decode("utf-8") for name, value in credentials.items()}

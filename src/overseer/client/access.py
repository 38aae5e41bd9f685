"""Service accounts, tokens, roles and bindings over the API."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from uuid import uuid4

from overseer.client.pages import every
from overseer.client.retries import IDEMPOTENCY_KEY, RetryingClient
from overseer.wire.access import (
    BindingCreate,
    BindingView,
    PrincipalView,
    RoleView,
    ServiceAccountCreate,
    TokenCreate,
    TokenCreated,
    TokenView,
)
from overseer.wire.messages import Page


class ServiceAccounts:
    """``/api/service-accounts``."""

    def __init__(self, http: RetryingClient) -> None:
        self._http = http

    def create(self, name: str, description: str = "") -> PrincipalView:
        body = ServiceAccountCreate(name=name, description=description)
        headers = {IDEMPOTENCY_KEY: uuid4().hex}
        return self._http.request("POST", "/api/service-accounts", body, returns=PrincipalView, headers=headers).value

    def list(self) -> Iterator[PrincipalView]:
        return every(self._http, "/api/service-accounts", Page[PrincipalView], {})

    def delete(self, principal_id: str) -> None:
        """With its tokens and bindings."""
        self._http.request("DELETE", f"/api/service-accounts/{principal_id}")


class Tokens:
    """``/api/tokens``."""

    def __init__(self, http: RetryingClient) -> None:
        self._http = http

    def create(
        self, principal: str, *, description: str = "", expires_in: int = 90 * 86400, networks: list[str] | None = None
    ) -> TokenCreated:
        """A token of a service account (or ``me``), live for ``expires_in`` seconds; its text is in this answer only."""
        body = TokenCreate(principal=principal, description=description, expires_in=expires_in, networks=networks)
        headers = {IDEMPOTENCY_KEY: uuid4().hex}
        return self._http.request("POST", "/api/tokens", body, returns=TokenCreated, headers=headers).value

    def list(self, principal: str | None = None) -> Iterator[TokenView]:
        return every(self._http, "/api/tokens", Page[TokenView], {"principal": principal})

    def revoke(self, token_id: str) -> None:
        """Holds from the next request on."""
        self._http.request("DELETE", f"/api/tokens/{token_id}")


class Roles:
    """``/api/roles``."""

    def __init__(self, http: RetryingClient) -> None:
        self._http = http

    def list(self) -> Iterator[RoleView]:
        return every(self._http, "/api/roles", Page[RoleView], {})


class Bindings:
    """``/api/bindings``. A part of the selector is a name, ``*`` (anything) or ``-`` (only nothing set); none has a default."""

    def __init__(self, http: RetryingClient) -> None:
        self._http = http

    def create(
        self,
        principal: str,
        role: str,
        *,
        app: str,
        environment: str,
        node: str,
        name: str,
        expires_at: datetime | None = None,
    ) -> BindingView:
        body = BindingCreate(
            principal=principal, role=role, app=app, environment=environment, node=node, name=name, expires_at=expires_at
        )
        headers = {IDEMPOTENCY_KEY: uuid4().hex}
        return self._http.request("POST", "/api/bindings", body, returns=BindingView, headers=headers).value

    def list(self, principal: str | None = None) -> Iterator[BindingView]:
        return every(self._http, "/api/bindings", Page[BindingView], {"principal": principal})

    def delete(self, binding_id: str) -> None:
        self._http.request("DELETE", f"/api/bindings/{binding_id}")

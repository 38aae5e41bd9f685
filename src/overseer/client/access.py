"""Service accounts and tokens over the API."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

from overseer.client.pages import every
from overseer.client.retries import IDEMPOTENCY_KEY, RetryingClient
from overseer.wire.access import (
    PrincipalView,
    ServiceAccountCreate,
    ServiceAccountPatch,
    TokenCreate,
    TokenCreated,
    TokenRotate,
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

    def get(self, principal_id: str) -> PrincipalView:
        return self._http.request("GET", f"/api/service-accounts/{principal_id}", returns=PrincipalView).value

    def patch(self, principal_id: str, body: ServiceAccountPatch) -> PrincipalView:
        """Describe it anew, disable it or enable it."""
        return self._http.request("PATCH", f"/api/service-accounts/{principal_id}", body, returns=PrincipalView).value

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

    def rotate(
        self, token_id: str, *, expires_in: int = 90 * 86400, overlap: int = 3600, description: str | None = None
    ) -> TokenCreated:
        """A successor with the same networks; the token itself lives ``overlap`` seconds more."""
        body = TokenRotate(expires_in=expires_in, overlap=overlap, description=description)
        headers = {IDEMPOTENCY_KEY: uuid4().hex}
        return self._http.request("POST", f"/api/tokens/{token_id}/rotate", body, returns=TokenCreated, headers=headers).value

    def list(self, principal: str | None = None) -> Iterator[TokenView]:
        return every(self._http, "/api/tokens", Page[TokenView], {"principal": principal})

    def get(self, token_id: str) -> TokenView:
        return self._http.request("GET", f"/api/tokens/{token_id}", returns=TokenView).value

    def revoke(self, token_id: str) -> None:
        """Holds from the next request on."""
        self._http.request("DELETE", f"/api/tokens/{token_id}")

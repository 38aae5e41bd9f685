"""Apps, environments and nodes over the API."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import quote
from uuid import uuid4

from overseer.client.pages import every
from overseer.client.retries import IDEMPOTENCY_KEY, RetryingClient
from overseer.wire.messages import Page
from overseer.wire.scopes import (
    AppView,
    ContentsView,
    EnrolmentTokenCreate,
    EnrolmentTokenCreated,
    EnvironmentView,
    NodeCreate,
    NodePatch,
    NodeView,
    ScopePartCreate,
    ScopePartPatch,
)


class Apps:
    """``/api/apps``."""

    def __init__(self, http: RetryingClient) -> None:
        self._http = http

    def create(self, name: str, description: str = "") -> AppView:
        body = ScopePartCreate(name=name, description=description)
        return self._http.request("POST", "/api/apps", body, returns=AppView, headers={IDEMPOTENCY_KEY: uuid4().hex}).value

    def list(self) -> Iterator[AppView]:
        return every(self._http, "/api/apps", Page[AppView], {})

    def get(self, name: str) -> AppView:
        return self._http.request("GET", f"/api/apps/{quote(name, safe='')}", returns=AppView).value

    def patch(self, name: str, body: ScopePartPatch, *, if_match: str | None = None) -> AppView:
        """Change its description; with ``if_match`` (an entity tag) only while nobody else did."""
        path = f"/api/apps/{quote(name, safe='')}"
        return self._http.request("PATCH", path, body, returns=AppView, headers=_if_match(if_match)).value

    def contents(self, name: str) -> ContentsView:
        """What belongs to it and would go with it."""
        return self._http.request("GET", f"/api/apps/{quote(name, safe='')}/contents", returns=ContentsView).value

    def delete(self, name: str, *, cascade: bool = False) -> None:
        """Refused while something belongs to the app, unless ``cascade``; refused while anything is deployed there."""
        self._http.request("DELETE", f"/api/apps/{quote(name, safe='')}", query=_cascade(cascade))


class Environments:
    """``/api/environments``."""

    def __init__(self, http: RetryingClient) -> None:
        self._http = http

    def create(self, name: str, description: str = "") -> EnvironmentView:
        body = ScopePartCreate(name=name, description=description)
        headers = {IDEMPOTENCY_KEY: uuid4().hex}
        return self._http.request("POST", "/api/environments", body, returns=EnvironmentView, headers=headers).value

    def list(self) -> Iterator[EnvironmentView]:
        return every(self._http, "/api/environments", Page[EnvironmentView], {})

    def get(self, name: str) -> EnvironmentView:
        return self._http.request("GET", f"/api/environments/{quote(name, safe='')}", returns=EnvironmentView).value

    def patch(self, name: str, body: ScopePartPatch, *, if_match: str | None = None) -> EnvironmentView:
        """Change its description; with ``if_match`` (an entity tag) only while nobody else did."""
        path = f"/api/environments/{quote(name, safe='')}"
        return self._http.request("PATCH", path, body, returns=EnvironmentView, headers=_if_match(if_match)).value

    def contents(self, name: str) -> ContentsView:
        """What belongs to it and would go with it."""
        return self._http.request("GET", f"/api/environments/{quote(name, safe='')}/contents", returns=ContentsView).value

    def delete(self, name: str, *, cascade: bool = False) -> None:
        """Refused while something belongs to the environment, unless ``cascade``; refused while anything is deployed there."""
        self._http.request("DELETE", f"/api/environments/{quote(name, safe='')}", query=_cascade(cascade))


def _cascade(cascade: bool) -> dict[str, str | int | None] | None:
    return {"cascade": "true"} if cascade else None


def _if_match(tag: str | None) -> dict[str, str]:
    return {} if tag is None else {"If-Match": tag}


class Nodes:
    """``/api/nodes`` and ``/api/enrolment-tokens``."""

    def __init__(self, http: RetryingClient) -> None:
        self._http = http

    def create(self, name: str, description: str = "", labels: Mapping[str, str] | None = None) -> NodeView:
        body = NodeCreate(name=name, description=description, labels=dict(labels or {}))
        return self._http.request("POST", "/api/nodes", body, returns=NodeView, headers={IDEMPOTENCY_KEY: uuid4().hex}).value

    def list(self) -> Iterator[NodeView]:
        return every(self._http, "/api/nodes", Page[NodeView], {})

    def get(self, name: str) -> NodeView:
        return self._http.request("GET", f"/api/nodes/{quote(name, safe='')}", returns=NodeView).value

    def patch(self, name: str, body: NodePatch, *, if_match: str | None = None) -> NodeView:
        """Change description or labels, or drain it; with ``if_match`` (an entity tag) only while nobody else did."""
        path = f"/api/nodes/{quote(name, safe='')}"
        return self._http.request("PATCH", path, body, returns=NodeView, headers=_if_match(if_match)).value

    def contents(self, name: str) -> ContentsView:
        """What belongs to it and would go with it."""
        return self._http.request("GET", f"/api/nodes/{quote(name, safe='')}/contents", returns=ContentsView).value

    def delete(self, name: str, *, cascade: bool = False) -> None:
        """A revoked node, or one that no agent joined. Refused while something belongs to it, unless ``cascade``."""
        self._http.request("DELETE", f"/api/nodes/{quote(name, safe='')}", query=_cascade(cascade))

    def revoke(self, name: str) -> NodeView:
        """Its keys and tokens are dead from now on."""
        return self._http.request("POST", f"/api/nodes/{quote(name, safe='')}/revoke", returns=NodeView).value

    def enrolment_token(self, node: str, expires_in: int = 3600) -> EnrolmentTokenCreated:
        """A token for one enrolment of the node's agent within ``expires_in`` seconds; shown this once."""
        body = EnrolmentTokenCreate(node=node, expires_in=expires_in)
        return self._http.request("POST", "/api/enrolment-tokens", body, returns=EnrolmentTokenCreated).value

"""Roles, groups and bindings over the API, and questions about access."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from urllib.parse import quote
from uuid import uuid4

from overseer.client.pages import every
from overseer.client.retries import IDEMPOTENCY_KEY, RetryingClient
from overseer.wire.access import (
    BindingActivate,
    BindingCreate,
    BindingView,
    GroupCreate,
    GroupPatch,
    GroupView,
    PrincipalView,
    RoleCreate,
    RolePatch,
    RoleView,
)
from overseer.wire.messages import Page
from overseer.wire.reviews import AccessEntry, AccessExplainRequest, AccessExplanation


class Roles:
    """``/api/roles``."""

    def __init__(self, http: RetryingClient) -> None:
        self._http = http

    def create(self, name: str, permissions: list[str], description: str = "") -> RoleView:
        body = RoleCreate(name=name, permissions=permissions, description=description)
        return self._http.request("POST", "/api/roles", body, returns=RoleView, headers=_once()).value

    def list(self) -> Iterator[RoleView]:
        return every(self._http, "/api/roles", Page[RoleView], {})

    def get(self, role_id: str) -> RoleView:
        return self.tagged(role_id)[0]

    def tagged(self, role_id: str) -> tuple[RoleView, str | None]:
        """The role and its entity tag, for a :meth:`patch` that must not overwrite somebody else's."""
        answer = self._http.request("GET", f"/api/roles/{role_id}", returns=RoleView)
        return answer.value, answer.etag

    def patch(self, role_id: str, body: RolePatch, *, etag: str | None = None) -> RoleView:
        """Change it, and what every binding that uses it gives."""
        headers = {} if etag is None else {"If-Match": etag}
        return self._http.request("PATCH", f"/api/roles/{role_id}", body, returns=RoleView, headers=headers).value

    def delete(self, role_id: str, *, cascade: bool = False) -> None:
        """Refused while bindings use it, unless they are to go with it."""
        query = {"cascade": "true"} if cascade else {}
        self._http.request("DELETE", f"/api/roles/{role_id}", query=query)


class Groups:
    """``/api/groups``."""

    def __init__(self, http: RetryingClient) -> None:
        self._http = http

    def create(self, name: str, description: str = "") -> GroupView:
        body = GroupCreate(name=name, description=description)
        return self._http.request("POST", "/api/groups", body, returns=GroupView, headers=_once()).value

    def list(self) -> Iterator[GroupView]:
        return every(self._http, "/api/groups", Page[GroupView], {})

    def get(self, group_id: str) -> GroupView:
        return self._http.request("GET", f"/api/groups/{group_id}", returns=GroupView).value

    def patch(self, group_id: str, body: GroupPatch) -> GroupView:
        """Rename it or describe it anew."""
        return self._http.request("PATCH", f"/api/groups/{group_id}", body, returns=GroupView).value

    def delete(self, group_id: str) -> None:
        """With its bindings."""
        self._http.request("DELETE", f"/api/groups/{group_id}")

    def members(self, group_id: str) -> Iterator[PrincipalView]:
        return every(self._http, f"/api/groups/{group_id}/members", Page[PrincipalView], {})

    def add(self, group_id: str, principal: str) -> None:
        """Give a user or a service account, by name, all that the group holds."""
        self._http.request("PUT", _member(group_id, principal), repeatable=True)

    def remove(self, group_id: str, principal: str) -> None:
        self._http.request("DELETE", _member(group_id, principal))


class Bindings:
    """``/api/bindings``. A part of the selector is a name, ``*`` (anything) or ``-`` (only nothing set); none has a default."""

    def __init__(self, http: RetryingClient) -> None:
        self._http = http

    def create(
        self,
        principal: str | None,
        role: str,
        *,
        app: str,
        environment: str,
        node: str,
        name: str,
        group: str | None = None,
        expires_at: datetime | None = None,
        active_seconds: int | None = None,
    ) -> BindingView:
        """For a principal or for a group. With ``active_seconds`` it is for an emergency and lives so long once activated."""
        body = BindingCreate(
            principal=principal,
            group=group,
            role=role,
            app=app,
            environment=environment,
            node=node,
            name=name,
            expires_at=expires_at,
            active_seconds=active_seconds,
        )
        return self._http.request("POST", "/api/bindings", body, returns=BindingView, headers=_once()).value

    def list(
        self,
        principal: str | None = None,
        *,
        group: str | None = None,
        role: str | None = None,
        emergency: bool | None = None,
    ) -> Iterator[BindingView]:
        word = None if emergency is None else str(emergency).lower()
        query = {"principal": principal, "group": group, "role": role, "emergency": word}
        return every(self._http, "/api/bindings", Page[BindingView], query)

    def get(self, binding_id: str) -> BindingView:
        return self._http.request("GET", f"/api/bindings/{binding_id}", returns=BindingView).value

    def activate(self, binding_id: str, reason: str) -> BindingView:
        """Wake an emergency binding of one's own; it raises an alarm."""
        body = BindingActivate(reason=reason)
        return self._http.request("POST", f"/api/bindings/{binding_id}/activate", body, returns=BindingView).value

    def deactivate(self, binding_id: str) -> BindingView:
        """End the emergency before its time."""
        return self._http.request("POST", f"/api/bindings/{binding_id}/deactivate", returns=BindingView).value

    def delete(self, binding_id: str) -> None:
        self._http.request("DELETE", f"/api/bindings/{binding_id}")


class Access:
    """``/api/access``."""

    def __init__(self, http: RetryingClient) -> None:
        self._http = http

    def explain(self, request: AccessExplainRequest) -> AccessExplanation:
        """Whether a principal may do something, and why."""
        return self._http.request("POST", "/api/access/explain", request, returns=AccessExplanation, repeatable=True).value

    def review(self, *, limit: int = 5000, **filters: str | None) -> Iterator[AccessEntry]:
        """Who may do what; filters: permission, principal, secret (an id), app, environment, node, name."""
        return every(self._http, "/api/access/review", Page[AccessEntry], {**filters, "limit": limit})


def _member(group_id: str, principal: str) -> str:
    return f"/api/groups/{group_id}/members/{quote(principal, safe='')}"


def _once() -> dict[str, str]:
    return {IDEMPOTENCY_KEY: uuid4().hex}

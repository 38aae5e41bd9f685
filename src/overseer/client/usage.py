"""Where secrets are used, drift, and the plan after a compromise, over the API."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from overseer.client.pages import every
from overseer.client.retries import RetryingClient
from overseer.wire.messages import Page
from overseer.wire.usage import CompromisedPlan, CompromisedRequest, DriftView, UsageView


class Usage:
    """``/api/secrets/{id}/usage``, ``/api/usage``, ``/api/drift`` and ``/api/compromised``."""

    def __init__(self, http: RetryingClient) -> None:
        self._http = http

    def of(self, secret_id: str) -> UsageView:
        """What runs with a secret now."""
        return self._http.request("GET", f"/api/secrets/{secret_id}/usage", returns=UsageView).value

    def unused(self) -> Iterator[UsageView]:
        """Secrets that nothing that runs, or is about to, refers to."""
        return every(self._http, "/api/usage", Page[UsageView], {"filter": "unused"})

    def stale(self) -> Iterator[UsageView]:
        """Secrets of which something runs with another version than the active one."""
        return every(self._http, "/api/usage", Page[UsageView], {"filter": "stale"})

    def drift(
        self, *, app: str | None = None, environment: str | None = None, node: str | None = None
    ) -> Iterator[DriftView]:
        """What is not as it was deployed."""
        return every(self._http, "/api/drift", Page[DriftView], {"app": app, "environment": environment, "node": node})

    def compromised(
        self, *, secrets: Sequence[str] | None = None, node: str | None = None, user: str | None = None
    ) -> CompromisedPlan:
        """What to rotate and in which order: for named secrets (ids or names), a node, or a user or service account."""
        body = CompromisedRequest(secrets=None if secrets is None else [*secrets], node=node, user=user)
        return self._http.request("POST", "/api/compromised", body, returns=CompromisedPlan, repeatable=True).value

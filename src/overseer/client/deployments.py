"""Bundles and deployments over the API."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from urllib.parse import quote
from uuid import uuid4

from overseer.client.pages import every
from overseer.client.retries import IDEMPOTENCY_KEY, RetryingClient
from overseer.core.errors import NotReady
from overseer.wire.deployments import BundleCreate, BundleView, DeploymentCreate, DeploymentView
from overseer.wire.messages import Page

FINAL_STATES = frozenset({"succeeded", "failed", "superseded"})


class Deployments:
    """``/api/apps/{name}/bundles`` and ``/api/deployments``."""

    def __init__(self, http: RetryingClient) -> None:
        self._http = http

    def create_bundle(self, app: str, bundle: BundleCreate) -> BundleView:
        """Store a bundle; an equal one of the same app keeps its digest."""
        path, headers = f"/api/apps/{quote(app, safe='')}/bundles", {IDEMPOTENCY_KEY: uuid4().hex}
        return self._http.request("POST", path, bundle, returns=BundleView, headers=headers).value

    def bundles(self, app: str) -> Iterator[BundleView]:
        return every(self._http, f"/api/apps/{quote(app, safe='')}/bundles", Page[BundleView], {})

    def create(self, deployment: DeploymentCreate) -> DeploymentView:
        """Ask for a deployment; the node's agent executes it."""
        headers = {IDEMPOTENCY_KEY: uuid4().hex}
        return self._http.request("POST", "/api/deployments", deployment, returns=DeploymentView, headers=headers).value

    def list(
        self, *, app: str | None = None, environment: str | None = None, node: str | None = None, state: str | None = None
    ) -> Iterator[DeploymentView]:
        query = {"app": app, "environment": environment, "node": node, "state": state}
        return every(self._http, "/api/deployments", Page[DeploymentView], query)

    def get(self, deployment_id: str) -> DeploymentView:
        return self._http.request("GET", f"/api/deployments/{deployment_id}", returns=DeploymentView).value

    def wait(
        self,
        deployment_id: str,
        timeout: float,
        *,
        seen: Callable[[DeploymentView], None] | None = None,
        pause: float = 0.5,
        sleep: Callable[[float], None] = time.sleep,
    ) -> DeploymentView:
        """The deployment once it is over; ``seen`` is told each state it passes. :class:`NotReady` after ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        state = ""
        while True:
            view = self.get(deployment_id)
            if view.state != state:
                state = view.state
                if seen is not None:
                    seen(view)
            if state in FINAL_STATES:
                return view
            if time.monotonic() >= deadline:
                raise NotReady(
                    f"deployment {deployment_id} is still {state} after {timeout:.0f} s: "
                    f"look again with 'overseer deployment show {deployment_id}'"
                )
            sleep(pause)

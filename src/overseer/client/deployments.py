"""Bundles, plans and deployments over the API."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from urllib.parse import quote
from uuid import uuid4

import msgspec

from overseer.client.events import read_events
from overseer.client.pages import every
from overseer.client.retries import IDEMPOTENCY_KEY, RetryingClient
from overseer.core.durations import span
from overseer.core.errors import ConfigurationProblem, NotReady, RateLimited
from overseer.wire.deployments import (
    BundleCreate,
    BundleView,
    DeploymentCreate,
    DeploymentEvent,
    DeploymentGroupView,
    DeploymentRollback,
    DeploymentView,
    VerificationView,
)
from overseer.wire.messages import Page
from overseer.wire.plans import PlanCreate, PlanView

FINAL_STATES = frozenset({"succeeded", "failed", "superseded"})
#: The server says something at least every 15 seconds.
SILENCE_SECONDS = 45.0


class Deployments:
    """``/api/apps/{name}/bundles``, ``/api/plans`` and ``/api/deployments``."""

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

    def plan(self, plan: PlanCreate) -> PlanView:
        """What a deployment would change; nothing is changed by asking."""
        return self._http.request("POST", "/api/plans", plan, returns=PlanView, repeatable=True).value

    def group(self, group_id: str) -> DeploymentGroupView:
        """Deployments that were ordered together."""
        return self._http.request("GET", f"/api/deployment-groups/{group_id}", returns=DeploymentGroupView).value

    def roll_back(self, deployment_id: str, *, wait_timeout: int | None = None) -> DeploymentView:
        """Ask for the bundle and the versions of an earlier deployment again."""
        path, headers = f"/api/deployments/{deployment_id}/rollback", {IDEMPOTENCY_KEY: uuid4().hex}
        body = DeploymentRollback(wait_timeout=wait_timeout)
        return self._http.request("POST", path, body, returns=DeploymentView, headers=headers).value

    def verify(self, deployment_id: str) -> VerificationView:
        """What containers hold against what they should hold, by the agent's last report."""
        return self._http.request("GET", f"/api/deployments/{deployment_id}/verification", returns=VerificationView).value

    def wait(
        self,
        deployment_id: str,
        timeout: float,
        *,
        seen: Callable[[DeploymentEvent], None] | None = None,
        idle: Callable[[], None] | None = None,
        pause: float = 0.5,
        sleep: Callable[[float], None] = time.sleep,
    ) -> DeploymentView:
        """The deployment once it is over; ``seen`` is told what it does as it does it, ``idle`` is called while nothing happens.

        Raises :class:`NotReady` after ``timeout`` seconds.
        """
        following = _Following(self._http, f"/api/deployments/{deployment_id}/events", timeout, seen, idle)
        while True:
            following.follow()
            view = self.get(deployment_id)
            following.catch_up(view)
            if view.state in FINAL_STATES:
                return view
            following.check(f"deployment {deployment_id} is still {view.state}", f"show {deployment_id}")
            sleep(pause)

    def wait_for_group(
        self,
        group_id: str,
        timeout: float,
        *,
        seen: Callable[[DeploymentEvent], None] | None = None,
        idle: Callable[[], None] | None = None,
        pause: float = 0.5,
        sleep: Callable[[float], None] = time.sleep,
    ) -> DeploymentGroupView:
        """As :meth:`wait`, for all deployments of a group."""
        following = _Following(self._http, f"/api/deployment-groups/{group_id}/events", timeout, seen, idle)
        while True:
            following.follow()
            group = self.group(group_id)
            for view in group.deployments:
                following.catch_up(view)
            if all(view.state in FINAL_STATES for view in group.deployments):
                return group
            following.check("deployments of the group are still open", "list")
            sleep(pause)


class _Following:
    """Events of one stream, told once each; where the stream cannot be had, states are told when they are asked for."""

    def __init__(
        self,
        http: RetryingClient,
        path: str,
        timeout: float,
        seen: Callable[[DeploymentEvent], None] | None,
        idle: Callable[[], None] | None,
    ) -> None:
        self._http, self._path, self._seen, self._idle = http, path, seen, idle
        self._timeout, self._deadline = timeout, time.monotonic() + timeout
        self._last = ""
        self._states: dict[str, str] = {}

    def follow(self) -> None:
        """Until the stream ends, for whatever reason, or the time is up."""
        headers = {"Last-Event-ID": self._last} if self._last else {}
        silence = min(SILENCE_SECONDS, max(0.001, self._deadline - time.monotonic()))
        try:
            with self._http.client.lines(self._path, headers=headers, silence=silence) as lines:
                for event in read_events(lines):
                    if event.data:
                        self._tell(msgspec.json.decode(event.data, type=DeploymentEvent))
                        self._last = event.id
                    elif self._idle is not None:
                        self._idle()
                    if time.monotonic() >= self._deadline:
                        return
        except (NotReady, RateLimited, ConfigurationProblem, msgspec.MsgspecError):
            return  # the caller asks for the state, and is told there what is wrong

    def catch_up(self, view: DeploymentView) -> None:
        """Tell a state that no event told."""
        if self._states.get(view.id) != view.state:
            self._tell(
                DeploymentEvent(
                    deployment=view.id, node=view.node, state=view.state, error=view.error, finished_at=view.finished_at
                )
            )

    def check(self, what: str, command: str) -> None:
        """:class:`NotReady` where the time is up."""
        if self._idle is not None:
            self._idle()
        if time.monotonic() >= self._deadline:
            raise NotReady(f"{what} after {span(self._timeout)}: look again with 'overseer deployment {command}'")

    def _tell(self, event: DeploymentEvent) -> None:
        self._states[event.deployment] = event.state
        if self._seen is not None:
            self._seen(event)

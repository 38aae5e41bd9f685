"""Rollouts over the API: how a new version of a secret gets to the containers that use it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from overseer.client.pages import every
from overseer.client.retries import RetryingClient
from overseer.core.durations import span
from overseer.core.errors import NotReady
from overseer.wire.messages import Page
from overseer.wire.rollouts import RolloutView


class Rollouts:
    """``/api/rollouts``. A rollout starts when a version of a secret is activated that containers use."""

    def __init__(self, http: RetryingClient) -> None:
        self._http = http

    def list(self, *, state: str | None = None, secret_id: str | None = None) -> Iterator[RolloutView]:
        """Newest first; ``state`` is running, succeeded or withdrawn."""
        return every(self._http, "/api/rollouts", Page[RolloutView], {"state": state, "secret": secret_id})

    def get(self, rollout_id: str) -> RolloutView:
        return self._http.request("GET", f"/api/rollouts/{rollout_id}", returns=RolloutView).value

    def withdraw(self, rollout_id: str) -> RolloutView:
        """Bring the previous version back. :class:`Conflict` where the rollout has ended."""
        return self._http.request("POST", f"/api/rollouts/{rollout_id}/withdraw", returns=RolloutView).value

    def wait(
        self,
        rollout_id: str,
        timeout: float,
        *,
        seen: Callable[[RolloutView], None] | None = None,
        pause: float = 0.5,
        sleep: Callable[[float], None] = time.sleep,
    ) -> RolloutView:
        """The rollout once it is over; ``seen`` is told each change on its way. :class:`NotReady` after ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        last: list[tuple[str, str]] | None = None
        while True:
            view = self.get(rollout_id)
            states = [("", view.state), *((node.node, node.state) for node in view.nodes)]
            if seen is not None and states != last:
                seen(view)
            last = states
            if view.state != "running":
                return view
            if time.monotonic() >= deadline:
                raise NotReady(
                    f"the rollout is still running after {span(timeout)}: "
                    f"look again with 'overseer rollout show {rollout_id}'"
                )
            sleep(pause)

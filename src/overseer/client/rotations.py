"""Rotations over the API: when secrets are due, what changes their credential at its source, and runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from overseer.client.pages import every
from overseer.client.retries import RetryingClient
from overseer.core.durations import span
from overseer.core.errors import NotReady
from overseer.wire.messages import Page
from overseer.wire.rotations import RotationRunView, RotationSet, RotationView

_ENDED = frozenset({"succeeded", "reverted", "failed"})


class Rotations:
    """``/api/rotations`` and ``/api/secrets/{id}/rotation``. ``secret_id`` is the id of a secret."""

    def __init__(self, http: RetryingClient) -> None:
        self._http = http

    def list(self) -> Iterator[RotationView]:
        """Secrets that have a schedule or a rotator."""
        return every(self._http, "/api/rotations", Page[RotationView], {})

    def get(self, secret_id: str) -> RotationView:
        return self._http.request("GET", f"/api/secrets/{secret_id}/rotation", returns=RotationView).value

    def set(
        self,
        secret_id: str,
        *,
        policy: dict[str, Any] | msgspec.UnsetType | None = msgspec.UNSET,
        rotator: dict[str, Any] | msgspec.UnsetType | None = msgspec.UNSET,
        paused: bool | msgspec.UnsetType = msgspec.UNSET,
    ) -> RotationView:
        """What is not given stays; None takes the schedule or the rotator away."""
        body = RotationSet(policy=policy, rotator=rotator, paused=paused)
        return self._http.request("PATCH", f"/api/secrets/{secret_id}/rotation", body, returns=RotationView).value

    def run(self, secret_id: str) -> RotationRunView:
        """Rotate now. :class:`Conflict` where a rotation is on its way."""
        return self._http.request("POST", f"/api/secrets/{secret_id}/rotation/runs", returns=RotationRunView).value

    def runs(self, secret_id: str) -> Iterator[RotationRunView]:
        """Newest first."""
        return every(self._http, f"/api/secrets/{secret_id}/rotation/runs", Page[RotationRunView], {})

    def wait(
        self,
        secret_id: str,
        timeout: float,
        *,
        seen: Callable[[RotationRunView], None] | None = None,
        pause: float = 0.5,
    ) -> RotationRunView:
        """The newest run once it has ended; ``seen`` is told each step. :class:`NotReady` after ``timeout`` seconds."""
        deadline, last = time.monotonic() + timeout, ""
        while True:
            run = next(self.runs(secret_id))
            if seen is not None and run.state != last:
                seen(run)
            last = run.state
            if run.state in _ENDED:
                return run
            if time.monotonic() >= deadline:
                raise NotReady(f"the rotation is at '{run.state}' after {span(timeout)}; it goes on by itself")
            time.sleep(pause)

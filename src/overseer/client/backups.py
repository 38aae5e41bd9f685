"""Backups over the API: ask the server for one, see what became of it. Files are verified and restored by the command line."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from uuid import uuid4

from overseer.client.pages import every
from overseer.client.retries import IDEMPOTENCY_KEY, RetryingClient
from overseer.core.durations import span
from overseer.core.errors import NotReady
from overseer.wire.backups import BackupCreate, BackupTargetView, BackupView
from overseer.wire.messages import Page


class Backups:
    """``/api/backups``."""

    def __init__(self, http: RetryingClient) -> None:
        self._http = http

    def create(self, target: str) -> BackupView:
        """Ask for a backup to a target of the server's configuration. :class:`Conflict` while one is under way."""
        headers = {IDEMPOTENCY_KEY: str(uuid4())}
        return self._http.request("POST", "/api/backups", BackupCreate(target=target), returns=BackupView, headers=headers).value

    def list(self) -> Iterator[BackupView]:
        """Newest first."""
        return every(self._http, "/api/backups", Page[BackupView], {})

    def targets(self) -> Sequence[BackupTargetView]:
        """Where backups go, as the configuration of the server says."""
        return self._http.request("GET", "/api/backup-targets", returns=Page[BackupTargetView]).value.items

    def get(self, backup_id: str) -> BackupView:
        return self._http.request("GET", f"/api/backups/{backup_id}", returns=BackupView).value

    def wait(
        self, backup_id: str, timeout: float, *, pause: float = 0.5, sleep: Callable[[float], None] = time.sleep
    ) -> BackupView:
        """The backup once it has ended, well or not. :class:`NotReady` after ``timeout`` seconds: the server goes on with it."""
        deadline = time.monotonic() + timeout
        while True:
            view = self.get(backup_id)
            if view.state in ("succeeded", "failed"):
                return view
            if time.monotonic() >= deadline:
                raise NotReady(f"the backup is {view.state} after {span(timeout)}: look again with 'overseer backup list'")
            sleep(pause)

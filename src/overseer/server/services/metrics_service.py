"""The metrics, for who may read them: ``off`` nobody; ``loopback`` who asks from this machine, others with a token; ``token`` who
holds ``metrics:read``; ``open`` everybody who reaches the server.

Reading with a token passes the gate and leaves a row; what is open leaves none, as a probe of the health does. They answer while
the server is sealed and while the database is down: then without what only the database knows.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta
from ipaddress import ip_address
from typing import Final

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from overseer import __version__
from overseer.core.access import Resource
from overseer.core.audit_events import AuditAction
from overseer.core.errors import OverseerError, Unavailable
from overseer.core.permissions import Permission
from overseer.core.principals import Caller
from overseer.crypto.keyring import Purpose
from overseer.server.measures import exposition
from overseer.server.services.gate import Gate, peer_address
from overseer.server.storage import metric_rows
from overseer.server.storage.backup_rows import BackupState, backup_state

FRESH_SECONDS: Final = 5.0
ANSWER_SECONDS: Final = 3.0
ONLINE: Final = timedelta(minutes=2)
SAFE_WRAPS: Final = 2**32
"""NIST SP 800-38D, section 8.3: the most encryptions under one AES-256-GCM key with random nonces."""
_STATES: Final = {
    "deployment": ("overseer_deployments", "Deployments by state, past ones too"),
    "rollout": ("overseer_rollouts", "Rollouts by state, past ones too"),
    "node": ("overseer_nodes", "Nodes by state"),
    "rotation": ("overseer_rotation_runs", "Rotations of secrets by state, past ones too"),
    "rotation_schedule": ("overseer_rotation_schedules", "Secrets with a schedule: due later, overdue or paused"),
}


class MetricsService:
    """``mode`` as above. The database is asked at most every five seconds by a process."""

    def __init__(self, gate: Gate, mode: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._gate = gate
        self._mode = mode
        self._clock = clock
        self._asking = asyncio.Lock()
        self._asked_at = float("-inf")
        self._families: list[Metric] = []

    async def read(self, caller: Caller, *, forwarded: bool = False) -> bytes:
        """Prometheus' text. ``forwarded``: somebody else than the peer may have asked, so loopback means nothing.

        Raises :class:`Denied`, :class:`Unauthenticated`, and :class:`Unavailable` where they are off.
        """
        if self._mode == "off":
            raise Unavailable("there is nothing at this path")
        if not (self._mode == "open" or (self._mode == "loopback" and not forwarded and _is_loopback(caller.peer))):
            async with self._gate.enter(caller, AuditAction.METRICS_READ) as entry:
                entry.authorise(Permission.METRICS_READ, Resource("metrics"))
        return exposition(await self._of_the_instance())

    async def _of_the_instance(self) -> list[Metric]:
        async with self._asking:
            if self._clock() - self._asked_at > FRESH_SECONDS:
                try:
                    async with asyncio.timeout(ANSWER_SECONDS):
                        self._families = await self._ask()
                except (OverseerError, TimeoutError):
                    self._families = [GaugeMetricFamily("overseer_database_up", "1 where the database answers", value=0)]
                self._asked_at = self._clock()
            return self._families

    async def _ask(self) -> list[Metric]:
        async with self._gate.own_work() as (session, _):
            found = await metric_rows.numbers(session, ONLINE, Purpose.KEK)
            states = await metric_rows.states(session)
            backups = await backup_state(session)
        info = GaugeMetricFamily("overseer_info", "The version, as a label", labels=["version"])
        info.add_metric([__version__], 1)
        families: list[Metric] = [info, GaugeMetricFamily("overseer_database_up", "1 where the database answers", value=1)]
        families += _backups(backups)
        if found is not None:
            families += _numbers(found)
        for kind, (name, meaning) in _STATES.items():
            family = GaugeMetricFamily(name, meaning, labels=["state"])
            for one, state, number in states:
                if one == kind:
                    family.add_metric([state], number)
            families.append(family)
        return families


def _backups(found: BackupState) -> list[Metric]:
    at = found.succeeded_at.timestamp() if found.succeeded_at else 0.0
    failed = "Backups that failed, as long as their rows are kept"
    return [
        GaugeMetricFamily("overseer_backup_last_success_timestamp_seconds", "When the last backup was made, 0 never", value=at),
        GaugeMetricFamily("overseer_backup_size_bytes", "Bytes of the last backup", value=found.size or 0),
        GaugeMetricFamily("overseer_backup_failures", failed, value=found.failures),
        GaugeMetricFamily("overseer_backup_failing", "1 where the last backup failed", value=found.last_state == "failed"),
    ]


def _numbers(found: metric_rows.Numbers) -> list[Metric]:
    left = max(0, SAFE_WRAPS - found.wraps_reserved)
    return [
        GaugeMetricFamily("overseer_secrets", "Secrets", value=found.secrets),
        GaugeMetricFamily("overseer_agents_online", "Agents that spoke within two minutes", value=found.agents_online),
        CounterMetricFamily("overseer_audit_rows", "Rows written to the audit log since it was made", value=found.audit_rows),
        GaugeMetricFamily("overseer_key_term", "Number of the newest key-encryption key", value=found.term),
        GaugeMetricFamily("overseer_key_age_seconds", "Age of the newest key-encryption key", value=found.age),
        GaugeMetricFamily("overseer_key_wraps_left", "Encryptions that the newest key has left, of 2^32", value=left),
    ]


def _is_loopback(peer: str) -> bool:
    address = peer_address(peer)
    return bool(address) and ip_address(address).is_loopback

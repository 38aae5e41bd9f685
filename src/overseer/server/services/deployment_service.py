"""Deployments as people and CI make and see them: one service of two halves, making and reading, behind one gate."""

from __future__ import annotations

from overseer.server.services.bundle_service import BundleService
from overseer.server.services.deployment_making import DeploymentMaking
from overseer.server.services.deployment_reading import DeploymentReading
from overseer.server.services.gate import Gate
from overseer.server.services.idempotency import IdempotencyKeeper
from overseer.server.services.source_refresh import SourceRefresh
from overseer.server.services.value_opener import ValueOpener
from overseer.server.services.work_signal import WorkSignal


class DeploymentService(DeploymentMaking, DeploymentReading):
    """Every method takes the caller first and passes the gate."""

    def __init__(
        self,
        gate: Gate,
        bundles: BundleService,
        opener: ValueOpener,
        idempotency: IdempotencyKeeper,
        signal: WorkSignal,
        sources: SourceRefresh,
    ) -> None:
        DeploymentMaking.__init__(self, gate, bundles, opener, idempotency, signal, sources)
        DeploymentReading.__init__(self, gate)

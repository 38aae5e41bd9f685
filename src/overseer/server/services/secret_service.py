"""Secrets: one service of two halves, reading and writing, behind one gate."""

from __future__ import annotations

from overseer.server.services.gate import Gate
from overseer.server.services.idempotency import IdempotencyKeeper
from overseer.server.services.key_service import KeyService
from overseer.server.services.reveal_batches import RevealBatches
from overseer.server.services.rollout_driver import RolloutDriver
from overseer.server.services.secret_batches import SecretBatches
from overseer.server.services.secret_moves import SecretMoves
from overseer.server.services.secret_reading import SecretReading
from overseer.server.services.source_refresh import SourceRefresh
from overseer.server.services.value_opener import ValueOpener


class SecretService(SecretReading, SecretBatches, SecretMoves):
    """Every method takes the caller first and passes the gate."""

    def __init__(
        self,
        gate: Gate,
        keys: KeyService,
        idempotency: IdempotencyKeeper,
        opener: ValueOpener,
        rollouts: RolloutDriver,
        batches: RevealBatches,
        sources: SourceRefresh,
    ) -> None:
        SecretReading.__init__(self, gate, keys, opener, batches, sources)
        SecretBatches.__init__(self, gate, keys, idempotency, rollouts)

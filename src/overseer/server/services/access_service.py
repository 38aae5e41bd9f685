"""Questions about access: one service of two halves, the single question and the list."""

from __future__ import annotations

from overseer.server.services.access_explaining import AccessExplaining
from overseer.server.services.access_reviewing import AccessReviewing
from overseer.server.services.gate import Gate


class AccessService(AccessExplaining, AccessReviewing):
    """Every method takes the caller first and passes the gate."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

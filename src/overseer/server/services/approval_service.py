"""Approvals: the policies, and the requests of one person that others decide about."""

from __future__ import annotations

from overseer.server.services.approval_policies import ApprovalPolicies
from overseer.server.services.approval_requests import ApprovalRequests
from overseer.server.services.gate import Gate
from overseer.server.services.idempotency import IdempotencyKeeper


class ApprovalService(ApprovalPolicies, ApprovalRequests):
    """Both, over one gate."""

    def __init__(self, gate: Gate, idempotency: IdempotencyKeeper) -> None:
        ApprovalPolicies.__init__(self, gate, idempotency)
        ApprovalRequests.__init__(self, gate, idempotency)

"""Approvals over the API: policies, requests, decisions."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

from overseer.client.pages import every
from overseer.client.retries import IDEMPOTENCY_KEY, RetryingClient
from overseer.wire.approvals import (
    ApprovalCreate,
    ApprovalDecision,
    ApprovalPolicyCreate,
    ApprovalPolicyPatch,
    ApprovalPolicyView,
    ApprovalView,
)
from overseer.wire.messages import Page


class ApprovalPolicies:
    """``/api/approval-policies``."""

    def __init__(self, http: RetryingClient) -> None:
        self._http = http

    def create(self, body: ApprovalPolicyCreate) -> ApprovalPolicyView:
        headers = {IDEMPOTENCY_KEY: uuid4().hex}
        return self._http.request("POST", "/api/approval-policies", body, returns=ApprovalPolicyView, headers=headers).value

    def list(self) -> Iterator[ApprovalPolicyView]:
        return every(self._http, "/api/approval-policies", Page[ApprovalPolicyView], {})

    def get(self, policy_id: str) -> ApprovalPolicyView:
        return self.tagged(policy_id)[0]

    def tagged(self, policy_id: str) -> tuple[ApprovalPolicyView, str | None]:
        """The policy and its entity tag, for a change that must not overwrite somebody else's."""
        answer = self._http.request("GET", f"/api/approval-policies/{policy_id}", returns=ApprovalPolicyView)
        return answer.value, answer.etag

    def patch(self, policy_id: str, body: ApprovalPolicyPatch, *, etag: str | None = None) -> ApprovalPolicyView:
        headers = {} if etag is None else {"If-Match": etag}
        path = f"/api/approval-policies/{policy_id}"
        return self._http.request("PATCH", path, body, returns=ApprovalPolicyView, headers=headers).value

    def delete(self, policy_id: str) -> None:
        """What it guarded waits for nobody any more."""
        self._http.request("DELETE", f"/api/approval-policies/{policy_id}")


class Approvals:
    """``/api/approvals``."""

    def __init__(self, http: RetryingClient) -> None:
        self._http = http

    def ask(self, action: str, reason: str, **what: Any) -> ApprovalView:
        """Ask for one action; ``what`` are the fields of :class:`ApprovalCreate` that it has."""
        body = ApprovalCreate(action=action, reason=reason, **what)
        headers = {IDEMPOTENCY_KEY: uuid4().hex}
        return self._http.request("POST", "/api/approvals", body, returns=ApprovalView, headers=headers).value

    def list(self, *, view: str = "all", state: str | None = None, action: str | None = None) -> Iterator[ApprovalView]:
        """Newest first; ``view`` is all, mine, inbox or decided."""
        return every(self._http, "/api/approvals", Page[ApprovalView], {"view": view, "state": state, "action": action})

    def get(self, approval_id: str) -> ApprovalView:
        return self._http.request("GET", f"/api/approvals/{approval_id}", returns=ApprovalView).value

    def decide(self, approval_id: str, decision: str, comment: str = "") -> ApprovalView:
        """``approve`` or ``refuse``."""
        body = ApprovalDecision(decision=decision, comment=comment)
        return self._http.request("POST", f"/api/approvals/{approval_id}/decision", body, returns=ApprovalView).value

    def withdraw(self, approval_id: str) -> ApprovalView:
        return self._http.request("POST", f"/api/approvals/{approval_id}/withdraw", returns=ApprovalView).value

    def wait(self, approval_id: str, *, every_seconds: float = 2.0) -> ApprovalView:
        """The request once it is decided, expired or withdrawn; it asks now and then."""
        while (view := self.get(approval_id)).state == "pending":
            time.sleep(every_seconds)
        return view

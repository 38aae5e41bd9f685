"""Requests for approval as people see them: exactly what is asked, what became of it, whether it still holds. Never a value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from uuid import UUID

from overseer.core.approvals import Operation
from overseer.server.storage.approval_rows import ApprovalRow, DecisionRow
from overseer.server.storage.database import Session
from overseer.server.storage.plan_rows import plan_by_digest
from overseer.server.storage.secret_rows import SecretRow, secret_by_id
from overseer.wire.approvals import ApprovalView, DecisionView
from overseer.wire.secrets import ScopeView

OPEN = frozenset({"pending", "approved"})


async def is_stale(session: Session, row: ApprovalRow, secrets: Mapping[UUID, SecretRow] | None = None) -> bool:
    """Whether the secret is another one now than when it was asked for: its versions, its place, its name; or it is gone.

    A plan is compared when it is carried out, and what a taken-down or repeated deployment was, then as well.
    """
    asked = row.asked
    if row.state not in OPEN or asked.secret is None:
        return False
    secret = await secret_by_id(session, asked.secret) if secrets is None else secrets.get(asked.secret)
    if secret is None:
        return True
    latest = None if asked.latest_version is None else secret.latest_version
    now = replace(
        asked, name=secret.name, scope=secret.scope, active_version=secret.active_version, latest_version=latest
    )
    return now.digest != row.digest


async def plan_details(session: Session, row: ApprovalRow) -> list[str]:
    """A plan in lines: versions and effects."""
    if row.asked.operation is not Operation.DEPLOY or row.asked.plan is None:
        return []
    plan = await plan_by_digest(session, row.asked.plan)
    if plan is None:
        return ["this plan is not known any more"]
    lines = [f"bundle {plan['bundle']}"]
    lines += [f"{reference}: version {one['version']}" for reference, one in sorted(plan["references"].items())]
    for name, one in sorted(plan["effects"].items()):
        lines.append(f"service {name}: {one['effect']}" + ("" if one["certain"] else " (perhaps)"))
    return lines


def approval_view(
    row: ApprovalRow, decisions: Sequence[DecisionRow], *, stale: bool, details: list[str], may_decide: bool, own: bool
) -> ApprovalView:
    """A request for whoever may see it."""
    asked, names = row.asked, row.names
    target = names.get("target")
    return ApprovalView(
        id=str(row.id),
        action=asked.operation.value,
        state=row.state,
        stale=stale,
        requester=row.principal,
        requester_kind=row.principal_kind,
        reason=row.reason,
        name=asked.name,
        scope=_scope(names["scope"]),
        secret_id=None if asked.secret is None else str(asked.secret),
        version=asked.version,
        target=None if target is None else _scope(target),
        target_name=asked.target_name,
        plan=asked.plan,
        deployment_id=None if asked.deployment is None else str(asked.deployment),
        details=details,
        approvers=row.approvers,
        approvals=sum(one.verdict == "approve" for one in decisions),
        decisions=[
            DecisionView(principal=one.principal, decision=one.verdict, comment=one.comment, at=one.decided_at)
            for one in decisions
        ],
        waits_until=row.waits_until,
        usable_until=row.usable_until,
        created_at=row.created_at,
        ended_at=row.ended_at,
        may_decide=may_decide,
        own=own,
    )


def _scope(names: Sequence[str | None]) -> ScopeView:
    return ScopeView(app=names[0], environment=names[1], node=names[2])

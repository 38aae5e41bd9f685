"""What waits for a second person, at the place where it would be done: refused, or let through with an approval that is used up.

Called inside the gate's transaction, after the decision about the caller and under the lock of what is to change. Guarantees: an
approval is found by the digest of exactly what is about to be done by exactly this principal; a row lock makes it good for one
use on all replicas together; it is used up by the transaction of the action, so what fails gives it back; who approved has to be
somebody who could still approve it. A refusal is ``approval_required``, one row, and says how to ask.

An emergency binding that its holder has activated (alarm, reason, end of its own) takes the place of an approval for what it
covers, and nothing else; the row ``approval:use`` has the code ``break_glass`` then. One that they made for themselves does not:
a second person has to stand behind that, too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final
from uuid import UUID

from overseer.core.access import Allowed, Resource, decide
from overseer.core.approvals import ARRIVAL, GUARDS, Asked, Guarded, GuardedAction, Operation, Requirement, requirement
from overseer.core.audit_events import AuditAction
from overseer.core.errors import ApprovalRequired, Problem
from overseer.core.permissions import Permission
from overseer.core.principals import PrincipalKind
from overseer.core.scopes import Scope
from overseer.server.services.gate import Entry
from overseer.server.storage.approval_policy_rows import guarding
from overseer.server.storage.approval_rows import (
    ApprovalRow,
    decisions_of,
    hands_behind,
    made_by_others,
    open_approvals,
    take_approval,
    usable_approvals,
    use_approval,
)
from overseer.server.storage.database import Session
from overseer.server.storage.principal_rows import all_bindings, subjects_of
from overseer.server.storage.secret_rows import SecretRow

CODE: Final = "approval_required"
BREAK_GLASS: Final = "break_glass"
#: Secrets that are looked at before others have their turn: fifty policies cost a millisecond for five of them.
_AT_ONCE: Final = 100
SECRET_ACTIONS: Final = frozenset({GuardedAction.ACTIVATE, GuardedAction.DELETE, GuardedAction.REVEAL})


def secret_place(operation: Operation, row: SecretRow) -> Guarded:
    """Where an operation on a secret that exists touches the store."""
    return Guarded(GUARDS[operation], row.resource(), row.labels)


def new_place(resource: Resource, labels: Mapping[str, str] | None) -> Guarded:
    """Where a secret is about to come to live; None: with labels that nobody has named yet."""
    return Guarded(ARRIVAL, resource, labels)


def deployment_place(name: str, scope: Scope[UUID], names: Scope[str]) -> Guarded:
    """Where an app is about to be deployed or taken down; labels speak of secrets alone."""
    return Guarded(frozenset({GuardedAction.DEPLOY}), Resource("deployment", name, scope, scope_names=names), {})


def reveal_of(entry: Entry, row: SecretRow, version: int) -> Asked:
    """To see one version of a secret."""
    return _of_secret(entry, Operation.REVEAL, row, version=version)


def activation_of(entry: Entry, row: SecretRow, version: int) -> Asked:
    """To make a version the active one; where it is yet to be made, exactly the next one."""
    latest = row.latest_version if version > row.latest_version else None
    return replace(_of_secret(entry, Operation.ACTIVATE, row, version=version), latest_version=latest)


def deletion_of(entry: Entry, row: SecretRow) -> Asked:
    """To delete a secret with its history."""
    return _of_secret(entry, Operation.DELETE, row)


def move_of(entry: Entry, row: SecretRow, scope: Scope[UUID], name: str) -> Asked:
    """To give a secret another place."""
    return replace(_of_secret(entry, Operation.MOVE, row), target=scope, target_name=name)


def creation_of(entry: Entry, scope: Scope[UUID], name: str) -> Asked:
    """To make a secret of that name there."""
    return Asked(entry.actor.id, Operation.CREATE, name, scope)


async def guard_reveal(entry: Entry, row: SecretRow, version: int) -> None:
    """Let the caller see a version, who may otherwise. Raises :class:`ApprovalRequired`."""
    asked = reveal_of(entry, row, version)
    await guard(entry, asked, [secret_place(Operation.REVEAL, row)], [Permission.SECRET_REVEAL])


async def guard_activation(
    entry: Entry, row: SecretRow, version: int, permission: Permission, *, event: int = -1
) -> None:
    """Let ``version`` become the active one. Raises :class:`ApprovalRequired`."""
    asked = activation_of(entry, row, version)
    await guard(entry, asked, [secret_place(Operation.ACTIVATE, row)], [permission], event=event)


async def guard_deletion(entry: Entry, row: SecretRow, *, event: int = -1) -> None:
    """Let the secret be deleted. Raises :class:`ApprovalRequired`."""
    places = [secret_place(Operation.DELETE, row)]
    await guard(entry, deletion_of(entry, row), places, [Permission.SECRET_DELETE], event=event)


async def guard_creation(entry: Entry, resource: Resource, labels: Mapping[str, str], *, event: int = -1) -> None:
    """Let a secret be made. Raises :class:`ApprovalRequired`."""
    asked = creation_of(entry, resource.scope, resource.name)
    await guard(entry, asked, [new_place(resource, labels)], [Permission.SECRET_WRITE], event=event)


async def guard(
    entry: Entry, asked: Asked, places: Sequence[Guarded], permissions: Collection[Permission], *, event: int = -1
) -> None:
    """Let ``asked`` through where no policy guards it, or an approval (or an emergency binding with ``permissions`` at every
    place) covers it. Raises :class:`ApprovalRequired` and makes the decision at ``event`` a denial.
    """
    found = await refusal_of(entry, asked, places, permissions)
    if found is not None:
        entry.deny_event(event, CODE)
        raise found


async def refusal_of(
    entry: Entry, asked: Asked, places: Sequence[Guarded], permissions: Collection[Permission]
) -> ApprovalRequired | None:
    """As :func:`guard`, for requests that collect all that is wrong with them: the error, with no row."""
    needed = await requirement_of(entry.session, places)
    if needed is None:
        return None
    resource = places[0].resource
    if await _in_emergency(entry, places, permissions):
        entry.note_beside(_beside(resource, None), AuditAction.APPROVAL_USE, BREAK_GLASS)
        return None
    for row in await usable_approvals(entry.session, asked):
        enough = await valid_approvals(entry, row, places) >= needed.approvers
        if enough and not entry.spends(row.id) and await take_approval(entry.session, row.id):
            entry.spend(row.id, partial(use_approval, entry.session, row.id))
            entry.note_beside(_beside(resource, row.id), AuditAction.APPROVAL_USE)
            return None
    return await _required(entry, asked, resource, needed)


async def requirement_of(session: Session, places: Sequence[Guarded]) -> Requirement | None:
    """What the policies ask for over ``places``."""
    return requirement(await guarding(session, frozenset().union(*(one.actions for one in places))), places)


async def guarded_secrets(session: Session, operation: Operation, rows: Sequence[SecretRow]) -> set[UUID]:
    """Of many secrets the ids of those that a policy guards against ``operation``, with one question."""
    policies = await guarding(session, GUARDS[operation]) if rows else []
    found: set[UUID] = set()
    for number, row in enumerate(rows, 1):
        if not number % _AT_ONCE:
            await asyncio.sleep(0)  # the process serves others, too
        if requirement(policies, [secret_place(operation, row)]) is not None:
            found.add(row.id)
    return found


async def guards_lost(entry: Entry, row: SecretRow, labels: Mapping[str, str]) -> bool:
    """Whether new labels would put the secret out of a policy's reach."""
    if labels == row.labels:
        return False
    resource = row.resource()
    return any(
        policy.selects(resource, row.labels) and not policy.selects(resource, labels)
        for policy in await guarding(entry.session, SECRET_ACTIONS)
    )


async def valid_approvals(entry: Entry, row: ApprovalRow, places: Sequence[Guarded]) -> int:
    """How many of those who approved count now: people who are not disabled, could approve it still, and do not stand behind the
    request. What an approver could do once and cannot any more does not count."""
    session = entry.session
    hands = await hands_behind(session, row.principal_id)
    count = 0
    for decision in await decisions_of(session, [row.id]):
        if decision.verdict != "approve" or decision.disabled or decision.kind != PrincipalKind.USER:
            continue
        if decision.principal_id in hands:
            continue
        held = await all_bindings(session, await subjects_of(session, decision.principal_id))
        bindings = [one.binding for one in held]
        count += all(isinstance(decide(bindings, Permission.APPROVAL_DECIDE, one.resource, entry.now), Allowed) for one in places)
    return count


def _of_secret(entry: Entry, operation: Operation, row: SecretRow, *, version: int | None = None) -> Asked:
    return Asked(
        principal=entry.actor.id,
        operation=operation,
        name=row.name,
        scope=row.scope,
        secret=row.id,
        version=version,
        active_version=row.active_version,
    )


async def _in_emergency(entry: Entry, places: Sequence[Guarded], permissions: Collection[Permission]) -> bool:
    bindings = [one for one in entry.actor.bindings if one.emergency]
    if bindings:
        hands = await hands_behind(entry.session, entry.actor.id)
        given = await made_by_others(entry.session, [one.id for one in bindings], hands)
        bindings = [one for one in bindings if one.id in given]
    return bool(bindings) and all(
        isinstance(decide(bindings, permission, place.resource, entry.now), Allowed)
        for permission in permissions
        for place in places
    )


async def _required(entry: Entry, asked: Asked, resource: Resource, needed: Requirement) -> ApprovalRequired:
    people = "another person" if needed.approvers == 1 else f"{needed.approvers} other people"
    kind = "app" if resource.kind == "deployment" else resource.kind
    what = f"{asked.operation} of {kind} {asked.name}" if asked.name else str(asked.operation)
    how = f"ask for it with 'overseer approval request {asked.operation}', or use the one that you have"
    message = f"{what} needs the approval of {people}: {how}"
    problems = [Problem("approval", f"policy {', '.join(needed.titles)}: {people} must approve exactly this", CODE)]
    if asked.operation is Operation.DEPLOY and asked.plan is None:
        rule = "only a plan can be approved: plan the deployment on one node, ask for that plan, deploy with its digest"
        problems.append(Problem("body.plan", rule, "plan_required"))
    for row in await open_approvals(entry.session, asked):
        problems.append(Problem(f"approval:{row.id}", *_standing(row, asked)))
    return ApprovalRequired(message, problems=problems)


def _standing(row: ApprovalRow, asked: Asked) -> tuple[str, str]:
    """What is to be said of a request of the caller's that did not help."""
    if row.digest != asked.digest:
        return "this request of yours is for something else: another version, or as it was before a change", "stale"
    if row.state == "pending":
        return f"this request of yours waits until {row.waits_until:%Y-%m-%d %H:%M}Z", "pending"
    return "this request of yours was approved by fewer people than are needed now: ask anew", "too_few"


def _beside(resource: Resource, approval_id: UUID | None) -> Resource:
    return replace(resource, kind="approval", id=approval_id, version=None)

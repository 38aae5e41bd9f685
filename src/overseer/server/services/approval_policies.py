"""Policies of approvals: who must be asked for what.

A policy is written, changed and deleted by someone with one binding that holds ``approval_policy:write`` over all that it
selects, before the change and after it. It holds from the next request on. A policy that asks for more people than there are
locks everybody out, its owners too, and can always be taken back by them: each change is a row in the audit log.
"""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import replace
from datetime import timedelta
from typing import Final
from uuid import UUID

from msgspec import UNSET, structs

from overseer.core.access import Binding, NamePattern, Resource, contains
from overseer.core.approvals import GuardedAction, Policy
from overseer.core.audit_events import AuditAction
from overseer.core.errors import AlreadyExists, Conflict, InvalidInput, Problem
from overseer.core.identifiers import NAME_RULE, check_name, is_name, new_id
from overseer.core.permissions import Permission, to_bits
from overseer.core.principals import Caller
from overseer.core.scopes import Scope
from overseer.server.services.binding_selectors import ANY, selector_text, to_selector
from overseer.server.services.binding_selectors import UNSET as NOTHING
from overseer.server.services.cursors import check_limit, write_cursor
from overseer.server.services.gate import Entry, Gate
from overseer.server.services.granted_rights import held_with
from overseer.server.services.idempotency import Idempotency, IdempotencyKeeper
from overseer.server.services.role_editing import after_name
from overseer.server.services.scope_service import check_description
from overseer.server.services.secret_input import check_text
from overseer.server.services.tagged import Tagged, check_revision, revision_tag
from overseer.server.storage import approval_policy_rows as rows
from overseer.server.storage.approval_policy_rows import PolicyRow
from overseer.server.storage.scope_rows import find_scope
from overseer.wire.approvals import ApprovalPolicyCreate, ApprovalPolicyPatch, ApprovalPolicyView
from overseer.wire.messages import Page

MAX_APPROVERS: Final = 5
MIN_SECONDS: Final = 60
MAX_WAIT: Final = 30 * 86400
MAX_LIFE: Final = 7 * 86400
MAX_DISTANCE: Final = 365
MAX_LABEL: Final = 256


class ApprovalPolicies:
    """See the module's text."""

    def __init__(self, gate: Gate, idempotency: IdempotencyKeeper) -> None:
        self._gate = gate
        self._idempotency = idempotency

    async def create_policy(
        self, caller: Caller, body: ApprovalPolicyCreate, idempotency: Idempotency | None = None
    ) -> Tagged[ApprovalPolicyView]:
        """A policy that holds from now on. :class:`AlreadyExists` where the title is taken."""
        async with self._gate.enter(caller, AuditAction.APPROVAL_POLICY_CREATE) as entry:
            policy, scope, names, problems = await _read(entry, body, new_id(entry.now))
            entry.authorise(Permission.APPROVAL_POLICY_WRITE, Resource("approval_policy", body.name, scope, scope_names=names))
            _complain(problems)
            _require_reach(entry, policy)
            first = await self._idempotency.first_result(entry, idempotency)
            policy_id = first.resource_id if first else policy.id
            if first is None:
                await _titled(rows.insert_policy(entry.session, policy, body.description, entry.actor.id))
                await self._idempotency.remember(entry, idempotency, status=201, resource_id=policy_id)
            entry.amend(resource_id=policy_id)
            found = await rows.policies(entry.session, policy_id)
            if not found:
                raise Conflict("the policy that this idempotency key made was deleted meanwhile")
        return _tagged(found[0])

    async def list_policies(
        self, caller: Caller, cursor: str | None = None, limit: int = 100
    ) -> Page[ApprovalPolicyView]:
        """Policies by title."""
        async with self._gate.enter(caller, AuditAction.APPROVAL_POLICY_LIST) as entry:
            entry.authorise(Permission.APPROVAL_LIST, Resource("approval_policy"))
            found = await rows.policies(entry.session, after=after_name(cursor), limit=check_limit(limit) + 1)
        last = found[limit - 1].policy.title if len(found) > limit else None
        items = [policy_view(row) for row in found[:limit]]
        return Page(items=items, next_cursor=None if last is None else write_cursor(last))

    async def get_policy(self, caller: Caller, policy_id: UUID) -> Tagged[ApprovalPolicyView]:
        """One policy."""
        async with self._gate.enter(caller, AuditAction.APPROVAL_POLICY_LIST) as entry:
            row = await _found(entry, policy_id)
            entry.authorise(Permission.APPROVAL_LIST, _resource(row), hide_without=Permission.APPROVAL_LIST)
        return _tagged(row)

    async def patch_policy(
        self, caller: Caller, policy_id: UUID, body: ApprovalPolicyPatch, if_match: str | None = None
    ) -> Tagged[ApprovalPolicyView]:
        """Change a policy; requests that wait keep the number that they were made with, a use is held to the new one."""
        async with self._gate.enter(caller, AuditAction.APPROVAL_POLICY_PATCH) as entry:
            row = await _locked(entry, policy_id)
            _require_reach(entry, row.policy)
            check_revision(if_match, row.revision, "policy")
            whole = _patched(row, body)
            policy, _, _, problems = await _read(entry, whole, row.policy.id)
            _complain(problems)
            _require_reach(entry, policy)
            await _titled(rows.update_policy(entry.session, policy, whole.description))
            [changed] = await rows.policies(entry.session, policy_id)
        return _tagged(changed)

    async def delete_policy(self, caller: Caller, policy_id: UUID, if_match: str | None = None) -> None:
        """What it guarded waits for nobody any more, from the next request on."""
        async with self._gate.enter(caller, AuditAction.APPROVAL_POLICY_DELETE) as entry:
            row = await _locked(entry, policy_id)
            _require_reach(entry, row.policy)
            check_revision(if_match, row.revision, "policy")
            await rows.delete_policy(entry.session, policy_id)


async def _read(
    entry: Entry, body: ApprovalPolicyCreate, policy_id: UUID
) -> tuple[Policy, Scope[UUID], Scope[str], list[Problem]]:
    """The policy of a request as far as it could be read, with all that is wrong: refusal comes first, complaints after it."""
    texts = {"app": body.app, "environment": body.environment, "node": body.node}
    names = Scope(**{part: text if text not in (ANY, NOTHING) else None for part, text in texts.items()})
    found = await find_scope(entry.session, names)
    problems = [
        Problem(f"body.{part.value}", f"no {part.value} has that name: make it first; '*' means any and '-' none set", "unknown")
        for part in found.missing
    ]
    actions = frozenset(action for action in GuardedAction if action in body.actions)
    if not actions or len(actions) != len(body.actions):
        problems.append(Problem("body.actions", f"some of {', '.join(GuardedAction)}, each once", "bad_actions"))
    pattern = NamePattern.parse(body.name)
    if (pattern.name and not is_name(pattern.name)) or (not pattern.name and not pattern.is_prefix):
        problems.append(Problem("body.name", f"a name or a prefix ending in '*'; {NAME_RULE}", "bad_pattern"))
    key, equals, value = (body.label or "").partition("=")
    if body.label is not None and not (key and equals):
        problems.append(Problem("body.label", f"key=value of at most {MAX_LABEL} characters", "bad_label"))
    if body.label is not None and GuardedAction.DEPLOY in actions:
        rule = "labels are of secrets: a policy that guards deployments has none; make two policies"
        problems.append(Problem("body.label", rule, "bad_label"))
    numbers = (
        ("approvers", body.approvers, 1, MAX_APPROVERS),
        ("waits_seconds", body.waits_seconds, MIN_SECONDS, MAX_WAIT),
        ("lives_seconds", body.lives_seconds, MIN_SECONDS, MAX_LIFE),
        ("distance_days", body.distance_days, 0, MAX_DISTANCE),
    )
    problems += [
        Problem(f"body.{name}", f"{low} to {high}", "bad_number")
        for name, number, low, high in numbers
        if not low <= number <= high
    ]
    checks = (
        (lambda: check_name(body.title, "body.title")),
        (lambda: check_text(body.label or "", "body.label", MAX_LABEL)),
        (lambda: check_description(body.description)),
    )
    for check in checks:
        try:
            check()
        except InvalidInput as error:
            problems += error.problems
    scope = found.scope
    policy = Policy(
        id=policy_id,
        title=body.title,
        actions=actions,
        app=to_selector(body.app, scope.app),
        environment=to_selector(body.environment, scope.environment),
        node=to_selector(body.node, scope.node),
        pattern=pattern,
        label=None if body.label is None else (key, value),
        approvers=body.approvers,
        waits=timedelta(seconds=min(max(body.waits_seconds, 0), MAX_WAIT)),
        lives=timedelta(seconds=min(max(body.lives_seconds, 0), MAX_LIFE)),
        distance=body.distance_days,
    )
    return policy, scope, names, problems


def _complain(problems: list[Problem]) -> None:
    if problems:
        raise InvalidInput("the policy cannot be made", problems=problems)


def _patched(row: PolicyRow, body: ApprovalPolicyPatch) -> ApprovalPolicyCreate:
    """The whole of it: what is there, with what was sent in its place."""
    present = policy_view(row)
    sent = {name: value for name, value in structs.asdict(body).items() if value is not UNSET}
    kept = {name: getattr(present, name) for name in structs.asdict(body)}
    selector = {"app", "environment", "node", "name"}
    if selector & sent.keys() and not selector <= sent.keys():
        rule = "write app, environment, node and name together: no part of a selector has a default"
        raise InvalidInput(rule, problems=[Problem("body", rule, "part_of_a_selector")])
    return ApprovalPolicyCreate(**(kept | sent))


def _require_reach(entry: Entry, policy: Policy) -> None:
    """One binding of the caller has to contain all that the policy selects: ``any`` and ``unset`` name the same scope."""
    permission = Permission.APPROVAL_POLICY_WRITE
    asked = Binding(policy.id, to_bits({permission}), policy.app, policy.environment, policy.node, policy.pattern)
    own = [replace(binding, expires_at=None) for binding in held_with(entry, permission)]
    if not any(contains(mine, asked) for mine in own):
        entry.deny("beyond_own_rights", f"no binding of yours holds {permission} over all that this policy selects")


async def _found(entry: Entry, policy_id: UUID) -> PolicyRow:
    found = await rows.policies(entry.session, policy_id)
    if not found:
        entry.missing(Resource("approval_policy", id=policy_id))
    return found[0]


async def _locked(entry: Entry, policy_id: UUID) -> PolicyRow:
    row = await _found(entry, policy_id)
    entry.authorise(Permission.APPROVAL_POLICY_WRITE, _resource(row), hide_without=Permission.APPROVAL_LIST)
    locked = await rows.locked_policy(entry.session, policy_id)
    if locked is None:
        entry.hide("approval_policy")
    return locked


def _resource(row: PolicyRow) -> Resource:
    policy = row.policy
    scope = Scope(policy.app.id, policy.environment.id, policy.node.id)
    return Resource("approval_policy", str(policy.pattern), scope, policy.id, row.names)


async def _titled(write: Awaitable[None]) -> None:
    try:
        await write
    except AlreadyExists:
        raise AlreadyExists("there is a policy of that title already") from None


def _tagged(row: PolicyRow) -> Tagged[ApprovalPolicyView]:
    return Tagged(policy_view(row), revision_tag(row.revision))


def policy_view(row: PolicyRow) -> ApprovalPolicyView:
    """A policy as people read it."""
    policy = row.policy
    return ApprovalPolicyView(
        id=str(policy.id),
        title=policy.title,
        description=row.description,
        actions=sorted(policy.actions),
        app=selector_text(policy.app, row.names.app),
        environment=selector_text(policy.environment, row.names.environment),
        node=selector_text(policy.node, row.names.node),
        name=str(policy.pattern),
        label=None if policy.label is None else "=".join(policy.label),
        approvers=policy.approvers,
        waits_seconds=int(policy.waits.total_seconds()),
        lives_seconds=int(policy.lives.total_seconds()),
        distance_days=policy.distance,
        created_at=row.created_at,
    )

"""Requests for approval: asked, listed, decided, taken back.

Guarantees: a request is decided by people alone, never by whoever made it or stands behind it (who made a service account or
one of its tokens could act as it), nor by anybody whom they have lately made, let in, or given the right to decide
(``approval_distance``); several approvals are those of several people; it is decided once for all under its row lock; what was
asked is compared with the store when it is decided, and a secret that changed since makes it stale. Each step is one audit row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, NoReturn
from uuid import UUID

from overseer.core.access import Resource
from overseer.core.approvals import ARRIVAL, GUARDS, Guarded, Operation
from overseer.core.audit_events import MAX_FREE_TEXT, AuditAction
from overseer.core.errors import AlreadyExists, Conflict, InvalidInput, Problem, RateLimited
from overseer.core.identifiers import new_id
from overseer.core.permissions import Permission
from overseer.core.principals import Caller, PrincipalKind
from overseer.core.scopes import Scope
from overseer.server.services.approval_asking import read_request
from overseer.server.services.approval_distance import TOO_CLOSE, is_independent, too_close
from overseer.server.services.approval_guard import requirement_of
from overseer.server.services.approval_views import approval_view, is_stale, plan_details
from overseer.server.services.cursors import check_limit, read_id_cursor, write_cursor
from overseer.server.services.gate import Entry, Gate
from overseer.server.services.idempotency import Idempotency, IdempotencyKeeper
from overseer.server.services.secret_input import check_text
from overseer.server.storage import approval_rows as rows
from overseer.server.storage.approval_rows import ApprovalRow, DecisionRow
from overseer.server.storage.secret_rows import SecretRow, secrets_by_id
from overseer.wire.approvals import ApprovalCreate, ApprovalDecision, ApprovalView
from overseer.wire.messages import Page

MOST_WAITING: Final = 50
STATES: Final = frozenset({"approved", "expired", "pending", "refused", "used", "withdrawn"})
VIEWS: Final = frozenset({"all", "decided", "inbox", "mine"})
VERDICTS: Final = frozenset({"approve", "refuse"})
_CHUNK: Final = 200
_MAX_CHUNKS: Final = 25


class ApprovalRequests:
    """See the module's text."""

    def __init__(self, gate: Gate, idempotency: IdempotencyKeeper) -> None:
        self._gate = gate
        self._idempotency = idempotency

    async def ask(self, caller: Caller, body: ApprovalCreate, idempotency: Idempotency | None = None) -> ApprovalView:
        """Ask for exactly one thing that the caller may do but for the approval.

        Raises :class:`Conflict` where no policy guards it, :class:`AlreadyExists` with the id where the same waits already, and
        what the thing itself raises for who may not do it.
        """
        async with self._gate.enter(replace(caller, reason=body.reason), AuditAction.APPROVAL_CREATE) as entry:
            wanted = await read_request(entry, body)
            if not body.reason.strip():
                rule = "say why: it is what those who decide read"
                raise InvalidInput(rule, problems=[Problem("body.reason", rule, "bad_reason")])
            check_text(body.reason, "body.reason", MAX_FREE_TEXT)
            first = await self._idempotency.first_result(entry, idempotency)
            if first is not None:
                return await _shown(entry, first.resource_id)
            needed = await requirement_of(entry.session, wanted.places)
            if needed is None:
                raise Conflict("no policy asks for an approval of this: just do it")
            for row in await rows.open_approvals(entry.session, wanted.asked):
                if row.digest == wanted.asked.digest and row.state == "pending":
                    raise AlreadyExists(
                        "you have asked for exactly this already, and it waits",
                        problems=[Problem(f"approval:{row.id}", "wait for it, or withdraw it", "pending")],
                    )
            if await rows.pending_count(entry.session, entry.actor.id) >= MOST_WAITING:
                raise RateLimited(f"{MOST_WAITING} requests of yours wait already: withdraw some", retry_after=60)
            approval_id = new_id(entry.now)
            new = rows.NewApproval(approval_id, wanted.asked, wanted.names, body.reason, needed, entry.now)
            await rows.insert_approval(entry.session, new)
            await self._idempotency.remember(entry, idempotency, status=201, resource_id=approval_id)
            entry.note_beside(
                Resource("approval", wanted.asked.name, wanted.asked.scope, approval_id, _place_names(wanted.names)),
                AuditAction.APPROVAL_CREATE,
                wanted.asked.operation.value,
            )
            return await _shown(entry, approval_id)

    async def list_approvals(
        self,
        caller: Caller,
        *,
        view: str = "all",
        state: str | None = None,
        action: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page[ApprovalView]:
        """Requests, newest first: the caller's own, and those over which they hold ``approval:decide`` or ``approval:list``.

        ``view``: ``mine``; ``inbox``, those that the caller can decide now; ``decided``, those that they decided; ``all``.
        """
        async with self._gate.enter(caller, AuditAction.APPROVAL_LIST) as entry:
            entry.accept(Resource("approval"))
            _check_filters(view, state, action)
            before = None if cursor is None else read_id_cursor(cursor)
            check_limit(limit)
            state = "pending" if view == "inbox" else state
            whose = entry.actor.id if view == "mine" else None
            seen: list[ApprovalView] = []
            for _ in range(_MAX_CHUNKS):
                found = await rows.approval_page(entry.session, whose, state, action, before, _CHUNK)
                seen += [one for one in await _views(entry, found) if _belongs(one, view, entry.actor.name)]
                before = found[-1].id if len(found) == _CHUNK else None
                if before is None or len(seen) > limit:
                    break
        more = seen[limit - 1].id if len(seen) > limit else None if before is None else str(before)
        return Page(items=seen[:limit], next_cursor=None if more is None else write_cursor(more))

    async def get_approval(self, caller: Caller, approval_id: UUID) -> ApprovalView:
        """One request: one's own, or one over which the caller holds ``approval:decide`` or ``approval:list``."""
        async with self._gate.enter(caller, AuditAction.APPROVAL_READ) as entry:
            row = await _found(entry, approval_id)
            _admit(entry, row)
            return await _shown(entry, approval_id)

    async def withdraw_approval(self, caller: Caller, approval_id: UUID) -> ApprovalView:
        """Take one's own request back, also after it was approved. :class:`Conflict` where it has ended."""
        async with self._gate.enter(caller, AuditAction.APPROVAL_WITHDRAW) as entry:
            row = await _found(entry, approval_id)
            if row.principal_id != entry.actor.id:
                entry.refuse(resource_of(row), "not_the_requester")
                _hide_or_deny(entry, row, "only who asked can take it back; you may refuse it")
            entry.accept(resource_of(row))
            locked = await rows.locked_approval(entry.session, approval_id)
            if locked is None or locked.state not in {"pending", "approved"}:
                raise Conflict(f"it has ended already ({'gone' if locked is None else locked.state})")
            await rows.end_approval(entry.session, approval_id, "withdrawn")
            return await _shown(entry, approval_id)

    async def decide(self, caller: Caller, approval_id: UUID, body: ApprovalDecision) -> ApprovalView:
        """Approve or refuse what somebody else asks for. Needs ``approval:decide`` over all that it touches, and a person.

        One refusal ends it. Raises :class:`Denied` for one's own, :class:`Conflict` where it has ended, was decided by the caller
        already, or is stale.
        """
        async with self._gate.enter(replace(caller, reason=body.comment or caller.reason), AuditAction.APPROVAL_DECIDE) as entry:
            row = await _found(entry, approval_id)
            _authorise_decision(entry, row)
            await _require_independence(entry, row)
            if body.decision not in VERDICTS:
                raise InvalidInput("decide", problems=[Problem("body.decision", "approve or refuse", "bad_decision")])
            check_text(body.comment, "body.comment", MAX_FREE_TEXT)
            locked = await rows.locked_approval(entry.session, approval_id)
            if locked is None or locked.state != "pending":
                raise Conflict(f"it does not wait any more ({'gone' if locked is None else locked.state})")
            if body.decision == "approve" and await is_stale(entry.session, locked):
                raise Conflict("it does not hold any more: the secret changed since; whoever asked has to ask anew")
            try:
                await rows.insert_decision(entry.session, approval_id, entry.actor.id, body.decision, body.comment)
            except AlreadyExists:
                raise AlreadyExists("you have decided about it already") from None
            entry.amend(code=f"{body.decision}:{locked.asked.operation}")
            if body.decision == "refuse":
                await rows.end_approval(entry.session, approval_id, "refused")
            else:
                given = await rows.decisions_of(entry.session, [approval_id])
                if sum(one.verdict == "approve" for one in given) >= locked.approvers:
                    await rows.approve(entry.session, approval_id)
            return await _shown(entry, approval_id)


def resource_of(row: ApprovalRow) -> Resource:
    """A request for the gate: at the place and by the name of what is asked for."""
    return Resource("approval", row.asked.name, row.asked.scope, row.id, _place_names(row.names))


def places_of(row: ApprovalRow) -> list[Guarded]:
    """What it touches, as far as who may decide about it goes by place and name."""
    places = [Guarded(GUARDS[row.asked.operation], resource_of(row), {})]
    if row.asked.operation is Operation.MOVE and row.asked.target is not None:
        target = replace(resource_of(row), name=row.asked.target_name or "", scope=row.asked.target)
        places.append(Guarded(ARRIVAL, target, {}))
    return places


def _authorise_decision(entry: Entry, row: ApprovalRow) -> None:
    if row.principal_id == entry.actor.id:
        entry.refuse(resource_of(row), "own_request")
        entry.deny("own_request", "nobody approves what they asked for themselves: another person has to")
    for place in places_of(row):
        entry.authorise(Permission.APPROVAL_DECIDE, place.resource, hide_without=Permission.APPROVAL_LIST)


async def _require_independence(entry: Entry, row: ApprovalRow) -> None:
    if entry.actor.kind is not PrincipalKind.USER:
        entry.deny("not_a_person", "only people approve: the token of a service account does not tell who stands behind it")
    if entry.actor.id in await rows.hands_behind(entry.session, row.principal_id):
        entry.deny("own_request", "you made the service account that asks, or a token of it: another person has to decide")
    if not await is_independent(entry, row, [place.resource for place in places_of(row)]):
        entry.deny(TOO_CLOSE, too_close(row))


def _may_see(entry: Entry, row: ApprovalRow) -> bool:
    if row.principal_id == entry.actor.id:
        return True
    rights = (Permission.APPROVAL_LIST, Permission.APPROVAL_DECIDE)
    return any(entry.permits(right, resource_of(row)) for right in rights)


def _admit(entry: Entry, row: ApprovalRow) -> None:
    if _may_see(entry, row):
        entry.accept(resource_of(row))
        return
    entry.refuse(resource_of(row), "no_binding")
    entry.hide("approval")


def _hide_or_deny(entry: Entry, row: ApprovalRow, message: str) -> NoReturn:
    if not _may_see(entry, row):
        entry.hide("approval")
    entry.deny("not_the_requester", message)


async def _found(entry: Entry, approval_id: UUID) -> ApprovalRow:
    row = await rows.approval_by_id(entry.session, approval_id)
    if row is None:
        entry.missing(Resource("approval", id=approval_id))
    return row


async def _shown(entry: Entry, approval_id: UUID) -> ApprovalView:
    row = await rows.approval_by_id(entry.session, approval_id)
    if row is None:
        raise Conflict("the request is gone")
    [view] = await _views(entry, [row])
    return view


async def _views(entry: Entry, found: Sequence[ApprovalRow]) -> list[ApprovalView]:
    """Those that the caller may see."""
    seen = [row for row in found if _may_see(entry, row)]
    decisions = await rows.decisions_of(entry.session, [row.id for row in seen])
    ids = [row.asked.secret for row in seen if row.asked.secret is not None]
    secrets = {one.id: one for one in await secrets_by_id(entry.session, ids)} if ids else {}
    return [await _view(entry, row, [one for one in decisions if one.approval_id == row.id], secrets) for row in seen]


async def _view(
    entry: Entry, row: ApprovalRow, decisions: list[DecisionRow], secrets: dict[UUID, SecretRow]
) -> ApprovalView:
    return approval_view(
        row,
        decisions,
        stale=await is_stale(entry.session, row, secrets),
        details=await plan_details(entry.session, row),
        may_decide=await _may_decide(entry, row, decisions),
        own=row.principal_id == entry.actor.id,
    )


async def _may_decide(entry: Entry, row: ApprovalRow, decisions: Sequence[DecisionRow]) -> bool:
    return (
        row.state == "pending"
        and entry.actor.kind is PrincipalKind.USER
        and all(one.principal_id != entry.actor.id for one in decisions)
        and all(entry.permits(Permission.APPROVAL_DECIDE, place.resource) for place in places_of(row))
        and entry.actor.id not in await rows.hands_behind(entry.session, row.principal_id)
        and await is_independent(entry, row, [place.resource for place in places_of(row)])
    )


def _belongs(one: ApprovalView, view: str, name: str) -> bool:
    if view == "inbox":
        return one.may_decide
    return view != "decided" or any(decision.principal == name for decision in one.decisions)


def _check_filters(view: str, state: str | None, action: str | None) -> None:
    problems = []
    for place, text, allowed in (("view", view, VIEWS), ("state", state, STATES), ("action", action, set(Operation))):
        if text is not None and text not in allowed:
            problems.append(Problem(f"query.{place}", f"one of {', '.join(sorted(allowed))}", "bad_filter"))
    if problems:
        raise InvalidInput("the requests cannot be listed like that", problems=problems)


def _place_names(names: dict[str, list[str | None]]) -> Scope[str]:
    return Scope(*names["scope"])

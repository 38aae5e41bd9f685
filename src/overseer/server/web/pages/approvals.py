"""Approvals: what waits for the visitor, what they asked for, what they decided; and one request with exactly what is asked.

No value is anywhere here: who approves a reveal agrees to that somebody else sees it, and does not see it.
"""

from __future__ import annotations

from typing import Final
from uuid import UUID

from overseer.core.errors import InvalidInput, OverseerError
from overseer.core.permissions import Permission
from overseer.server.api.route import AnyIdentity
from overseer.server.web.attempts import attempt
from overseer.server.web.page import Answer, Redirect, View, page
from overseer.server.web.visit import Visit
from overseer.wire.approvals import ApprovalCreate, ApprovalDecision

PAGE_ROWS: Final = 50
MOST_COUNTED: Final = 50
_OWN: Final = AnyIdentity("everybody sees what they asked for; the rest needs approval:decide or approval:list there")
#: What a form on the page of a secret can ask for.
_ASKABLE: Final = frozenset({"activate", "delete", "reveal"})
VIEWS: Final = (("inbox", "Waiting for me"), ("mine", "Mine"), ("decided", "Decided by me"), ("all", "All"))


@page("GET", "/approvals", permission=_OWN)
async def list_approvals(visit: Visit) -> Answer:
    chosen = visit.query.text("view") or ("inbox" if visit.may(Permission.APPROVAL_DECIDE) else "mine")
    found = await visit.services.approvals.list_approvals(
        visit.caller, view=chosen, cursor=visit.query.optional("cursor"), limit=PAGE_ROWS
    )
    policies = None
    if visit.may(Permission.APPROVAL_LIST) and visit.has_a_role_everywhere():
        try:
            policies = await visit.services.approvals.list_policies(visit.caller)
        except OverseerError:
            policies = None  # held somewhere, but not over policies as a whole
    return View("approvals/list.html", {"found": found, "chosen": chosen, "views": VIEWS, "policies": policies})


# Before the path with an id, which would take its word for one.
@page("GET", "/approvals/count", permission=_OWN)
async def count_approvals(visit: Visit) -> Answer:
    found = await visit.services.approvals.list_approvals(visit.caller, view="inbox", limit=MOST_COUNTED)
    return View("approvals/count.html", {"count": len(found.items), "more": found.next_cursor}, fragment=True)


@page("POST", "/approvals", permission=AnyIdentity("it needs the permission of the action that is asked for"))
async def ask_approval(visit: Visit) -> Answer:
    form = visit.form
    action, secret = form.text("action"), form.text("secret_id")

    async def ask() -> Answer:
        try:
            secret_id = UUID(secret)
        except ValueError:
            raise InvalidInput("ask from the page of the secret") from None
        if action not in _ASKABLE:
            raise InvalidInput("ask from the page of the secret")
        body = ApprovalCreate(
            action=action, secret_id=secret_id, version=form.number("version"), reason=form.text("reason")
        )
        made = await visit.services.approvals.ask(visit.caller, body)
        return Redirect(f"/approvals/{made.id}?done=asked")

    async def again(error: OverseerError) -> Answer:
        waiting = [one.place.removeprefix("approval:") for one in error.problems if one.code == "pending"]
        if waiting:
            return Redirect(f"/approvals/{waiting[0]}")
        content = {"action": action, "secret_id": secret, "version": form.text("version"), "error": error}
        return View("approvals/ask_again.html", content, status=error.status)

    return await attempt(ask, again)


@page("GET", "/approvals/{approval_id}", permission=_OWN)
async def show_approval(visit: Visit, approval_id: UUID) -> Answer:
    return await _shown(visit, approval_id)


@page("POST", "/approvals/{approval_id}/decide", permission=Permission.APPROVAL_DECIDE)
async def decide_approval(visit: Visit, approval_id: UUID) -> Answer:
    async def decide() -> Answer:
        body = ApprovalDecision(decision=visit.form.text("decision"), comment=visit.form.text("comment"))
        await visit.services.approvals.decide(visit.caller, approval_id, body)
        return Redirect(f"/approvals/{approval_id}?done=decided")

    return await attempt(decide, lambda error: _shown(visit, approval_id, error))


@page("POST", "/approvals/{approval_id}/withdraw", permission=AnyIdentity("everybody may take back what they asked for"))
async def withdraw_approval(visit: Visit, approval_id: UUID) -> Answer:
    async def withdraw() -> Answer:
        await visit.services.approvals.withdraw_approval(visit.caller, approval_id)
        return Redirect(f"/approvals/{approval_id}?done=withdrawn")

    return await attempt(withdraw, lambda error: _shown(visit, approval_id, error))


async def _shown(visit: Visit, approval_id: UUID, error: OverseerError | None = None) -> Answer:
    asked = await visit.services.approvals.get_approval(visit.caller, approval_id)
    content = {"asked": asked, "error": error, "done": visit.query.text("done")}
    return View("approvals/show.html", content, status=error.status if error else 200)

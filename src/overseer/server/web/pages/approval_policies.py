"""Policies of approvals: which actions on what wait for other people. A change holds from the next request on."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from overseer.core.approvals import GuardedAction
from overseer.core.errors import Denied, OverseerError
from overseer.core.permissions import Permission
from overseer.server.web.attempts import attempt, problems_of
from overseer.server.web.forms import Form
from overseer.server.web.page import Answer, Redirect, View, page
from overseer.server.web.pages.access import selector
from overseer.server.web.places import known_places
from overseer.server.web.visit import Visit
from overseer.wire.approvals import ApprovalPolicyCreate, ApprovalPolicyPatch, ApprovalPolicyView

_MINUTE: Final = 60
_TEXTS: Final = ("title", "description", "name", "label")
_NEW: Final[dict[str, Any]] = {"name": "*", "approvers": 1, "waits": 1440, "lives": 60, "distance": 0}


# Before the path with an id, which would take its word for one.
@page("GET", "/approval-policies/new", permission=Permission.APPROVAL_POLICY_WRITE)
async def new_policy(visit: Visit) -> Answer:
    if not visit.may(Permission.APPROVAL_POLICY_WRITE):
        raise Denied(f"you lack {Permission.APPROVAL_POLICY_WRITE}; ask an owner for a role that holds it")
    return await _form(visit, None, None)


@page("POST", "/approval-policies/new", permission=Permission.APPROVAL_POLICY_WRITE)
async def create_policy(visit: Visit) -> Answer:
    async def create() -> Answer:
        made = await visit.services.approvals.create_policy(visit.caller, ApprovalPolicyCreate(**_fields(visit.form)))
        return Redirect(f"/approval-policies/{made.view.id}?done=created")

    return await attempt(create, lambda error: _form(visit, None, error))


@page("GET", "/approval-policies/{policy_id}", permission=Permission.APPROVAL_LIST)
async def show_policy(visit: Visit, policy_id: UUID) -> Answer:
    return await _form(visit, policy_id, None)


@page("POST", "/approval-policies/{policy_id}/change", permission=Permission.APPROVAL_POLICY_WRITE)
async def change_policy(visit: Visit, policy_id: UUID) -> Answer:
    approvals, caller, form = visit.services.approvals, visit.caller, visit.form

    async def change() -> Answer:
        if form.text("change") == "delete":
            await approvals.delete_policy(caller, policy_id, form.optional("etag"))
            return Redirect("/approvals?done=policy")
        await approvals.patch_policy(caller, policy_id, ApprovalPolicyPatch(**_fields(form)), form.optional("etag"))
        return Redirect(f"/approval-policies/{policy_id}?done=changed")

    return await attempt(change, lambda error: _form(visit, policy_id, error))


async def _form(visit: Visit, policy_id: UUID | None, error: OverseerError | None) -> Answer:
    """The form of a new policy or of one that there is; with what was typed where it was refused."""
    policy: ApprovalPolicyView | None = None
    etag = ""
    if policy_id is not None:
        tagged = await visit.services.approvals.get_policy(visit.caller, policy_id)
        policy, etag = tagged.view, tagged.etag
    sent = "title" in visit.form
    given = dict(visit.form) if sent else (_NEW if policy is None else _shown(policy))
    content = {
        "policy": policy,
        "etag": etag,
        "given": given,
        "chosen": visit.form.all("action") if sent else ([] if policy is None else policy.actions),
        "actions": list(GuardedAction),
        "places": await known_places(visit),
        "fixed": not visit.may(Permission.APPROVAL_POLICY_WRITE),
        "error": error,
        "problems": problems_of(error),
        "done": visit.query.text("done"),
    }
    return View("approvals/policy.html", content, status=error.status if error else 200)


def _shown(policy: ApprovalPolicyView) -> dict[str, Any]:
    """A policy as the fields of its form."""
    fields: dict[str, Any] = {name: getattr(policy, name) or "" for name in _TEXTS}
    for part in ("app", "environment", "node"):
        text = getattr(policy, part)
        fields |= {part: text} if text in ("*", "-") else {part: "is", f"{part}_name": text}
    return fields | {
        "approvers": policy.approvers,
        "waits": policy.waits_seconds // _MINUTE,
        "lives": policy.lives_seconds // _MINUTE,
        "distance": policy.distance_days,
    }


def _fields(form: Form) -> dict[str, Any]:
    fields: dict[str, Any] = {part: selector(form, part) for part in ("app", "environment", "node")}
    fields |= {name: form.text(name) for name in ("title", "description", "name")}
    fields |= {"actions": form.all("action"), "label": form.optional("label"), "approvers": form.number("approvers", 1)}
    distance = form.number("distance")
    fields |= {} if distance is None else {"distance_days": distance}
    for name in ("waits", "lives"):
        minutes = form.number(name)
        if minutes is not None:
            fields[f"{name}_seconds"] = minutes * _MINUTE
    return fields

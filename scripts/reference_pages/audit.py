"""Audit actions, outcomes and the fields of a row."""

from __future__ import annotations

from typing import get_type_hints

from overseer.core.audit_events import ACTION_MEANING, MAX_FREE_TEXT, AuditAction
from overseer.wire.audit import AuditView
from scripts.reference_pages.markdown import Page, code, page, prose, table

_OUTCOMES = {
    "allowed": "the gate let it through, and it was committed",
    "denied": "the gate refused; `code` says why",
    "failed": "it was allowed, or nobody had to be asked, and it did not happen; `code` says why",
}
_FIELDS = {
    "id": "the row's place in the log, also its cursor",
    "at": "the database's clock",
    "request_id": "the X-Request-Id of the request: all rows of one request share it",
    "actor": "the name of who acted; empty where nobody is known",
    "actor_id": "its id",
    "actor_kind": "user, service_account or node",
    "on_behalf_of": "whose deployment an agent executes",
    "token_id": "the token that was used, never its text",
    "action": "what was tried",
    "outcome": "how it ended",
    "code": "a stable word for a denial, a failure, a replay or a state",
    "resource_kind": "what it was done to",
    "resource_id": "its id",
    "resource_name": "its name",
    "app": "the app of its scope",
    "environment": "the environment of its scope",
    "node": "the node of its scope",
    "version": "the version of the secret",
    "peer": "the address that the request came from",
    "client": "the kind of client",
    "reason": f"what the caller gave as the reason, cut to {MAX_FREE_TEXT} characters; lies apart and can be erased",
    "repeats": "how many denials this row stands for: floods are counted, not written one by one",
}


def build() -> Page:
    """The page; an action or a field without a meaning is a complaint."""
    fields = list(get_type_hints(AuditView))
    complaints = [f"audit action {one}: no meaning in ACTION_MEANING" for one in AuditAction if not ACTION_MEANING.get(one)]
    complaints += [f"audit field {name}: no meaning in {__name__}" for name in fields if name not in _FIELDS]
    parts = [
        "Every request that reaches the gate leaves at least one row. A row never holds a value.",
        "## Actions",
        table(("Action", "What happened"), [(code(one), prose(ACTION_MEANING.get(one))) for one in AuditAction]),
        "## Outcomes",
        table(("Outcome", "Meaning"), [(code(name), text) for name, text in _OUTCOMES.items()]),
        "## Fields",
        table(("Field", "Meaning"), [(code(name), _FIELDS.get(name, "")) for name in fields]),
    ]
    return page("Audit log", parts, complaints)

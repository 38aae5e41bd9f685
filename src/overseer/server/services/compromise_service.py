"""After a compromise: what a node, a principal or the holder of secrets could have seen, as an ordered plan of rotations.

From facts: the versions that were ever released to a node; what the audit log says a principal was shown or wrote, and what its
bindings would let it see now. A secret whose version in use nobody of those could have seen needs no rotation, and is listed as
such. Needs ``audit:read``; of the secrets only those that the caller may list are told. Rotating is the ordinary call.

What it cannot know: what somebody read on a node as its root, from a backup, or with rights that were taken away before they
were used; and secrets that were deleted since.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import msgspec

from overseer.core.access import Allowed, Binding, Resource, decide, holds_anywhere
from overseer.core.audit_events import AuditAction
from overseer.core.errors import InvalidInput, Problem, Unavailable
from overseer.core.permissions import Permission
from overseer.core.principals import Caller, PrincipalKind
from overseer.server.services.gate import Entry, Gate
from overseer.server.services.usage_views import consumer_view, visible_consumer
from overseer.server.storage import principal_rows, usage_rows
from overseer.server.storage.node_rows import all_nodes
from overseer.server.storage.secret_rows import SecretFilter, SecretRow, secrets_by_id, visible_page
from overseer.server.storage.usage_rows import ConsumerRow, SeenRow
from overseer.wire.secrets import ScopeView
from overseer.wire.usage import CompromisedPlan, CompromisedRequest, CompromisedSecret, ExposureView

MAX_NAMED: Final = 200
_CHUNK: Final = 500
_ALWAYS: Final = frozenset({"named", "may_reveal", "may_print"})
_MADE: Final = frozenset({AuditAction.SECRET_CREATE, AuditAction.SECRET_UPDATE, AuditAction.SECRET_ROTATE})
_LONG_AGO: Final = datetime(1, 1, 1, tzinfo=UTC)


@dataclass
class Exposures:
    """Why each secret counts; ``node_id`` is the node that does not count as elsewhere."""

    reasons: dict[UUID, list[ExposureView]] = field(default_factory=dict)
    node_id: UUID | None = None

    def add(self, secret_id: UUID, kind: str, detail: str = "", version: int | None = None, at: datetime | None = None) -> None:
        reason = ExposureView(kind=kind, detail=detail, version=version, last_seen_at=at)
        self.reasons.setdefault(secret_id, []).append(reason)


class CompromiseService:
    """See the module's text."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    async def plan(self, caller: Caller, body: CompromisedRequest) -> CompromisedPlan:
        """What to rotate and in which order. Raises :class:`Unavailable` for a node, principal or secret that does not exist,
        :class:`InvalidInput` unless exactly one of the three is given.
        """
        async with self._gate.enter(caller, AuditAction.COMPROMISE_PLAN) as entry:
            entry.authorise(Permission.AUDIT_READ, Resource("audit", body.node or body.user or ""))
            exposures = await _exposures(entry, body)
            found = []
            ids = sorted(exposures.reasons)
            for start in range(0, len(ids), _CHUNK):
                rows = await secrets_by_id(entry.session, ids[start : start + _CHUNK])
                rows = [row for row in rows if entry.permits(Permission.SECRET_LIST, row.resource())]
                consumers = await usage_rows.consumers_of(entry.session, [row.id for row in rows])
                found += [_step(entry, row, exposures, [c for c in consumers if c.secret_id == row.id]) for row in rows]
        return CompromisedPlan(secrets=_in_order(found))


async def _exposures(entry: Entry, body: CompromisedRequest) -> Exposures:
    given = [name for name in ("secrets", "node", "user") if getattr(body, name) is not None]
    if len(given) != 1:
        rule = "give exactly one of secrets, node and user"
        raise InvalidInput(rule, problems=[Problem("body", rule, "one_of")])
    if body.node is not None:
        return await _by_node(entry, body.node)
    if body.user is not None:
        return await _by_principal(entry, body.user)
    return await _named(entry, body.secrets or [])


async def _named(entry: Entry, texts: list[str]) -> Exposures:
    if not 1 <= len(texts) <= MAX_NAMED:
        rule = f"name 1 to {MAX_NAMED} secrets"
        raise InvalidInput(rule, problems=[Problem("body.secrets", rule, "bad_names")])
    exposures, missing = Exposures(), []
    for number, text in enumerate(texts):
        secret_id = _id(text)
        if secret_id is not None:
            found = [row.id for row in await secrets_by_id(entry.session, [secret_id])
                     if entry.permits(Permission.SECRET_LIST, row.resource())]  # fmt: skip
        else:
            wanted = SecretFilter(name=text)
            found = [row.id async for row in _held(entry, entry.actor.id, Permission.SECRET_LIST, wanted)]
        if not found:
            missing.append(Problem(f"body.secrets[{number}]", "no secret of that name or id that you may list", "unavailable"))
        for one in found:
            if one not in exposures.reasons:
                exposures.add(one, "named")
    if missing:
        raise Unavailable("some of the secrets do not exist, or you may not list them", problems=missing)
    return exposures


async def _by_node(entry: Entry, name: str) -> Exposures:
    nodes = await all_nodes(entry.session, name=name)
    if not nodes:
        raise Unavailable("there is no node of that name")
    entry.amend(resource_kind="node", resource_id=nodes[0].id, node=name)
    exposures = Exposures(node_id=nodes[0].id)
    for seen in await usage_rows.seen_by_node(entry.session, nodes[0].id):
        exposures.add(seen.secret_id, "released", seen.subject, seen.version, seen.at)
    return exposures


async def _by_principal(entry: Entry, name: str) -> Exposures:
    kinds = (PrincipalKind.USER, PrincipalKind.SERVICE_ACCOUNT)
    principals = [await principal_rows.principal_by_name(entry.session, kind, name) for kind in kinds]
    known = [one for one in principals if one is not None]
    if not known:
        raise Unavailable("there is no user and no service account of that name; a deleted one's rows are in the audit log")
    exposures = Exposures()
    for principal in known:
        entry.amend(resource_kind="principal", resource_id=principal.id)
        subjects = await principal_rows.subjects_of(entry.session, principal.id)
        bindings = [row.binding for row in await principal_rows.all_bindings(entry.session, subjects)]
        await _from_log(entry, await usage_rows.seen_by_principal(entry.session, principal.id), bindings, exposures)
        async for row in _held(entry, principal.id, Permission.SECRET_REVEAL):
            exposures.add(row.id, "may_reveal")
        if all(holds_anywhere(bindings, one, entry.now) for one in (Permission.APP_BUNDLE_WRITE, Permission.APP_DEPLOY)):
            async for row in _held(entry, principal.id, Permission.SECRET_USE):
                exposures.add(row.id, "may_print")
    return exposures


async def _from_log(entry: Entry, seen: list[SeenRow], bindings: list[Binding], exposures: Exposures) -> None:
    secrets = {row.id: row for row in await secrets_by_id(entry.session, sorted({one.secret_id for one in seen}))}
    for one in seen:
        row = secrets.get(one.secret_id)
        if row is None:
            continue
        if one.subject == AuditAction.SECRET_ROTATE and not _may_write(bindings, row, entry.now):
            continue  # who may rotate and not write got a generated value, which nobody was shown
        shown = (AuditAction.SECRET_REVEAL, AuditAction.SECRET_EXPORT)
        kinds = {AuditAction.SECRET_RESOLVE.value: "resolved", **{action.value: "revealed" for action in shown}}
        exposures.add(row.id, kinds.get(one.subject, "wrote"), "", one.version, one.at)


async def _held(
    entry: Entry, principal_id: UUID, permission: Permission, wanted: SecretFilter | None = None
) -> AsyncIterator[SecretRow]:
    """Every secret over which a principal holds ``permission`` now."""
    after = None
    while True:
        rows = await visible_page(
            entry.session, principal_id, permission, entry.now, wanted or SecretFilter(), after, _CHUNK
        )
        for row in rows:
            yield row
        if len(rows) < _CHUNK:
            return
        after = (rows[-1].name, rows[-1].id)


def _step(entry: Entry, row: SecretRow, exposures: Exposures, consumers: list[ConsumerRow]) -> CompromisedSecret:
    """One secret of the plan; its place in the order is found later."""
    reasons = exposures.reasons[row.id]
    in_use = {row.active_version} | ({row.latest_version} if row.rollout is not None else set())
    seen = [one.last_seen_at for one in reasons if one.last_seen_at is not None]
    return CompromisedSecret(
        order=0,
        secret_id=str(row.id),
        name=row.name,
        scope=ScopeView(app=row.scope_names.app, environment=row.scope_names.environment, node=row.scope_names.node),
        active_version=row.active_version,
        rollout=None if row.rollout is None else str(row.rollout),
        needed=any(one.kind in _ALWAYS or one.version in in_use for one in reasons),
        automatic=row.generator is not None or bool((row.rotation or {}).get("generate")),
        elsewhere=len({one.node_id for one in consumers} - {exposures.node_id}),
        last_seen_at=max(seen, default=None),
        reasons=reasons,
        consumers=[consumer_view(one) for one in consumers if visible_consumer(entry, one)],
    )


def _in_order(found: Iterable[CompromisedSecret]) -> list[CompromisedSecret]:
    """Needed ones first; then what was really seen before what only could have been; then what runs on most other nodes, what was
    seen last, and by name."""

    def key(one: CompromisedSecret) -> tuple[bool, bool, int, float, str, str]:
        fact = any(reason.kind not in {"may_reveal", "may_print"} for reason in one.reasons)
        age = -((one.last_seen_at or _LONG_AGO) - _LONG_AGO).total_seconds()
        return not one.needed, not fact, -one.elsewhere, age, one.name, one.secret_id

    return [msgspec.structs.replace(one, order=number) for number, one in enumerate(sorted(found, key=key), 1)]


def _may_write(bindings: list[Binding], row: SecretRow, now: datetime) -> bool:
    return isinstance(decide(bindings, Permission.SECRET_WRITE, row.resource(), now), Allowed)


def _id(text: str) -> UUID | None:
    try:
        return UUID(text) if len(text) == 36 else None
    except ValueError:
        return None

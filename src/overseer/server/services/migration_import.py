"""Secrets from another instance, with the ids and the history that they had there.

Guarantees: all or nothing, in one transaction that decides anew and finds everything as it was compared, or changes nothing;
every version is encrypted for this instance, with a data key of its own; ids and numbers of versions, the active one, who made
them and when are as they were; what came before is left alone, so an import whose answer was lost can be repeated; versions that
were made there since come later, by another archive. Two sources of new values at once are prevented: a schedule comes along
paused, and a rotator does not come. Each import can be taken back like any other. It won't make a version of a value that it
already has, delete anything, or give a secret another place.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from uuid import UUID

from overseer.core.access import Resource
from overseer.core.approvals import Asked, Guarded, GuardedAction, Operation, requirement
from overseer.core.audit_events import AuditAction
from overseer.core.backend_references import BackendReference, grant_name
from overseer.core.errors import AlreadyExists, ApprovalRequired, BatchRefused, Conflict, Problem
from overseer.core.identifiers import new_id
from overseer.core.permissions import Permission
from overseer.core.principals import Caller
from overseer.core.scopes import Scope
from overseer.crypto.envelope import ValueContext
from overseer.interchange.migration_archive import MovedVersion
from overseer.server.services.approval_guard import (
    CODE,
    activation_of,
    creation_of,
    new_place,
    refusal_of,
    secret_place,
)
from overseer.server.services.gate import Entry, Gate
from overseer.server.services.key_service import KeyService
from overseer.server.services.migration_candidate import Candidate, label
from overseer.server.services.migration_comparison import WRITING, MigrationComparisons, Plan
from overseer.server.services.rotation_service import refuse_where_rotated
from overseer.server.services.secret_access import stands_as_seen
from overseer.server.storage import backend_rows, import_rows, migration_rows, secret_rotation_rows, secret_rows
from overseer.server.storage.approval_policy_rows import guarding
from overseer.server.storage.import_rows import NewItem
from overseer.server.storage.migration_rows import ArrivingSecret, ArrivingVersion, PartHere
from overseer.server.storage.node_rows import insert_node
from overseer.server.storage.scope_rows import Part, ensure_scope, insert_part
from overseer.server.storage.version_rows import StoredVersion, begin_grace
from overseer.wire.migrations import (
    MigrationArchive,
    MigrationCompared,
    MigrationComparison,
    MigrationImport,
    MigrationImported,
    MigrationResult,
)
from overseer.wire.secrets import ScopeView

_CREATING = {
    Part.APP: AuditAction.APP_CREATE,
    Part.ENVIRONMENT: AuditAction.ENVIRONMENT_CREATE,
    Part.NODE: AuditAction.NODE_CREATE,
}
_MEANWHILE = "something that the archive was compared with was changed meanwhile; try again"
_DONE = {"new": "create", "newer": "update", "same": "skip", "ahead": "skip"}
_ITEMS = 500


class MigrationImports:
    """See the module's text."""

    def __init__(self, gate: Gate, keys: KeyService, comparisons: MigrationComparisons) -> None:
        self._gate = gate
        self._keys = keys
        self._comparisons = comparisons

    async def compare(self, caller: Caller, body: MigrationArchive) -> MigrationComparison:
        """Whether every version of every secret of an archive is here with the same value. Needs ``migration:import`` and
        ``secret:list``, and ``secret:reveal`` for each whose value is compared; of the others it says nothing.

        Raises :class:`Denied`, :class:`InvalidInput`.
        """
        caller = replace(caller, reason=body.reason or caller.reason)
        plan = await self._comparisons.plan(caller, body, Permission.SECRET_LIST, asks_signer=True)
        return MigrationComparison(
            instance=str(plan.archive.head.instance),
            created_at=plan.archive.head.created_at,
            signed_by=plan.signed_by,
            results=[_compared(one) for one in plan.candidates],
        )

    async def take_in(self, caller: Caller, body: MigrationImport) -> MigrationImported:
        """Store what is not here yet, or say what would be. Needs ``migration:import`` and ``secret:write`` for each, and the
        right to create the apps, environments and nodes that do not exist.

        Raises :class:`BatchRefused` with every secret that is in the way where ``on_conflict`` is ``fail``,
        :class:`ApprovalRequired`, :class:`Denied`, :class:`InvalidInput`, :class:`Conflict` where something changed meanwhile.
        """
        caller = replace(caller, reason=body.reason or caller.reason)
        plan = await self._comparisons.plan(caller, body, Permission.SECRET_WRITE, asks_signer=body.dry_run)
        failing = [Problem(label(one), one.why, "conflict") for one in plan.candidates if one.state == "conflict"]
        if failing and not body.dry_run and body.on_conflict == "fail":
            message = (
                f"nothing was imported: {len(failing)} of {len(plan.candidates)} secrets cannot come; on_conflict "
                "(--on-conflict) skip leaves them out"
            )
            async with self._entered(caller, plan):
                raise BatchRefused(message, problems=failing)
        chosen = [one for one in plan.candidates if one.state in ("new", "newer")]
        parts = _needed(plan, chosen)
        imports = [] if body.dry_run or not chosen else await self._store(caller, plan, chosen, parts)
        return MigrationImported(
            instance=str(plan.archive.head.instance),
            created_at=plan.archive.head.created_at,
            signed_by=plan.signed_by,
            dry_run=body.dry_run,
            created=[f"{one.part} {one.name}" for one in parts],
            results=[_result(one, body.on_conflict) for one in plan.candidates],
            imports=[str(one) for one in imports],
        )

    @asynccontextmanager
    async def _entered(self, caller: Caller, plan: Plan) -> AsyncIterator[Entry]:
        """The gate of an import, with the row that says whose archive it is; ``failed`` where the block raises."""
        async with self._gate.enter(caller, AuditAction.MIGRATION_IMPORT) as entry:
            entry.authorise_list(Permission.MIGRATION_IMPORT, Resource("migration"))
            entry.amend(code=str(plan.archive.head.instance), resource_name=plan.signed_by)
            yield entry

    async def _store(self, caller: Caller, plan: Plan, chosen: Sequence[Candidate], parts: Sequence[PartHere]) -> list[UUID]:
        await self._keys.prepare_to_encrypt(sum(len(one.arriving) for one in chosen))
        try:
            async with self._entered(caller, plan) as entry:
                await _make_parts(entry, parts)
                await _lock(entry, [one for one in chosen if one.row is not None])
                await _let_in(entry, chosen)
                places = {one.scope: one.names for one in chosen}
                scopes = {scope: await ensure_scope(entry.session, new_id(entry.now), scope) for scope in places}
                await self._insert(entry, chosen, scopes)
                return await _remember(entry, plan, chosen)
        except AlreadyExists:
            raise Conflict(_MEANWHILE) from None

    async def _insert(self, entry: Entry, chosen: Sequence[Candidate], scopes: dict[Scope[UUID], UUID]) -> None:
        new = [one for one in chosen if one.row is None]
        await migration_rows.insert_arriving(entry.session, [_arriving(one, scopes[one.scope], entry.actor.id) for one in new])
        versions = []
        for one in chosen:
            versions += [self._sealed(one, version, scopes[one.scope]) for version in one.arriving]
            await asyncio.sleep(0)  # the process serves others, too
        await migration_rows.insert_versions(entry.session, versions)
        for one in new:
            await _tie(entry, one)
        for one in chosen:
            if one.row is not None:
                active = one.sent.about.active
                await migration_rows.advance(entry.session, one.row.id, one.latest, active)
                if active != one.row.active_version:
                    await begin_grace(entry.session, one.row.id, one.row.active_version, active)

    def _sealed(self, one: Candidate, version: MovedVersion, scope_id: UUID) -> ArrivingVersion:
        secret_id = one.sent.about.id
        sealed = self._keys.encrypt(version.value, ValueContext(self._keys.instance_id, secret_id, version.id, scope_id))
        fields = (sealed.format, sealed.term, sealed.wrapped_dek, sealed.ciphertext)
        stored = StoredVersion(secret_id, version.number, version.id, scope_id, *fields)
        return ArrivingVersion(stored, version.readable_until, version.created_at, version.creator)


def _needed(plan: Plan, chosen: Sequence[Candidate]) -> list[PartHere]:
    """The parts that have to be made for those that come."""
    wanted = {part for one in chosen for part in (one.scope.app, one.scope.environment, one.scope.node)}
    return [one for one in plan.arriving if one.id in wanted]


async def _make_parts(entry: Entry, parts: Sequence[PartHere]) -> None:
    for one in parts:
        resource = Resource(one.part.value, one.name, id=one.id)
        entry.authorise(WRITING[one.part], resource, action=_CREATING[one.part])
        if one.part is Part.NODE:
            await insert_node(entry.session, one.id, one.name, one.description, one.labels)
        else:
            await insert_part(entry.session, one.part, one.id, one.name, one.description)


async def _lock(entry: Entry, known: Sequence[Candidate]) -> None:
    """Lock what gets more versions. Raises :class:`Conflict` where it is not as it was compared, or may not have any."""
    rows = await secret_rows.lock_secrets(entry.session, [one.sent.about.id for one in known])
    for one in known:
        seen, row = one.row, rows.get(one.sent.about.id)
        if seen is None or row is None or not stands_as_seen(seen, row):
            raise Conflict(_MEANWHILE)
        if (seen.latest_version, seen.revision) != (row.latest_version, row.revision):
            raise Conflict(_MEANWHILE)
        await refuse_where_rotated(entry.session, row.id)


async def _let_in(entry: Entry, chosen: Sequence[Candidate]) -> None:
    """Decide anew about each secret, with a row for each version. Raises :class:`ApprovalRequired` with all that wait."""
    policies = await guarding(entry.session, [GuardedAction.ACTIVATE])
    problems = []
    for one in chosen:
        first = len(entry.events)
        for version in one.arriving:
            entry.authorise(Permission.SECRET_WRITE, one.resource(version.number), hide_without=Permission.SECRET_LIST)
        asked, place = _guarded(entry, one)
        if asked is None or requirement(policies, [place]) is None:
            continue
        waits = await refusal_of(entry, asked, [place], [Permission.SECRET_WRITE])
        if waits is not None:
            entry.deny_event(first, CODE)
            problems.append(Problem(label(one), waits.message, CODE))
    if problems:
        raise ApprovalRequired(f"nothing was imported: {len(problems)} secrets wait for approval", problems=problems)


def _guarded(entry: Entry, one: Candidate) -> tuple[Asked | None, Guarded]:
    """What an arrival comes to for policies: a secret that is made, or another version that becomes the active one."""
    if one.row is None:
        return creation_of(entry, one.scope, one.sent.about.name), new_place(one.resource(), one.metadata.labels)
    place = secret_place(Operation.ACTIVATE, one.row)
    active = one.sent.about.active
    return (None if active == one.row.active_version else activation_of(entry, one.row, active)), place


def _arriving(one: Candidate, scope_id: UUID, created_by: UUID) -> ArrivingSecret:
    about, metadata = one.sent.about, one.metadata
    return ArrivingSecret(
        id=about.id,
        scope_id=scope_id,
        name=about.name,
        latest=one.latest,
        active=about.active,
        description=metadata.description,
        labels=metadata.labels,
        owner=metadata.owner,
        expires_at=metadata.expires_at,
        generator=about.generator,
        rotation=metadata.rotation,
        created_by=created_by,
        created_at=about.created_at,
    )


async def _tie(entry: Entry, one: Candidate) -> None:
    """Backend and schedule of a new secret; what was fetched there is as old here."""
    about, source = one.sent.about, one.sent.about.source
    if one.backend is not None and source is not None:
        name = grant_name(source.backend, str(BackendReference.parse(source.ref)))
        resource = Resource("backend", name, one.scope, one.backend.id, one.names)
        entry.authorise(Permission.BACKEND_USE, resource, action=AuditAction.SECRET_SOURCE)
        fields = (source.ref, source.field, source.mode)
        await backend_rows.put_source(entry.session, about.id, one.backend, *fields, entry.actor.id)
        await backend_rows.note_try(entry.session, about.id, "", min(source.fetched_at, entry.now))
    if one.scheduled:
        await secret_rotation_rows.pause(entry.session, about.id, True)


async def _remember(entry: Entry, plan: Plan, chosen: Sequence[Candidate]) -> list[UUID]:
    """One import a scope, so that each can be seen and taken back by whoever may see what is in it."""
    by_scope: dict[Scope[UUID], list[Candidate]] = defaultdict(list)
    for one in chosen:
        by_scope[one.scope].append(one)
    made = []
    for scope, found in by_scope.items():
        for first in range(0, len(found), _ITEMS):
            made.append(new_id(entry.now))
            origin = f"migration from {plan.archive.head.instance}"
            await import_rows.insert_import(entry.session, made[-1], origin, scope, found[0].names, entry.actor.id)
            items = [
                NewItem(one.sent.about.id, None if one.row is None else one.row.active_version)
                for one in found[first : first + _ITEMS]
            ]
            await import_rows.insert_items(entry.session, made[-1], items)
            entry.note_beside(Resource("import", id=made[-1]), AuditAction.IMPORT_CREATE, str(len(items)))
    return made


def _result(one: Candidate, on_conflict: str) -> MigrationResult:
    return MigrationResult(
        id=str(one.sent.about.id),
        name=one.sent.about.name,
        scope=_view(one.names),
        state=one.state,
        done=_DONE.get(one.state, on_conflict),
        versions=len(one.arriving),
        why=one.why,
        notes=one.notes,
    )


def _compared(one: Candidate) -> MigrationCompared:
    state, why = "different", one.why
    if one.state == "new":
        state = "missing"
    elif one.hidden:
        state = "hidden"
    elif one.state == "newer":
        why = f"{len(one.arriving)} of its versions are not here"
    elif one.state == "ahead":
        why = "it has newer versions here"
    elif one.state == "same" and one.row is not None:
        moved = one.row.active_version != one.sent.about.active
        state, why = ("different", "another version is the active one here") if moved else ("equal", "")
    return MigrationCompared(id=str(one.sent.about.id), name=one.sent.about.name, scope=_view(one.names), state=state, why=why)


def _view(names: Scope[str]) -> ScopeView:
    return ScopeView(app=names.app, environment=names.environment, node=names.node)

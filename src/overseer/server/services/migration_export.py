"""Secrets with their whole history, as one signed and encrypted file for another instance.

Guarantees: all or nothing, with every secret that cannot be had in one error; each version that leaves has its own audit row,
committed before anything is decrypted; what a policy guards needs an approval for each version, for each is seen by whoever opens
the file. Values are decrypted one after the other into the age stream, so one at a time is plain in memory and none anywhere
else. Nothing about deployments, tokens, bindings, agents or backends' credentials comes along. It won't take what the caller may
not even list, and says nothing of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from overseer import __version__
from overseer.core.access import Resource
from overseer.core.approvals import GuardedAction, Operation, requirement
from overseer.core.audit_events import AuditAction, AuditEvent
from overseer.core.errors import ApprovalRequired, Conflict, InvalidInput, Problem, TooLarge, Unavailable
from overseer.core.permissions import Permission
from overseer.core.principals import Caller
from overseer.core.scopes import Scope
from overseer.crypto.age_keys import Recipient
from overseer.crypto.signed_manifest import instance_key
from overseer.interchange.migration_archive import (
    FORMAT,
    MAX_BYTES,
    MAX_SECRETS,
    MAX_VERSIONS,
    ArchiveWriter,
    Head,
    MovedVersion,
    PartLine,
    SecretLine,
    SourceLine,
    fingerprint,
)
from overseer.server.services.approval_guard import CODE, refusal_of, reveal_of, secret_place
from overseer.server.services.gate import Entry, Gate
from overseer.server.services.key_service import KeyService
from overseer.server.services.places import find_place
from overseer.server.services.secret_input import refusal
from overseer.server.services.source_refresh import SourceRefresh
from overseer.server.services.value_opener import ValueOpener
from overseer.server.storage import backend_rows, migration_rows
from overseer.server.storage.approval_policy_rows import guarding
from overseer.server.storage.backend_rows import SourceRow
from overseer.server.storage.migration_rows import PartHere, VersionHere
from overseer.server.storage.secret_rows import SecretRow
from overseer.server.storage.version_rows import StoredVersion, stored_versions
from overseer.wire.migrations import MigrationExport

_TOO_MANY = f"an archive has at most {MAX_SECRETS} secrets and {MAX_VERSIONS} versions: move one app at a time"
_NOTHING = "name apps, an environment, a node or the global scope, or say that everything is meant, and not both"


@dataclass(frozen=True, slots=True)
class MigrationFile:
    """``content`` is an age file, and no plain text; ``signed_by`` the fingerprint of the key that signed what is in it."""

    instance_id: UUID
    signed_by: str
    secrets: int
    versions: int
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Leaving:
    """One secret with all that comes along: its versions in order of their numbers, each with its audit row."""

    row: SecretRow
    versions: tuple[tuple[VersionHere, StoredVersion, AuditEvent], ...]
    source: SourceRow | None
    rotator: str


@dataclass(frozen=True, slots=True)
class _Selection:
    """What was let through at ``now``; or, before anything was asked, the sources that ``due`` lists."""

    now: datetime
    leaving: tuple[_Leaving, ...] = ()
    parts: tuple[PartHere, ...] = ()
    due: tuple[SourceRow, ...] = ()


class MigrationExports:
    """See the module's text."""

    def __init__(self, gate: Gate, keys: KeyService, opener: ValueOpener, sources: SourceRefresh) -> None:
        self._gate = gate
        self._keys = keys
        self._opener = opener
        self._sources = sources

    async def export(self, caller: Caller, body: MigrationExport) -> MigrationFile:
        """Needs ``migration:export`` and ``secret:reveal`` on each.

        Raises :class:`Denied`, :class:`Unavailable` or :class:`ApprovalRequired` with every secret, :class:`InvalidInput`,
        :class:`TooLarge`.
        """
        keyring = self._keys.keyring  # sealed: say so before a row claims that a value was released
        caller = replace(caller, reason=body.reason or caller.reason)
        found = await self._released(caller, body, ())
        if found.due:
            await self._sources.refresh(found.due, caller.request_id)
            found = await self._released(caller, body, [one.secret_id for one in found.due])
        key, keys = keyring.signing_key, [Recipient.parse(text) for text in body.recipients]
        writer = ArchiveWriter(keys, Head(format=FORMAT, instance=keyring.instance_id, created_at=found.now, release=__version__))
        for part in found.parts:
            writer.part(_part_line(part))
        for one in found.leaving:
            await self._write(writer, one, keyring.instance_id)
            await asyncio.sleep(0)  # the process serves others, too
        signed_by = fingerprint(instance_key(keyring.instance_id, key.public))
        count = sum(len(one.versions) for one in found.leaving)
        return MigrationFile(keyring.instance_id, signed_by, len(found.leaving), count, writer.finish(key))

    async def _write(self, writer: ArchiveWriter, one: _Leaving, instance_id: UUID) -> None:
        writer.secret(_secret_line(one))
        for known, stored, event in one.versions:
            value = (await self._opener.open_all([(stored, event)]))[0]
            creator = known.creator or (f"{known.maker} at {instance_id}" if known.maker else "")
            writer.version(MovedVersion(known.id, known.version, known.created_at, creator, known.readable_until, value))

    async def _released(self, caller: Caller, body: MigrationExport, asked: Collection[UUID]) -> _Selection:
        async with self._gate.enter(caller, AuditAction.MIGRATION_EXPORT) as entry:
            entry.authorise_list(Permission.MIGRATION_EXPORT, Resource("migration"))
            _check(body)
            rows = await _selected(entry, body)
            counts = await _admit(entry, rows)
            due = [] if asked else await self._sources.due(entry, rows)
            if due:
                entry.postpone()
                return _Selection(entry.now, due=tuple(due))
            await self._sources.judge(entry, rows, asked)
            events = iter(entry.events[-sum(counts) :])
            of = {row.id: [next(events) for _ in range(count)] for row, count in zip(rows, counts, strict=True)}
            leaving = await _gathered(entry, rows, of)
            return _Selection(entry.now, tuple(leaving), tuple(await _parts(entry, rows)))


def _check(body: MigrationExport) -> None:
    """What is wrong with the request itself, before anything is released."""
    named = bool(body.apps or body.environment or body.node or body.with_global)
    if named == body.everything:
        raise refusal("body", _NOTHING, "one_of")
    problems = []
    for number, text in enumerate(body.recipients):
        try:
            Recipient.parse(text)
        except InvalidInput as error:
            problems.append(Problem(f"body.recipients[{number}]", error.message, "bad_recipient"))
    if problems:
        raise InvalidInput(problems[0].rule, problems=problems)


async def _selected(entry: Entry, body: MigrationExport) -> list[SecretRow]:
    """The secrets that are meant, as far as the caller may list them."""
    named: list[str | None] = [*body.apps] or [None]
    places = [await find_place(entry.session, Scope(app, body.environment, body.node)) for app in named]
    for place in places:
        if place.missing and place.known_to(entry):
            entry.refuse(place.resource(), "unavailable")
            raise place.unknown()
    apps = [place.scope.app for place in places if place.scope.app is not None] if body.apps else None
    if not (body.apps or body.environment or body.node or body.everything):
        apps = []  # the global scope alone
    at = places[0].scope
    rows = await migration_rows.secrets_of_scopes(entry.session, apps, at.environment, at.node, with_global=body.with_global)
    rows = [row for row in rows if entry.permits(Permission.SECRET_LIST, row.resource())]
    if not rows:
        entry.refuse(Resource("migration"), "unavailable")
        raise Unavailable("there is no secret there that you may list: name other scopes, or ask for the rights")
    if len(rows) > MAX_SECRETS or sum(row.latest_version for row in rows) > MAX_VERSIONS:
        raise TooLarge(_TOO_MANY)
    return rows


async def _admit(entry: Entry, rows: Iterable[SecretRow]) -> list[int]:
    """Write the row of each version of each secret, in order, and give how many each has; raises for all that are refused."""
    policies = await guarding(entry.session, [GuardedAction.REVEAL])
    counts, problems = [], []
    for row in rows:
        problem = await _refused(entry, row, guarded=requirement(policies, [secret_place(Operation.REVEAL, row)]) is not None)
        problems += [] if problem is None else [problem]
        counts.append(row.latest_version)
    if problems:
        kind = ApprovalRequired if all(one.code == CODE for one in problems) else Unavailable
        raise kind(f"nothing was exported: {len(problems)} of {len(counts)} secrets cannot be", problems=problems)
    return counts


async def _refused(entry: Entry, row: SecretRow, *, guarded: bool) -> Problem | None:
    """Write the rows of one secret; the problem where it is refused."""
    place = f"{row.name} ({row.scope_names})"
    needed = (Permission.MIGRATION_EXPORT, Permission.SECRET_REVEAL)
    lacking = [one for one in needed if not entry.permits(one, row.resource())]
    if lacking:
        entry.refuse(row.resource(), "no_binding", action=AuditAction.SECRET_EXPORT)
        return Problem(place, f"you lack {' and '.join(lacking)} for this secret", "denied")
    for version in range(1, row.latest_version + 1):
        entry.authorise(Permission.SECRET_REVEAL, row.resource(version), action=AuditAction.SECRET_EXPORT)
        if not guarded:
            continue
        places = [secret_place(Operation.REVEAL, row)]
        waits = await refusal_of(entry, reveal_of(entry, row, version), places, [Permission.SECRET_REVEAL])
        if waits is not None:
            entry.deny_event(-1, CODE)
            return Problem(place, f"version {version}: {waits.message}", CODE)
    return None


async def _gathered(entry: Entry, rows: Iterable[SecretRow], events: Mapping[UUID, list[AuditEvent]]) -> list[_Leaving]:
    ids = list(events)
    known = {(one.secret_id, one.version): one for one in await migration_rows.versions_here(entry.session, ids)}
    stored = await stored_versions(entry.session, list(known), MAX_BYTES)
    sources = await backend_rows.sources_of(entry.session, ids)
    rotators = await migration_rows.rotator_kinds(entry.session, ids)
    leaving = []
    for row in rows:
        keys = [(row.id, number) for number in range(1, row.latest_version + 1)]
        if any(key not in stored or known[key].id != stored[key].id for key in keys):
            raise Conflict("a secret was moved or deleted meanwhile; try again")
        versions = tuple((known[key], stored[key], event) for key, event in zip(keys, events[row.id], strict=True))
        leaving.append(_Leaving(row, versions, sources.get(row.id), rotators.get(row.id, "")))
    return leaving


async def _parts(entry: Entry, rows: Iterable[SecretRow]) -> list[PartHere]:
    ids = {part for row in rows for part in (row.scope.app, row.scope.environment, row.scope.node) if part is not None}
    return await migration_rows.parts_here(entry.session, ids, ())


def _part_line(part: PartHere) -> PartLine:
    return PartLine(part=part.part.value, id=part.id, name=part.name, description=part.description, labels=part.labels)


def _secret_line(one: _Leaving) -> SecretLine:
    row, source = one.row, None
    if one.source is not None:
        found = one.source
        source = SourceLine(backend=found.backend, ref=found.ref, field=found.field, mode=found.mode, fetched_at=found.fetched_at)
    return SecretLine(
        id=row.id,
        name=row.name,
        app=row.scope_names.app,
        environment=row.scope_names.environment,
        node=row.scope_names.node,
        description=row.description,
        labels=row.labels,
        owner=row.owner,
        expires_at=row.expires_at,
        created_at=row.created_at,
        generator=row.generator,
        rotation=row.rotation,
        source=source,
        rotator=one.rotator,
        active=row.active_version,
    )

"""Secrets whose values come from backends: asked when a value is about to leave, kept as encrypted versions in between.

What is taken becomes a version of the secret like any other, so the cache is encrypted, rotated, verified and audited by what is
there already. Guarantees: a value older than its backend's ``ttl`` is asked for before it leaves; one that could not be asked for
leaves only within ``stale_if_error`` and ``max_age``, and its audit row and answer say ``stale``; where the backend refused, or
did not know the reference, nothing leaves. All secrets of one request from one backend are asked for in one round; the same
secret is never asked for twice at once by one process; an answer that was asked for earlier never replaces one asked for later.

It decides nothing: callers were let through, and come back through the gate afterwards.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final
from uuid import UUID

from overseer.compose.fields import select_field
from overseer.core.audit_events import AuditAction, AuditEvent, Outcome
from overseer.core.backend_references import BackendReference
from overseer.core.errors import BackendRefused, BackendUnavailable, InvalidInput, NotReady, OverseerError, Problem
from overseer.core.secret_value import SecretValue
from overseer.server.backends.contract import ABSENT, BackendFailure, Stage
from overseer.server.services.backend_calls import RETRY_SECONDS, BackendCalls
from overseer.server.services.gate import Entry, Gate
from overseer.server.services.key_service import KeyService
from overseer.server.services.rollout_driver import RolloutDriver
from overseer.server.services.secret_storing import seal_version_at
from overseer.server.services.source_rights import still_wanted
from overseer.server.services.value_opener import open_stored
from overseer.server.storage import backend_rows, secret_rows
from overseer.server.storage.backend_rows import SourceRow
from overseer.server.storage.database import Session
from overseer.server.storage.rollout_rows import running_rollout
from overseer.server.storage.secret_rows import SecretRow
from overseer.server.storage.version_rows import begin_grace, insert_version, stored_versions

STALE: Final = "stale"
REQUEST_ID: Final = "source-sync"
SYNC_SECONDS: Final = 10
SYNC_AT_ONCE: Final = 200
_RELEASES: Final = frozenset(
    {AuditAction.SECRET_EXPORT, AuditAction.SECRET_REVEAL, AuditAction.SECRET_RESOLVE, AuditAction.SECRET_USE}
)
AGAIN: Final = timedelta(seconds=2)
_LOG: Final = logging.getLogger("overseer.server")


class SourceRefresh:
    """One instance a server process, used by one event loop."""

    def __init__(self, gate: Gate, keys: KeyService, calls: BackendCalls, rollouts: RolloutDriver) -> None:
        self._gate = gate
        self._keys = keys
        self._calls = calls
        self._rollouts = rollouts
        self._flying: dict[UUID, asyncio.Task[None]] = {}

    async def due(self, entry: Entry, secrets: Iterable[SecretRow]) -> list[SourceRow]:
        """The sources of those of the secrets that have to be asked for before their values leave.

        Also those whose rows were read before the answer that somebody else asked for was stored: the source is fresh by now,
        the version that the row names is not. To :meth:`refresh` them asks nobody, and the caller reads the rows anew.
        """
        sourced = {row.id: row.active_version for row in secrets if row.source is not None}
        if not sourced:
            return []
        found = await backend_rows.sources_of(entry.session, list(sourced))
        return [
            source
            for secret_id, source in found.items()
            if is_due(source, entry.now) or (source.mode == "pull" and source.active_version != sourced[secret_id])
        ]

    async def judge(self, entry: Entry, secrets: Iterable[SecretRow], asked: Iterable[UUID] = ()) -> None:
        """Mark the audit rows of stale values, or raise for those that may not leave: :class:`BackendRefused`,
        :class:`BackendUnavailable`, and :class:`NotReady` where a secret got its source at this moment.

        ``asked``: what this request has asked for itself.
        """
        sourced = {row.id: row for row in secrets if row.source is not None}
        if not sourced:
            return
        asked, problems, stale = frozenset(asked), [], set()
        errors: list[OverseerError] = []
        for secret_id, source in (await backend_rows.sources_of(entry.session, list(sourced))).items():
            try:
                if judge(source, entry.now, asked) == STALE:
                    stale.add(secret_id)
            except OverseerError as error:
                errors.append(error)
                problems.append(Problem(sourced[secret_id].name, error.message, error.code))
        if errors:
            errors[0].problems = tuple(problems)
            raise errors[0]
        for at, event in enumerate(entry.events):
            if event.action in _RELEASES and event.resource_id in stale and event.outcome is Outcome.ALLOWED:
                entry.events[at] = replace(event, code=STALE)

    async def refresh(self, sources: Sequence[SourceRow], request_id: str) -> None:
        """Ask for all of them, one round a backend, and keep what came. Call it with no transaction open."""
        new: dict[UUID, list[SourceRow]] = defaultdict(list)
        for source in sources:
            if source.secret_id not in self._flying:
                new[source.backend_id].append(source)
        for backend_id, members in new.items():
            task = asyncio.create_task(self._round(backend_id, members, request_id))
            for member in members:
                self._flying[member.secret_id] = task
            task.add_done_callback(partial(self._landed, [member.secret_id for member in members]))
        tasks = {self._flying[source.secret_id] for source in sources if source.secret_id in self._flying}
        # Shielded: somebody who goes away does not take the answer from the others who wait for it.
        for outcome in await asyncio.gather(*map(asyncio.shield, tasks), return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome

    def _landed(self, secret_ids: Iterable[UUID], _: object) -> None:
        for secret_id in secret_ids:
            self._flying.pop(secret_id, None)

    async def run(self) -> None:
        """The leader's job: secrets of the mode sync whose time has come, while whoever tied them still may. A failure of one
        backend does not stop the others."""
        async with self._gate.own_work() as (session, events):
            due = await backend_rows.sources_to_sync(session, SYNC_SECONDS, SYNC_AT_ONCE)
            waiting, refused = await still_wanted(session, due, REQUEST_ID)
            events.extend(refused)
        by_backend: dict[UUID, list[SourceRow]] = defaultdict(list)
        for source in waiting:
            by_backend[source.backend_id].append(source)
        outcomes = await asyncio.gather(
            *(self.refresh(members, REQUEST_ID) for members in by_backend.values()), return_exceptions=True
        )
        for outcome in outcomes:
            if isinstance(outcome, OverseerError):
                _LOG.warning("secrets of a backend could not be brought up to date: %s", outcome.code)
            elif isinstance(outcome, BaseException):
                raise outcome

    async def _round(self, backend_id: UUID, members: Sequence[SourceRow], request_id: str) -> None:
        async with self._gate.own_work() as (session, _):
            backend = await backend_rows.backend_by_id(session, backend_id)
            began = await session.fetchval("database_clock")
            now = await backend_rows.sources_of(session, [one.secret_id for one in members])
        # Another request, here or on a replica, may have stored an answer since these were found to be due.
        members = [one for one in members if one.mode == "sync" or (one.secret_id in now and is_due(now[one.secret_id], began))]
        if backend is None or not members:
            return
        found = await self._calls.fetch(backend, [BackendReference.parse(one.ref) for one in members])
        values = {one.secret_id: taken(found[BackendReference.parse(one.ref)], one.field) for one in members}
        await self._keys.prepare_to_encrypt(len(members))
        async with self._gate.own_work() as (session, events):
            secrets = await secret_rows.lock_secrets(session, sorted(values))
            now = await backend_rows.sources_of(session, list(secrets))
            for one in members:
                source, secret = now.get(one.secret_id), secrets.get(one.secret_id)
                if source is None or secret is None or source.fetched_at > began or not _same(one, source, backend.revision):
                    continue
                events.extend(await self._keep(session, secret, source, values[one.secret_id], began, request_id))
        self._rollouts.wake()

    async def _keep(
        self,
        session: Session,
        secret: SecretRow,
        source: SourceRow,
        found: SecretValue | BackendFailure,
        began: datetime,
        request_id: str,
    ) -> list[AuditEvent]:
        if isinstance(found, BackendFailure):
            await backend_rows.note_try(session, secret.id, found.stage.value, began)
            changed = found.stage.value != source.failure
            return [_event(secret, source, request_id, Outcome.FAILED, found.stage.value)] if changed else []
        if source.mode == "sync" and await running_rollout(session, secret.id) is not None:
            return []  # the next try comes when that rollout has ended
        await backend_rows.note_try(session, secret.id, "", began)
        return await self.store(session, secret, source.mode, found, source.created_by, request_id)

    async def store(
        self, session: Session, secret: SecretRow, mode: str, value: SecretValue, by: UUID | None, request_id: str
    ) -> list[AuditEvent]:
        """A new version where the value is another than the newest; active at once (pull) or by a rollout (sync).

        The caller holds the secret's lock. The rows of what was done.
        """
        newest = (await stored_versions(session, [(secret.id, secret.latest_version)]))[secret.id, secret.latest_version]
        keyring = await self._keys.keyring_for({newest.kek_term})
        same = hmac.compare_digest(open_stored(newest, keyring).reveal(), value.reveal())
        if same and (mode == "sync" or secret.active_version == secret.latest_version):
            return []
        version = secret.latest_version
        if not same:
            version += 1
            now = await session.fetchval("database_clock")
            sealed = seal_version_at(now, self._keys, secret.id, secret.scope_id, version, value)
            await insert_version(session, sealed, by)
        rollout = None if mode == "pull" else await self._rollouts.begin(session, secret, version, by)
        if same:
            await secret_rows.activate_version(session, secret.id, version)
        else:
            await secret_rows.add_version(session, secret.id, version, rollout is None, None)
        event = _event(secret, None, request_id, Outcome.ALLOWED, "", by, version)
        if rollout is None:
            await begin_grace(session, secret.id, secret.active_version, version)
            return [event]
        return [event, replace(event, action=AuditAction.ROLLOUT_START, code=f"nodes:{rollout.nodes}")]


def is_due(source: SourceRow, now: datetime) -> bool:
    """True where the value has to be asked for before it leaves; what the leader keeps up to date never has."""
    if source.mode != "pull":
        return False
    if source.failure:
        return now >= source.tried_at + AGAIN
    return now >= source.fetched_at + timedelta(seconds=source.ttl)


def judge(source: SourceRow, now: datetime, asked: frozenset[UUID]) -> str:
    """'' for a fresh value, :data:`STALE` for an older one that may leave. Raises for one that may not."""
    age = (now - source.fetched_at).total_seconds()
    name = source.backend
    if source.failure and source.failure not in ABSENT:
        raise BackendRefused(f"backend {name} ({source.failure}): nothing is given while it refuses this reference; test it")
    if source.failure:
        if age > min(source.ttl + source.stale_if_error, source.max_age):
            message = (
                f"backend {name} ({source.failure}): it is away, and what is kept is {int(age)} seconds old, which is too old"
            )
            raise BackendUnavailable(message, retry_after=RETRY_SECONDS)
        return STALE
    if source.mode == "sync":
        if age > max(source.max_age, source.ttl + 6 * SYNC_SECONDS):
            why = "whoever tied it may not any more: tie it again" if source.stopped else "the last comparison is too old"
            raise BackendUnavailable(f"backend {name}: {why}", retry_after=RETRY_SECONDS)
        return ""
    if source.secret_id not in asked and age >= source.ttl:
        raise NotReady("the secret got another source at this moment; try again", retry_after=1)
    return ""


def taken(found: SecretValue | BackendFailure, field: str) -> SecretValue | BackendFailure:
    """The field of a value, or the failure of one that has not got it."""
    if isinstance(found, BackendFailure) or not field:
        return found
    try:
        return select_field(found, field, "there")
    except InvalidInput:
        return BackendFailure(Stage.FIELD, f"the value there has no field {field}, or is no JSON object")


def _same(asked: SourceRow, now: SourceRow, revision: int) -> bool:
    """True where what was asked for is what is wanted still, by the settings it was asked with."""
    return (asked.backend_id, asked.ref, asked.field) == (now.backend_id, now.ref, now.field) and now.revision == revision


def _event(
    secret: SecretRow,
    source: SourceRow | None,
    request_id: str,
    outcome: Outcome,
    code: str,
    by: UUID | None = None,
    version: int | None = None,
) -> AuditEvent:
    """The row of what the server does by itself, on behalf of whoever tied the secret to its source."""
    names = secret.scope_names
    return AuditEvent(
        action=AuditAction.SECRET_PULL,
        outcome=outcome,
        request_id=request_id,
        on_behalf_of=source.created_by if source else by,
        resource_kind="secret",
        resource_id=secret.id,
        resource_name=secret.name,
        app=names.app,
        environment=names.environment,
        node=names.node,
        version=version,
        code=code,
    )

"""Concurrent creates and new versions of one process, gathered into transactions: decided, locked, written and audited together.

Guarantees: only the plain case is done here, and it is done as ``secret_writing`` does it alone: the caller may, no approval is
needed, If-Match holds under the lock, the idempotency key is new, no rollout is running or needed, the name is free. One audit
row for each write commits with it. For everything else the answer is None and nothing was done: the gate's own transaction then
does or refuses it, and audits that. Tests hold the decisions in SQL against the gate's.

Locks are taken in one order (idempotency keys, then secrets by id, then names by scope), and what somebody else holds is left out
rather than waited for, so batches of several replicas neither wait for each other nor deadlock. Two writes of one secret are
never in one batch: each is a version of its own, in turn.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, TypeVar
from uuid import UUID

from overseer.core.access import Resource
from overseer.core.audit_events import AuditAction
from overseer.core.errors import AlreadyExists, Conflict, InvalidInput, NotReady, PreconditionFailed
from overseer.core.identifiers import check_name, new_id
from overseer.core.principals import Caller
from overseer.core.scopes import Scope
from overseer.server.services.gate import Entry, Gate, peer_address
from overseer.server.services.idempotency import Idempotency, IdempotencyKeeper
from overseer.server.services.key_service import KeyService
from overseer.server.services.request_batches import RequestBatches
from overseer.server.services.secret_input import Metadata, NewValue, check_secret_name, read_metadata, read_value
from overseer.server.services.secret_storing import seal_version
from overseer.server.services.secret_views import tagged_view
from overseer.server.services.tagged import Tagged, check_if_match
from overseer.server.storage.database import Session
from overseer.server.storage.secret_rows import NewSecret, SecretRow, lock_free_secrets
from overseer.server.storage.version_rows import StoredVersion
from overseer.server.storage.write_rows import (
    NewVersion,
    Permitted,
    PermittedCreate,
    PermittedUpdate,
    add_secrets,
    add_versions,
    decide_creates,
    decide_updates,
)
from overseer.wire.secrets import SecretCreate, SecretUpdate, SecretView

MOST_IN_BATCH: Final = 64
LARGE_VALUE: Final = 64 * 1024
"""Bytes; a longer value is written alone, so that a batch stays small in memory and short in its locks."""

_Written = Tagged[SecretView] | None


@dataclass(frozen=True, slots=True)
class _Update:
    caller: Caller
    secret_id: UUID
    value: NewValue = field(repr=False)
    activate: bool
    immediate: bool
    if_match: str | None
    idempotency: Idempotency | None


@dataclass(frozen=True, slots=True)
class _Create:
    caller: Caller
    place: Scope[str]
    name: str
    metadata: Metadata
    value: NewValue = field(repr=False)
    idempotency: Idempotency | None


Write = TypeVar("Write", _Update, _Create)


class WriteBatches:
    """One instance a server process, used by one event loop. Call ``KeyService.prepare_to_encrypt`` first."""

    def __init__(self, gate: Gate, keys: KeyService, idempotency: IdempotencyKeeper) -> None:
        self._gate = gate
        self._keys = keys
        self._idempotency = idempotency
        self.updates: RequestBatches[_Update, _Written] = RequestBatches(
            self._run_updates, most_in_batch=MOST_IN_BATCH, touches=_update_touches, whose=self._whose, kind="update"
        )
        self.creates: RequestBatches[_Create, _Written] = RequestBatches(
            self._run_creates, most_in_batch=MOST_IN_BATCH, touches=_create_touches, whose=self._whose, kind="create"
        )

    async def update(
        self, caller: Caller, secret_id: UUID, body: SecretUpdate, if_match: str | None, idempotency: Idempotency | None
    ) -> _Written:
        """The secret with its new version; None: nothing was done, ask the gate. Raises what :meth:`RequestBatches.ask` raises
        but :class:`InvalidInput`: what cannot be written in a batch is refused, and audited, by the gate."""
        try:
            value = read_value(body)
            if len(value.value) > LARGE_VALUE:
                return None
            update = _Update(caller, secret_id, value, body.activate, body.immediate, if_match, idempotency)
            return await self.updates.ask(update)
        except InvalidInput:
            return None

    async def create(self, caller: Caller, body: SecretCreate, idempotency: Idempotency | None) -> _Written:
        """The new secret; None and errors as for :meth:`update`."""
        try:
            name, metadata, value = check_secret_name(body.name), read_metadata(body), read_value(body)
            for part, text in (("app", body.app), ("environment", body.environment), ("node", body.node)):
                if text is not None:
                    check_name(text, f"body.{part}")
            if len(value.value) > LARGE_VALUE:
                return None
            place = Scope(body.app, body.environment, body.node)
            return await self.creates.ask(_Create(caller, place, name, metadata, value, idempotency))
        except InvalidInput:
            return None

    async def _run_updates(self, updates: Sequence[_Update]) -> list[_Written]:
        try:
            async with self._gate.own_work() as (session, events):
                asked = [(one.caller.token_hash, peer_address(one.caller.peer), one.secret_id, one.activate) for one in updates]
                permitted = await decide_updates(session, asked)
                entries = _entries(session, AuditAction.SECRET_UPDATE, updates, permitted)
                await self._claim(session, updates, entries)
                new = await self._new_versions(session, updates, entries, permitted)
                changed = await add_versions(session, list(new.values())) if new else {}
                done = {at: changed[one.row.id] for at, one in new.items() if one.row.id in changed}
                await self._remember(updates, {at: entries[at] for at in done}, done, 200)
                events += [entries[at].events[-1] for at in done]
        except (Conflict, AlreadyExists):
            raise _somebody_meanwhile() from None
        return self._answers(updates, permitted, done)

    async def _new_versions(
        self,
        session: Session,
        updates: Sequence[_Update],
        entries: Mapping[int, Entry],
        permitted: Mapping[int, PermittedUpdate],
    ) -> dict[int, NewVersion]:
        rows = await lock_free_secrets(session, [updates[at].secret_id for at in entries]) if entries else {}
        new: dict[int, NewVersion] = {}
        for at, entry in entries.items():
            one = updates[at]
            row = rows.get(one.secret_id)
            # What was decided was decided for that name at that scope, with those labels: what was moved or labelled meanwhile is
            # decided again.
            # What comes from a backend has no values of its own: the gate says so.
            if row is None or row.source is not None:
                continue
            if (row.scope_id, row.name, row.labels) != _decided_for(permitted[at]):
                continue
            if not _matches(one.if_match, row):
                continue
            stored = self._sealed(entry, row.id, row.scope_id, row.latest_version + 1, one.value)
            if stored is None:
                continue
            entry.accept(row.resource())
            entry.amend(version=stored.version)
            new[at] = NewVersion(row, stored, one.value.generator, entry.actor.id, one.activate, one.immediate)
        return new

    async def _run_creates(self, creates: Sequence[_Create]) -> list[_Written]:
        try:
            async with self._gate.own_work() as (session, events):
                asked = [
                    (one.caller.token_hash, peer_address(one.caller.peer), one.place, one.name, one.metadata.labels)
                    for one in creates
                ]
                permitted = await decide_creates(session, asked)
                entries = _entries(session, AuditAction.SECRET_CREATE, creates, permitted)
                await self._claim(session, creates, entries)
                new = self._new_secrets(creates, entries, permitted)
                made = await add_secrets(session, list(new.values())) if new else {}
                done = {
                    at: _created_row(secret, creates[at], permitted[at], made[secret.id])
                    for at, (secret, _) in new.items()
                    if secret.id in made
                }
                await self._remember(creates, {at: entries[at] for at in done}, done, 201)
                events += [entries[at].events[-1] for at in done]
        except (Conflict, AlreadyExists):
            raise _somebody_meanwhile() from None
        return self._answers(creates, permitted, done)

    def _new_secrets(
        self, creates: Sequence[_Create], entries: Mapping[int, Entry], permitted: Mapping[int, PermittedCreate]
    ) -> dict[int, tuple[NewSecret, StoredVersion]]:
        new: dict[int, tuple[NewSecret, StoredVersion]] = {}
        for at, entry in entries.items():
            one, place = creates[at], permitted[at]
            secret = _new_secret(entry, one, place.scope_id)
            stored = self._sealed(entry, secret.id, secret.scope_id, 1, one.value)
            if stored is None:
                continue
            entry.accept(Resource("secret", one.name, place.scope, scope_names=one.place))
            entry.amend(resource_id=secret.id, version=1)
            new[at] = (secret, stored)
        return new

    def _sealed(
        self, entry: Entry, secret_id: UUID, scope_id: UUID, version: int, value: NewValue
    ) -> StoredVersion | None:
        try:
            return seal_version(entry, self._keys, secret_id, scope_id, version, value.value)
        except NotReady:  # the block of wraps has run out under this batch: the next way reserves another one
            return None

    async def _claim(self, session: Session, writes: Sequence[Write], entries: dict[int, Entry]) -> None:
        """Take the idempotency keys; who cannot have its own leaves ``entries``."""
        keyed = {at: key for at in entries if (key := writes[at].idempotency) is not None}
        if keyed:
            free = await self._idempotency.claim(session, [(entries[at].actor.id, key) for at, key in keyed.items()])
            for position, at in enumerate(keyed):
                if position not in free:
                    del entries[at]

    async def _remember(
        self,
        writes: Sequence[Write],
        entries: Mapping[int, Entry],
        done: Mapping[int, SecretRow],
        status: int,
    ) -> None:
        for at, entry in entries.items():
            target = done[at].id if status == 200 else None
            version = done[at].latest_version
            await self._idempotency.remember(
                entry, writes[at].idempotency, status=status, resource_id=done[at].id, version=version, target=target
            )

    def _answers(
        self, writes: Sequence[Write], permitted: Mapping[int, Permitted], done: Mapping[int, SecretRow]
    ) -> list[_Written]:
        for at in done:
            actor = permitted[at].actor
            self._gate.note_use(writes[at].caller, actor.id, actor.token_id, permitted[at].now)
        return [tagged_view(done[at]) if at in done else None for at in range(len(writes))]

    def _whose(self, write: _Update | _Create) -> Hashable:
        return self._gate.holders.whose(write.caller)


def _entries(
    session: Session, action: AuditAction, writes: Sequence[Write], permitted: Mapping[int, Permitted]
) -> dict[int, Entry]:
    """An entry of the gate for each request that may go on, which makes its audit row."""
    entries = {}
    for at, one in permitted.items():
        entries[at] = Entry(session, writes[at].caller, action)
        entries[at].identified(one.actor, one.now)
    return entries


def _decided_for(permitted: PermittedUpdate) -> tuple[UUID, str, dict[str, str]]:
    return permitted.scope_id, permitted.name, permitted.labels


def _matches(if_match: str | None, row: SecretRow) -> bool:
    try:
        check_if_match(if_match, row.latest_version, row.revision)
    except (InvalidInput, PreconditionFailed):
        return False
    return True


def _new_secret(entry: Entry, create: _Create, scope_id: UUID) -> NewSecret:
    metadata = create.metadata
    return NewSecret(
        id=new_id(entry.now),
        scope_id=scope_id,
        name=create.name,
        description=metadata.description,
        labels=metadata.labels,
        owner=metadata.owner,
        expires_at=metadata.expires_at,
        generator=create.value.generator,
        rotation=metadata.rotation,
        created_by=entry.actor.id,
    )


def _created_row(
    secret: NewSecret, create: _Create, place: PermittedCreate, times: tuple[datetime, datetime]
) -> SecretRow:
    return SecretRow(
        id=secret.id,
        name=secret.name,
        scope_id=secret.scope_id,
        scope=place.scope,
        scope_names=create.place,
        latest_version=1,
        active_version=1,
        revision=1,
        description=secret.description,
        labels=secret.labels,
        owner=secret.owner,
        expires_at=secret.expires_at,
        generator=secret.generator,
        rotation=secret.rotation,
        source=None,
        created_at=times[0],
        updated_at=times[1],
    )


def _update_touches(update: _Update) -> Iterable[Hashable]:
    return (update.secret_id, *_key_touches(update))


def _create_touches(create: _Create) -> Iterable[Hashable]:
    return ((create.place, create.name), *_key_touches(create))


def _key_touches(write: _Update | _Create) -> Iterable[Hashable]:
    key = write.idempotency
    return () if key is None else ((write.caller.token_hash, key.route, key.key),)


def _somebody_meanwhile() -> InvalidInput:
    """What one write refers to went away while it was written, and its transaction with it: as with a row that is unfit."""
    return InvalidInput("something that the request refers to was deleted meanwhile")

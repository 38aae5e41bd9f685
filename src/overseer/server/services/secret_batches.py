"""Many changes of secrets at once: all of them, or none.

Guarantees: one transaction, so a reader sees all old or all new; each operation is authorised and has its own audit row; every
operation that cannot be done is named, all at once; secrets are locked in the order of their ids and new ones are inserted in the
order of scope and name, so two batches never wait for each other in a circle. If-Match is compared under the lock.

It will not begin rollouts: they take one secret after the other, and a batch is one moment. Where containers use a secret, its
operation says ``immediate`` or keeps the active version.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

from overseer.core.access import Resource
from overseer.core.audit_events import AuditAction
from overseer.core.errors import AlreadyExists, BatchRefused, Conflict, Denied, OverseerError, Problem, Unavailable
from overseer.core.identifiers import new_id
from overseer.core.permissions import Permission
from overseer.core.principals import Caller
from overseer.server.services.approval_guard import guard_activation, guard_creation, guard_deletion
from overseer.server.services.batch_items import Item, Items
from overseer.server.services.gate import Entry
from overseer.server.services.idempotency import Idempotency
from overseer.server.services.rotation_service import refuse_where_rotated
from overseer.server.services.secret_access import MOVED, is_known_at, no_such_version, refuse_own_values, stands_as_seen
from overseer.server.services.secret_consumers import refusal_of_use, used
from overseer.server.services.secret_storing import TAKEN, store_new, store_version
from overseer.server.services.secret_views import tagged_view
from overseer.server.services.secret_writing import SecretWriting, keep_guarded, patched, rotated_value
from overseer.server.services.tagged import check_if_match
from overseer.server.storage import batch_rows, secret_rows
from overseer.server.storage.scope_rows import ensure_scope
from overseer.server.storage.secret_rotation_rows import calling
from overseer.server.storage.secret_rows import SecretRow
from overseer.server.storage.version_rows import begin_grace, version_exists
from overseer.wire.secret_batches import (
    BatchActivate,
    BatchCreate,
    BatchDelete,
    BatchPatch,
    BatchResult,
    BatchRotate,
    BatchSet,
    BatchUpdate,
    SecretBatch,
    SecretBatchAnswer,
)

NEEDS_ROLLOUT = (
    "containers use this secret: say immediate (they keep their version until they are deployed again) or activate false, or "
    "change it by a request of its own, which rolls it out"
)

#: Gets the entry, the id of the batch, and the ids of the secrets in the order of the operations.
Alongside = Callable[[Entry, UUID, Sequence[UUID]], Awaitable[None]]


class SecretBatches(SecretWriting):
    """See the module's text."""

    async def batch(
        self,
        caller: Caller,
        body: SecretBatch,
        idempotency: Idempotency | None = None,
        alongside: Alongside | None = None,
    ) -> SecretBatchAnswer:
        """Do every operation of ``body``, or none. Each needs what its single request needs.

        ``alongside`` is done in the same transaction after all of them. It keeps what the request came to by the batch's id, so
        a replay is its caller's to answer: here nothing is looked at, nothing is done, and the answer is empty.

        Raises :class:`Denied`, :class:`Unavailable`, :class:`InvalidInput` or :class:`BatchRefused` with the complete list.
        """
        await self._keys.prepare_to_encrypt(len(body.operations))
        async with self._gate.enter(caller, AuditAction.SECRET_BATCH) as entry:
            first = await self._idempotency.recall(entry, idempotency)
            if first is not None and alongside is not None:
                entry.accept(Resource("secret"))
                entry.amend(code="replayed")
                return SecretBatchAnswer(results=[])
            replayed = None if first is None else await batch_rows.batch_secrets(entry.session, first.resource_id)
            items = Items(entry, body.operations)
            await items.admit(replayed)
            items.read()
            items.stop(only_refusals=replayed is None)
            if replayed is not None:
                for item, secret_id in zip(items.all, replayed, strict=True):
                    items.amend(item, code="replayed", resource_id=secret_id)
                return await _answer(entry, replayed, items)
            await self._lock(entry, items)
            await self._check(entry, items)
            await self._guard(entry, items)
            await self._complete(entry, items)
            items.stop()
            ids = await self._apply(entry, items)
            items.stop()
            batch_id = new_id(entry.now)
            if alongside is not None:
                await alongside(entry, batch_id, ids)
            elif idempotency is not None:
                await batch_rows.insert_batch(entry.session, batch_id, ids)
            await self._idempotency.remember(entry, idempotency, status=200, resource_id=batch_id)
            return await _answer(entry, ids, items)

    async def _lock(self, entry: Entry, items: Items) -> None:
        known = [item.row.id for item in items.all if item.row is not None]
        rows = await secret_rows.lock_secrets(entry.session, known)
        for item in items.all:
            if item.row is not None:
                seen, item.row = item.row, rows.get(item.row.id)
                if item.row is None:
                    items.note(item, Unavailable("the secret was deleted meanwhile"))
                elif not stands_as_seen(seen, item.row):
                    items.note(item, Conflict(MOVED))

    async def _check(self, entry: Entry, items: Items) -> None:
        """What the present state says to each operation on a secret that exists."""
        known = [item.row.id for item in items.all if item.row is not None]
        in_use, busy = await used(entry, known), await calling(entry.session, known)
        for item in items.good:
            if item.row is None:
                continue
            try:
                check_if_match(item.if_match, item.row.latest_version, item.row.revision)
                await self._check_one(entry, item, item.row, in_use=item.row.id in in_use, busy=item.row.id in busy)
            except OverseerError as error:
                items.note(item, error)

    async def _guard(self, entry: Entry, items: Items) -> None:
        """What waits for an approval: each operation needs, and uses up, its own."""
        for item in items.good:
            try:
                await self._guard_one(entry, item)
            except Denied as error:
                items.note(item, error)

    async def _guard_one(self, entry: Entry, item: Item) -> None:
        operation, row = item.operation, item.row
        if row is None:
            assert item.place is not None  # noqa: S101  # a new secret has a place,
            assert item.metadata is not None  # noqa: S101  # and metadata, read before
            await guard_creation(entry, item.place.resource(item.name), item.metadata.labels, event=item.event)
            return
        if isinstance(operation, BatchDelete):
            await guard_deletion(entry, row, event=item.event)
        elif isinstance(operation, BatchActivate):
            if row.active_version != operation.version or row.rollout is not None:
                await guard_activation(entry, row, operation.version, Permission.SECRET_ACTIVATE, event=item.event)
        elif isinstance(operation, BatchRotate):
            await guard_activation(entry, row, row.latest_version + 1, Permission.SECRET_ROTATE, event=item.event)
        elif isinstance(operation, BatchUpdate | BatchSet) and operation.activate:
            await guard_activation(entry, row, row.latest_version + 1, Permission.SECRET_WRITE, event=item.event)
        if isinstance(operation, BatchPatch | BatchSet):
            await keep_guarded(entry, row, patched(row, operation).labels, event=item.event)

    async def _complete(self, entry: Entry, items: Items) -> None:
        """Where the batch is refused already, say of new secrets as well whether their place is taken; else inserting tells."""
        if len(items.good) == len(items.all):
            return
        for item in items.good:
            operation, place = item.operation, item.place
            if not isinstance(operation, BatchCreate) or place is None:
                continue
            if await secret_rows.secrets_at(entry.session, place.scope, operation.name):
                items.note(item, AlreadyExists(TAKEN))

    async def _check_one(self, entry: Entry, item: Item, row: SecretRow, *, in_use: bool, busy: bool) -> None:
        operation = item.operation
        if isinstance(operation, BatchDelete):
            if in_use and not operation.force:
                raise await refusal_of_use(entry, row.id)
            return
        if isinstance(operation, BatchPatch | BatchCreate):
            return
        refuse_own_values(row)
        version = row.latest_version + 1
        if isinstance(operation, BatchActivate | BatchRotate):
            await refuse_where_rotated(entry.session, row.id, unless_paused=isinstance(operation, BatchActivate))
        if isinstance(operation, BatchActivate):
            version = operation.version
            if not await version_exists(entry.session, row.id, version):
                raise no_such_version()
            if row.active_version == version and row.rollout is None:
                return
        if row.rollout is not None or busy:
            await self._rollouts.check_none_runs(entry.session, row.id)
        activates = isinstance(operation, BatchActivate | BatchRotate) or operation.activate
        if in_use and activates and not operation.immediate and await self._rollouts.would_start(entry.session, row.id, version):
            raise BatchRefused(NEEDS_ROLLOUT, problems=[Problem("body.immediate", NEEDS_ROLLOUT, "needs_rollout")])

    async def _apply(self, entry: Entry, items: Items) -> list[UUID]:
        """Existing secrets in order of their ids, then new ones in order of scope and name; the ids in order of operations."""
        for item in sorted((one for one in items.all if one.row is not None), key=lambda one: str(one.row and one.row.id)):
            assert item.row is not None  # noqa: S101  # chosen above
            await self._change_one(entry, item, item.row)
            items.amend(item, resource_id=item.id, version=item.version)
        for item in await _with_scopes(entry, [one for one in items.all if one.row is None]):
            try:
                await self._insert_one(entry, item)
            except OverseerError as error:
                items.note(item, error)
            items.amend(item, resource_id=item.id, version=1)
        return [item.id or UUID(int=0) for item in items.all]

    async def _change_one(self, entry: Entry, item: Item, row: SecretRow) -> None:
        operation, item.id = item.operation, row.id
        if isinstance(operation, BatchDelete):
            await self._rollouts.abandon(entry, row)
            await secret_rows.delete_secret(entry.session, row.id)
            return
        if isinstance(operation, BatchActivate):
            item.version = operation.version
            if row.active_version != operation.version:
                await secret_rows.activate_version(entry.session, row.id, operation.version)
                await begin_grace(entry.session, row.id, row.active_version, operation.version)
            return
        if isinstance(operation, BatchUpdate | BatchRotate | BatchSet):
            value = item.value or rotated_value(row)
            activate = isinstance(operation, BatchRotate) or operation.activate
            item.version = row.latest_version + 1
            await store_version(entry, self._keys, row.id, row.scope_id, item.version, value.value)
            await secret_rows.add_version(entry.session, row.id, item.version, activate, value.generator)
            if activate:
                await begin_grace(entry.session, row.id, row.active_version, item.version)
        if isinstance(operation, BatchPatch | BatchSet):
            new = patched(row, operation)
            fields = (new.description, new.labels, new.owner, new.expires_at, new.rotation)
            if fields != (row.description, row.labels, row.owner, row.expires_at, row.rotation):
                await secret_rows.patch_secret(entry.session, row.id, *fields, entry.actor.id)

    async def _insert_one(self, entry: Entry, item: Item) -> None:
        operation = item.operation
        assert isinstance(operation, BatchCreate | BatchSet)  # noqa: S101  # the others have a row
        assert item.metadata is not None  # noqa: S101  # read before
        assert item.value is not None  # noqa: S101  # read before
        assert item.id is not None  # noqa: S101  # the scope's, until here
        scope_id, item.id = item.id, new_id(entry.now)
        await store_new(entry, self._keys, item.id, scope_id, operation.name, item.metadata, item.value)


async def _with_scopes(entry: Entry, items: list[Item]) -> list[Item]:
    """``items`` in the order of scope and name, each with the id of its scope's row in ``id`` for the moment."""
    scopes: dict[tuple[str, ...], UUID] = {}
    keyed = []
    for item in items:
        assert item.place is not None  # noqa: S101  # a new secret has one
        scope = item.place.scope
        keyed.append((tuple(str(part) for part in (scope.app, scope.environment, scope.node)), item))
    for key, item in sorted(keyed, key=lambda pair: pair[0]):
        assert item.place is not None  # noqa: S101  # as above
        if key not in scopes:
            scopes[key] = await ensure_scope(entry.session, new_id(entry.now), item.place.scope)
        item.id = scopes[key]
    return sorted(items, key=lambda one: (str(one.id), getattr(one.operation, "name", "")))


async def _answer(entry: Entry, ids: list[UUID], items: Items) -> SecretBatchAnswer:
    """What left the place where its operation was authorised before a replay is shown to those who may list it."""
    rows = {row.id: row for row in await secret_rows.secrets_by_id(entry.session, ids)}
    results = []
    for index, (secret_id, item) in enumerate(zip(ids, items.all, strict=True)):
        row, place = rows.get(secret_id), item.place  # by an id no place: it was authorised where it is
        shown = row is not None and (place is None or is_known_at(entry, row, place.scope, item.name))
        tagged = tagged_view(row) if row is not None and shown else None
        results.append(
            BatchResult(
                index=index,
                id=str(secret_id),
                secret=None if tagged is None else tagged.view,
                etag=None if tagged is None else tagged.etag,
            )
        )
    return SecretBatchAnswer(results=results)

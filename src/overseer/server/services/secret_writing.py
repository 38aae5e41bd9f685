"""Changing secrets: create, new version, metadata, rotation, activation, deletion.

Guarantees: each change and its audit row commit together; a secret's row is locked while it changes, and If-Match is compared
under that lock, so of two writers with one entity tag one gets 412; versions are never changed, only added. The value lies in
memory only between the request and its envelope. A version that is to become the active one while containers run with another
one does so by a rollout (``rollout_driver``), unless the request says ``immediate``. What a policy guards waits for an approval
(``approval_guard``), which is used up in the same transaction.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar
from uuid import UUID

from msgspec import UNSET, UnsetType

from overseer.core.audit_events import AuditAction
from overseer.core.errors import Conflict, Denied
from overseer.core.generators import DEFAULT_SPEC, Generator, parse_spec
from overseer.core.identifiers import new_id
from overseer.core.permissions import Permission
from overseer.core.principals import Caller
from overseer.core.scopes import Scope
from overseer.server.services.approval_guard import guard_activation, guard_creation, guard_deletion, guards_lost
from overseer.server.services.gate import Entry, Gate
from overseer.server.services.idempotency import Idempotency, IdempotencyKeeper
from overseer.server.services.key_service import KeyService
from overseer.server.services.places import authorise_at, find_place
from overseer.server.services.rollout_driver import RolloutDriver
from overseer.server.services.rotation_service import refuse_where_rotated
from overseer.server.services.secret_access import (
    is_known_at,
    known_secret,
    lock_as_seen,
    locked_secret,
    no_such_version,
    refuse_own_values,
)
from overseer.server.services.secret_consumers import check_unused, shadowed_by
from overseer.server.services.secret_input import (
    Metadata,
    NewValue,
    check_metadata,
    check_secret_name,
    generated,
    gives_value,
    optional_value,
    peeked_generator,
    read_metadata,
    read_policy,
    read_value,
)
from overseer.server.services.secret_storing import store_new, store_version
from overseer.server.services.secret_views import secret_view, tagged_view
from overseer.server.services.tagged import Tagged, check_if_match
from overseer.server.services.value_making import ValueMaking
from overseer.server.services.value_opener import ValueOpener
from overseer.server.services.write_batches import WriteBatches
from overseer.server.storage import secret_rows
from overseer.server.storage.scope_rows import ensure_scope
from overseer.server.storage.secret_rows import SecretRow
from overseer.server.storage.version_rows import begin_grace, version_exists
from overseer.wire.secret_batches import BatchPatch, BatchSet
from overseer.wire.secrets import SecretActivate, SecretCreate, SecretPatch, SecretRotate, SecretUpdate, SecretView

Field = TypeVar("Field")
Change = Callable[[SecretRow], Awaitable[None]]


class SecretWriting:
    """See the module's text."""

    def __init__(self, gate: Gate, keys: KeyService, idempotency: IdempotencyKeeper, rollouts: RolloutDriver) -> None:
        self._gate = gate
        self._rollouts = rollouts
        self._keys = keys
        self._idempotency = idempotency
        self._write_batches = WriteBatches(gate, keys, idempotency)
        self._values = ValueMaking(gate, ValueOpener(keys, gate))

    async def create(
        self, caller: Caller, body: SecretCreate, idempotency: Idempotency | None = None
    ) -> Tagged[SecretView]:
        """A new secret with version 1 active. Needs ``secret:write`` at its scope for its name.

        Raises :class:`AlreadyExists` where the scope has a secret of that name, :class:`Unavailable` for a part of the scope that
        does not exist, :class:`InvalidInput` and :class:`TooLarge` by the rules of ``secret_input``.
        """
        await self._keys.prepare_to_encrypt()

        async def admit(entry: Entry) -> None:
            name = check_secret_name(body.name)
            place = await find_place(entry.session, Scope(body.app, body.environment, body.node))
            authorise_at(entry, place, Permission.SECRET_WRITE, name)
            read_metadata(body)  # before a CA is asked for what would be refused

        value = await self._values.made(caller, AuditAction.SECRET_CREATE, peeked_generator(body), admit)
        made = None if value else await self._write_batches.create(caller, body, idempotency)
        return made or await self._create_alone(caller, body, value, idempotency)

    async def _create_alone(
        self, caller: Caller, body: SecretCreate, value: NewValue | None, idempotency: Idempotency | None
    ) -> Tagged[SecretView]:
        """One create through the gate: whatever is not plain, and every refusal."""
        async with self._gate.enter(caller, AuditAction.SECRET_CREATE) as entry:
            name, metadata = check_secret_name(body.name), read_metadata(body)
            place = await find_place(entry.session, Scope(body.app, body.environment, body.node))
            authorise_at(entry, place, Permission.SECRET_WRITE, name)
            first = await self._idempotency.first_result(entry, idempotency)
            if first is not None:
                made = await secret_rows.secret_by_id(entry.session, first.resource_id)
                if made is None or not is_known_at(entry, made, place.scope, name):
                    raise Conflict("the secret was deleted meanwhile, or went to where you may not see it")
                return tagged_view(made)
            await guard_creation(entry, place.resource(name), metadata.labels)
            secret_id = new_id(entry.now)
            scope_id = await ensure_scope(entry.session, new_id(entry.now), place.scope)
            await store_new(entry, self._keys, secret_id, scope_id, name, metadata, value or read_value(body))
            await self._idempotency.remember(entry, idempotency, status=201, resource_id=secret_id, version=1)
            entry.amend(resource_id=secret_id, version=1)
            return await _read_again(entry, secret_id)

    async def update(
        self,
        caller: Caller,
        secret_id: UUID,
        body: SecretUpdate,
        if_match: str | None = None,
        idempotency: Idempotency | None = None,
    ) -> Tagged[SecretView]:
        """A new version, active (by a rollout where containers use the secret) unless ``body`` says otherwise.

        Needs ``secret:write``. Raises :class:`PreconditionFailed`, and :class:`Conflict` while a rollout is running.
        """
        await self._keys.prepare_to_encrypt()

        async def admit(entry: Entry) -> None:
            await known_secret(entry, secret_id, Permission.SECRET_WRITE)

        made = await self._values.made(caller, AuditAction.SECRET_UPDATE, peeked_generator(body), admit)
        changed = None if made else await self._write_batches.update(caller, secret_id, body, if_match, idempotency)
        return changed or await self._update_alone(caller, secret_id, body, made, if_match, idempotency)

    async def _update_alone(
        self,
        caller: Caller,
        secret_id: UUID,
        body: SecretUpdate,
        made: NewValue | None,
        if_match: str | None,
        idempotency: Idempotency | None,
    ) -> Tagged[SecretView]:
        """One new version through the gate: whatever is not plain, and every refusal."""
        async with self._gate.enter(caller, AuditAction.SECRET_UPDATE) as entry:
            value = made or read_value(body)

            async def change(row: SecretRow) -> None:
                if body.activate:
                    await guard_activation(entry, row, row.latest_version + 1, Permission.SECRET_WRITE)
                await self._add_version(entry, row, value, activate=body.activate, immediate=body.immediate)

            changed = await self._change(entry, secret_id, Permission.SECRET_WRITE, change, if_match, idempotency)
        self._rollouts.wake()
        return changed

    async def rotate(
        self,
        caller: Caller,
        secret_id: UUID,
        body: SecretRotate,
        if_match: str | None = None,
        idempotency: Idempotency | None = None,
    ) -> Tagged[SecretView]:
        """A new version, active as after an update.

        Needs ``secret:rotate``, and ``secret:write`` as well where the caller brings the value.

        Without value and generator: the rotation policy's generator, else the one it was made with, else ``password:32``.
        """
        await self._keys.prepare_to_encrypt()

        async def admit(entry: Entry) -> None:
            await known_secret(entry, secret_id, Permission.SECRET_ROTATE)

        wanted = peeked_generator(body)
        if body.generate is None and not gives_value(body):
            async with self._gate.enter(caller, AuditAction.SECRET_ROTATE) as entry:
                wanted = rotation_generator(await known_secret(entry, secret_id, Permission.SECRET_ROTATE))
                entry.postpone()
        made = await self._values.made(caller, AuditAction.SECRET_ROTATE, wanted, admit)
        async with self._gate.enter(caller, AuditAction.SECRET_ROTATE) as entry:
            value = made or optional_value(body)
            row = await known_secret(entry, secret_id, Permission.SECRET_ROTATE)
            if gives_value(body) and not entry.permits(Permission.SECRET_WRITE, row.resource()):
                entry.deny("no_binding", f"a value of your own needs {Permission.SECRET_WRITE}, too; rotate without one")

            async def change(row: SecretRow) -> None:
                await refuse_where_rotated(entry.session, row.id)
                await guard_activation(entry, row, row.latest_version + 1, Permission.SECRET_ROTATE)
                await self._add_version(entry, row, value or rotated_value(row), activate=True, immediate=body.immediate)

            changed = await self._change_locked(entry, row, change, if_match, idempotency)
        self._rollouts.wake()
        return changed

    async def activate(
        self,
        caller: Caller,
        secret_id: UUID,
        body: SecretActivate,
        if_match: str | None = None,
        idempotency: Idempotency | None = None,
    ) -> Tagged[SecretView]:
        """Make an existing version the active one, by a rollout as after an update. Needs ``secret:activate``.

        Nothing changes where it is active already.
        """
        async with self._gate.enter(caller, AuditAction.SECRET_ACTIVATE) as entry:

            async def change(row: SecretRow) -> None:
                if not await version_exists(entry.session, row.id, body.version):
                    raise no_such_version()
                entry.amend(version=body.version)
                refuse_own_values(row)
                if row.active_version == body.version and row.rollout is None:
                    return
                await refuse_where_rotated(entry.session, row.id, unless_paused=True)
                await guard_activation(entry, row, body.version, Permission.SECRET_ACTIVATE)
                if await self._starts_rollout(entry, row, body.version, immediate=body.immediate):
                    await secret_rows.touch_secret(entry.session, row.id)
                else:
                    await secret_rows.activate_version(entry.session, row.id, body.version)
                    await begin_grace(entry.session, row.id, row.active_version, body.version)

            changed = await self._change(entry, secret_id, Permission.SECRET_ACTIVATE, change, if_match, idempotency)
        self._rollouts.wake()
        return changed

    async def patch(
        self, caller: Caller, secret_id: UUID, body: SecretPatch, if_match: str | None = None
    ) -> Tagged[SecretView]:
        """New metadata; what is not sent stays. Needs ``secret:write``."""
        async with self._gate.enter(caller, AuditAction.SECRET_PATCH) as entry:

            async def change(row: SecretRow) -> None:
                new = patched(row, body)
                await keep_guarded(entry, row, new.labels)
                if new != Metadata(row.description, row.labels, row.owner, row.expires_at, row.rotation):
                    fields = (new.description, new.labels, new.owner, new.expires_at, new.rotation)
                    await secret_rows.patch_secret(entry.session, row.id, *fields, entry.actor.id)

            return await self._change(entry, secret_id, Permission.SECRET_WRITE, change, if_match)

    async def delete(
        self, caller: Caller, secret_id: UUID, if_match: str | None = None, *, force: bool = False
    ) -> list[SecretView]:
        """The secret with every version. Needs ``secret:delete``. The audit log and past deployments keep its name and id.

        The secrets that it shadowed, as far as the caller may list them: consumers may get those from now on. Raises
        :class:`InUse` where something that is deployed refers to it, unless ``force``.
        """
        async with self._gate.enter(caller, AuditAction.SECRET_DELETE) as entry:
            row = await locked_secret(entry, secret_id, Permission.SECRET_DELETE)
            check_if_match(if_match, row.latest_version, row.revision)
            if not force:
                await check_unused(entry, row.id)
            await guard_deletion(entry, row)
            unshadowed = await shadowed_by(entry, row)
            if unshadowed:
                entry.amend(code=f"unshadows:{len(unshadowed)}")
            await self._rollouts.abandon(entry, row)
            await secret_rows.delete_secret(entry.session, row.id)
        return [secret_view(one) for one in unshadowed]

    async def _change(
        self,
        entry: Entry,
        secret_id: UUID,
        permission: Permission,
        change: Change,
        if_match: str | None,
        idempotency: Idempotency | None = None,
    ) -> Tagged[SecretView]:
        seen = await known_secret(entry, secret_id, permission)
        return await self._change_locked(entry, seen, change, if_match, idempotency)

    async def _change_locked(
        self, entry: Entry, seen: SecretRow, change: Change, if_match: str | None, idempotency: Idempotency | None
    ) -> Tagged[SecretView]:
        """One change of the secret that was authorised as ``seen``.

        The key is asked before If-Match, which a replay cannot meet any more.
        """
        secret_id = seen.id
        first = await self._idempotency.first_result(entry, idempotency, target=secret_id)
        if first is not None:
            return await _read_again(entry, first.resource_id)
        row = await lock_as_seen(entry, seen)
        check_if_match(if_match, row.latest_version, row.revision)
        await change(row)
        version = entry.events[-1].version
        await self._idempotency.remember(
            entry, idempotency, status=200, resource_id=secret_id, version=version, target=secret_id
        )
        return await _read_again(entry, secret_id)

    async def _add_version(
        self, entry: Entry, row: SecretRow, value: NewValue, *, activate: bool, immediate: bool
    ) -> None:
        refuse_own_values(row)
        if row.rotation is not None and value.generator not in (None, row.generator):
            read_policy(row.rotation, value.generator)
        version = row.latest_version + 1
        await store_version(entry, self._keys, row.id, row.scope_id, version, value.value)
        entry.amend(version=version)
        flips = activate and not await self._starts_rollout(entry, row, version, immediate=immediate)
        await secret_rows.add_version(entry.session, row.id, version, flips, value.generator)
        if flips:
            await begin_grace(entry.session, row.id, row.active_version, version)

    async def _starts_rollout(self, entry: Entry, row: SecretRow, version: int, *, immediate: bool) -> bool:
        """True where ``version`` becomes the active one later, by a rollout; :class:`Conflict` while another is running."""
        await self._rollouts.check_none_runs(entry.session, row.id)
        return not immediate and await self._rollouts.start(entry, row, version) is not None


def rotation_generator(row: SecretRow) -> Generator:
    """What makes the next value: the secret's rotation policy, else what it was made with, else the default password."""
    policy = (row.rotation or {}).get("generate")
    return parse_spec(policy or row.generator or DEFAULT_SPEC)


def rotated_value(row: SecretRow) -> NewValue:
    """A value by :func:`rotation_generator`. Raises :class:`InvalidInput` where it makes keys."""
    return generated(rotation_generator(row))


def patched(row: SecretRow, body: SecretPatch | BatchPatch | BatchSet) -> Metadata:
    """The metadata of ``row`` with what was sent in its place. Raises :class:`InvalidInput`."""
    return check_metadata(
        _sent(body.description, row.description),
        _sent(body.labels, row.labels),
        _sent(body.owner, row.owner),
        _sent(body.expires_at, row.expires_at),
        _sent(body.rotation, row.rotation),
        None if body.rotation is UNSET else row.generator,
    )


async def keep_guarded(entry: Entry, row: SecretRow, labels: dict[str, str], *, event: int = -1) -> None:
    """Only who may change policies takes a secret out of a policy's reach by its labels. Raises :class:`Denied`."""
    if await guards_lost(entry, row, labels) and not entry.permits(Permission.APPROVAL_POLICY_WRITE, row.resource()):
        entry.deny_event(event, "guarding_label")
        raise Denied(
            f"these labels would take the secret out of a policy of approvals; that needs {Permission.APPROVAL_POLICY_WRITE}"
        )


def _sent(field: Field | UnsetType, present: Field) -> Field:
    return present if field is UNSET else field


async def _read_again(entry: Entry, secret_id: UUID) -> Tagged[SecretView]:
    row = await secret_rows.secret_by_id(entry.session, secret_id)
    if row is None:
        raise Conflict("the secret was deleted meanwhile")
    return tagged_view(row)

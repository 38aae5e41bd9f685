"""Moving and renaming a secret: one operation of its own, because both decide who may see it.

Guarantees: authorised and audited at both ends; every version is encrypted anew for the scope that its envelope is bound to,
in one transaction; versions keep their numbers, authors and times. Whoever holds rights at the new place will see the value, so
moving it there needs ``secret:reveal`` where it is, beside ``secret:delete``: nobody can move a value into their own sight.

Plaintext exists here between the old and the new envelope and goes nowhere; it is the one place that decrypts before its commit.
"""

from __future__ import annotations

from uuid import UUID

from overseer.core.access import Resource
from overseer.core.approvals import Operation
from overseer.core.audit_events import AuditAction
from overseer.core.errors import AlreadyExists
from overseer.core.identifiers import new_id
from overseer.core.permissions import Permission
from overseer.core.principals import Caller
from overseer.core.scopes import Scope
from overseer.server.services.approval_guard import guard, move_of, new_place, secret_place
from overseer.server.services.gate import Entry
from overseer.server.services.idempotency import Idempotency
from overseer.server.services.places import authorise_at, find_place
from overseer.server.services.secret_access import known_secret, lock_as_seen, refuse_own_values
from overseer.server.services.secret_consumers import check_unused, overlapping, shadowed_by
from overseer.server.services.secret_input import check_secret_name
from overseer.server.services.secret_storing import seal_version
from overseer.server.services.secret_views import secret_view, tagged_view
from overseer.server.services.secret_writing import SecretWriting
from overseer.server.services.tagged import Tagged, check_if_match
from overseer.server.services.value_opener import open_stored
from overseer.server.storage import secret_rows
from overseer.server.storage.scope_rows import ensure_scope
from overseer.server.storage.secret_rows import SecretRow
from overseer.server.storage.version_rows import replace_version, stored_versions
from overseer.wire.secret_batches import SecretMove, SecretMoved


class SecretMoves(SecretWriting):
    """See the module's text."""

    async def move(
        self,
        caller: Caller,
        secret_id: UUID,
        body: SecretMove,
        if_match: str | None = None,
        idempotency: Idempotency | None = None,
    ) -> Tagged[SecretMoved]:
        """Give a secret another scope, another name, or both.

        Needs ``secret:delete`` and ``secret:reveal`` where it is, and ``secret:write`` where it goes. Raises :class:`InUse` where
        something that is deployed refers to it (unless ``force``), :class:`AlreadyExists` where the new place is taken,
        :class:`Conflict` while a rollout is running, and :class:`TooLarge` for more than 32 MiB of versions.
        """
        await self._keys.prepare_to_encrypt()
        async with self._gate.enter(caller, AuditAction.SECRET_MOVE) as entry:
            row = await known_secret(entry, secret_id, Permission.SECRET_DELETE)
            if not entry.permits(Permission.SECRET_REVEAL, row.resource()):
                rule = f"to move a secret you need {Permission.SECRET_REVEAL} where it is: who may see it changes"
                entry.deny("no_binding", rule)
            name = row.name if body.name is None else check_secret_name(body.name)
            place = await find_place(entry.session, Scope(body.scope.app, body.scope.environment, body.scope.node))
            authorise_at(entry, place, Permission.SECRET_WRITE, name)
            entry.amend(resource_id=secret_id)
            if await self._idempotency.first_result(entry, idempotency, target=secret_id) is None:
                row = await self._locked(entry, row, if_match)
                unshadowed = await self._move(entry, row, place.scope, name, force=body.force)
                await self._idempotency.remember(entry, idempotency, status=200, resource_id=secret_id, target=secret_id)
            else:
                unshadowed = []
            moved = await secret_rows.secret_by_id(entry.session, secret_id)
            if moved is None:
                entry.missing(Resource("secret", id=secret_id))
            view = SecretMoved(
                secret=secret_view(moved),
                unshadowed=[secret_view(one) for one in unshadowed],
                shadowed=[secret_view(one) for one in await shadowed_by(entry, moved)],
            )
        return Tagged(view, tagged_view(moved).etag)

    async def _locked(self, entry: Entry, row: SecretRow, if_match: str | None) -> SecretRow:
        locked = await lock_as_seen(entry, row)
        check_if_match(if_match, locked.latest_version, locked.revision)
        refuse_own_values(locked)
        await self._rollouts.check_none_runs(entry.session, locked.id)
        return locked

    async def _move(self, entry: Entry, row: SecretRow, scope: Scope[UUID], name: str, *, force: bool) -> list[SecretRow]:
        """What was shadowed at the old place, as far as the caller may list it."""
        if (scope, name) == (row.scope, row.name):
            return []
        if not force:
            await check_unused(entry, row.id)
        if await secret_rows.secrets_at(entry.session, scope, name):
            raise AlreadyExists("there is a secret of that name at that scope already; delete or move that one first")
        places = [secret_place(Operation.MOVE, row), new_place(Resource("secret", name, scope), row.labels)]
        rights = [Permission.SECRET_DELETE, Permission.SECRET_REVEAL, Permission.SECRET_WRITE]
        await guard(entry, move_of(entry, row, scope, name), places, rights)
        unshadowed = await shadowed_by(entry, row)
        scope_id = await ensure_scope(entry.session, new_id(entry.now), scope)
        if scope_id != row.scope_id:
            await self._encrypt_for(entry, row, scope_id)
        await secret_rows.relocate_secret(entry.session, row.id, scope_id, name)
        if name == row.name:  # what applies at the new place as well was not uncovered by leaving the old one
            covering = {one.id for one in await overlapping(entry, name, scope, row.id)}
            return [one for one in unshadowed if not (one.id in covering and _covers(scope, row.scope))]
        return unshadowed

    async def _encrypt_for(self, entry: Entry, row: SecretRow, scope_id: UUID) -> None:
        wanted = [(row.id, version) for version in range(1, row.latest_version + 1)]
        stored = await stored_versions(entry.session, wanted)
        keyring = await self._keys.keyring_for({one.kek_term for one in stored.values()})
        for old in stored.values():
            value = open_stored(old, keyring)
            new = seal_version(entry, self._keys, row.id, scope_id, old.version, value)
            await replace_version(entry.session, old.id, new)


def _covers(outer: Scope[UUID], inner: Scope[UUID]) -> bool:
    """True where every place of ``inner`` is one of ``outer``."""
    pairs = ((outer.app, inner.app), (outer.environment, inner.environment), (outer.node, inner.node))
    return all(a is None or a == b for a, b in pairs)

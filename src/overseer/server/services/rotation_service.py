"""How secrets are rotated, as people see and set it. The work is the leader's (``rotation_driver``).

Guarantees: a schedule needs what any metadata of the secret needs; a rotator needs ``rotator:write`` on the secret as well, for
with it the server connects somewhere, and ``secret:use`` on the secret that holds the administrator's credential, decided for
whoever sets it up and audited here and at each use. Both values go to the address that the rotator names, so whoever names it has
to be somebody who may see both (``secret:reveal``, with the approval that a policy asks for). A secret that comes from a backend
has no values of its own and is not rotated. Schedule and rotator go on while those who set them may still do so
(``rotation_rights``); whoever sets them again stands for them.
"""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from msgspec import UNSET

from overseer.core.access import Resource
from overseer.core.audit_events import AuditAction
from overseer.core.errors import Conflict, InvalidInput, Problem
from overseer.core.identifiers import new_id
from overseer.core.permissions import Permission
from overseer.core.principals import Caller
from overseer.core.rotation_policy import RotationPolicy
from overseer.server.address_rules import AddressRule
from overseer.server.rotators.selection import make_rotator
from overseer.server.services.approval_guard import guard_activation, guard_reveal
from overseer.server.services.gate import Entry, Gate
from overseer.server.services.rotation_times import next_time
from overseer.server.services.secret_access import known_secret, locked_secret, refuse_own_values
from overseer.server.services.secret_input import read_policy, refusal
from overseer.server.storage import secret_rotation_rows as rows
from overseer.server.storage.database import Session
from overseer.server.storage.secret_rotation_rows import RotationRow, RunRow
from overseer.server.storage.secret_rows import SecretRow, patch_secret, secret_by_id, secrets_by_id
from overseer.wire.messages import Page
from overseer.wire.rotations import RotationRunView, RotationSet, RotationView
from overseer.wire.secrets import ScopeView

MAX_LIMIT: Final = 200
_CHUNK: Final = 200
_MAX_CHUNKS: Final = 25
RUNNING: Final = "a rotation of this secret is on its way: wait until it has ended ('overseer rotation history' shows it)"


class RotationService:
    """See the module's text."""

    def __init__(self, gate: Gate, rule: AddressRule) -> None:
        self._gate = gate
        self._rule = rule

    async def list_rotations(self, caller: Caller, *, cursor: str | None = None, limit: int = 50) -> Page[RotationView]:
        """Secrets that the caller may list and that have a schedule or a rotator."""
        async with self._gate.enter(caller, AuditAction.ROTATION_LIST) as entry:
            entry.authorise_list(Permission.SECRET_LIST, Resource("rotation"))
            after = _cursor(cursor, limit)
            seen: list[tuple[RotationRow, SecretRow]] = []
            for _ in range(_MAX_CHUNKS):
                found = await rows.rotation_page(entry.session, after, _CHUNK)
                owners = {one.id: one for one in await secrets_by_id(entry.session, [row.secret_id for row in found])}
                pairs = [(row, owners[row.secret_id]) for row in found if row.secret_id in owners]
                seen += [(row, one) for row, one in pairs if entry.permits(Permission.SECRET_LIST, one.resource())]
                after = found[-1].secret_id if len(found) == _CHUNK else None
                if after is None or len(seen) > limit:
                    break
            more = seen[limit - 1][1].id if len(seen) > limit else after
            newest = await rows.newest_runs(entry.session, [one.id for _, one in seen[:limit]])
            views = [_view(one, row, newest.get(one.id)) for row, one in seen[:limit]]
        return Page(items=views, next_cursor=None if more is None else str(more))

    async def get_rotation(self, caller: Caller, secret_id: UUID) -> RotationView:
        """How one secret is rotated. Needs ``secret:list``."""
        async with self._gate.enter(caller, AuditAction.ROTATION_LIST) as entry:
            return await _read(entry.session, await known_secret(entry, secret_id, Permission.SECRET_LIST))

    async def set_rotation(self, caller: Caller, secret_id: UUID, body: RotationSet) -> RotationView:
        """Change schedule, rotator, or whether the schedule holds. See the module's text for what it needs.

        Raises :class:`InvalidInput`, and :class:`Conflict` where the rotator would change under a run.
        """
        async with self._gate.enter(caller, AuditAction.ROTATION_CHANGE) as entry:
            await known_secret(entry, secret_id, Permission.SECRET_WRITE)
            if body.rotator is not UNSET:
                await self._admit_rotator(entry, secret_id, body.rotator)
            row = await locked_secret(entry, secret_id, Permission.SECRET_WRITE)
            entry.events.pop()  # decided a second time under the lock: one row is enough
            if body.policy not in (UNSET, None) or body.rotator not in (UNSET, None):
                refuse_own_values(row)
            present = await rows.rotation_of(entry.session, row.id)
            if body.policy is not UNSET:
                policy = None if body.policy is None else read_policy(body.policy, row.generator).to_fields()
                fields = (row.description, row.labels, row.owner, row.expires_at, policy)
                await patch_secret(entry.session, row.id, *fields, entry.actor.id)
                await rows.set_policy_by(entry.session, row.id, entry.actor.id)
                await _count(entry, row.id)
            paused = body.paused if body.paused is not UNSET else present is not None and present.paused
            if body.rotator is not UNSET:
                await refuse_while_rotating(entry.session, row.id)
                await rows.set_rotation(entry.session, row.id, body.rotator, paused, entry.actor.id)
            elif body.paused is not UNSET:
                await rows.pause(entry.session, row.id, paused)
            after = await secret_by_id(entry.session, row.id)
            return await _read(entry.session, after or row)

    async def run_rotation(self, caller: Caller, secret_id: UUID) -> RotationRunView:
        """Rotate now, with the rotator where there is one. Needs ``secret:rotate``; the leader begins within seconds.

        Raises :class:`Conflict` where one is on its way.
        """
        async with self._gate.enter(caller, AuditAction.ROTATION_RUN) as entry:
            row = await locked_secret(entry, secret_id, Permission.SECRET_ROTATE)
            refuse_own_values(row)
            await guard_activation(entry, row, row.latest_version + 1, Permission.SECRET_ROTATE)
            await refuse_while_rotating(entry.session, row.id)
            present = await rows.rotation_of(entry.session, row.id)
            run_id = new_id(entry.now)
            rotator = None if present is None else present.rotator
            await rows.insert_run(entry.session, run_id, row.id, "request", rotator, entry.actor.id)
            made = await rows.run_by_id(entry.session, run_id)
            assert made is not None  # noqa: S101  # inserted above
            return run_view(made)

    async def list_runs(
        self, caller: Caller, secret_id: UUID, *, cursor: str | None = None, limit: int = 50
    ) -> Page[RotationRunView]:
        """Runs of one secret, newest first. Needs ``secret:list``."""
        async with self._gate.enter(caller, AuditAction.ROTATION_LIST) as entry:
            row = await known_secret(entry, secret_id, Permission.SECRET_LIST)
            found = await rows.run_page(entry.session, row.id, _cursor(cursor, limit), limit + 1)
        more = str(found[limit - 1].id) if len(found) > limit else None
        return Page(items=[run_view(one) for one in found[:limit]], next_cursor=more)

    async def _admit_rotator(self, entry: Entry, secret_id: UUID, rotator: dict[str, Any] | None) -> None:
        rotated = await known_secret(entry, secret_id, Permission.ROTATOR_WRITE)
        if rotator is None:
            return
        await _require_sight(entry, rotated)
        make_rotator(rotator, self._rule)
        try:
            admin = UUID(str(rotator.get("admin")))
        except ValueError:
            rule = "'admin' is the id of the secret with the administrator's credential"
            raise refusal("body.rotator.admin", rule, "bad_rotator") from None
        if admin == secret_id:
            raise refusal("body.rotator.admin", "another secret than the one that is rotated", "bad_rotator")
        credential = await known_secret(entry, admin, Permission.SECRET_USE)
        entry.amend(action=AuditAction.SECRET_USE, version=credential.active_version, code="rotator")
        await _require_sight(entry, credential)


async def _count(entry: Entry, secret_id: UUID) -> None:
    """The next time of a schedule that was just set, so that lists show it at once; of other ways the leader counts it."""
    for one in await rows.unscheduled(entry.session, 1, secret_id):
        due_at = None if one.policy is None else next_time(RotationPolicy.parse(one.policy), one.latest_at, entry.now)
        await rows.schedule(entry.session, secret_id, one.policy, due_at)


async def _require_sight(entry: Entry, row: SecretRow) -> None:
    """Let those alone name an address for a value who may see it: a source of their own would show it to them."""
    if not entry.permits(Permission.SECRET_REVEAL, row.resource()):
        rule = f"a rotator sends {row.name} to the address that you name: you need {Permission.SECRET_REVEAL} for it"
        entry.deny("no_binding", rule)
    await guard_reveal(entry, row, row.active_version)


async def refuse_where_rotated(session: Session, secret_id: UUID, *, unless_paused: bool = False) -> None:
    """Raise :class:`Conflict` where a rotator changes the credential at its source, so that no version may come without it."""
    present = await rows.rotation_of(session, secret_id)
    if present is not None and present.rotator is not None and not (unless_paused and present.paused):
        rule = "a rotator changes this credential at its source: use 'overseer rotation run'"
        raise Conflict(f"{rule}, or pause the rotation before you go back by hand" if unless_paused else rule)


def run_view(run: RunRow) -> RotationRunView:
    """A run as it is shown."""
    return RotationRunView(
        id=str(run.id),
        cause=run.cause,
        state=run.state,
        previous_version=run.previous_version,
        candidate_version=run.candidate_version,
        rollout=None if run.rollout_id is None else str(run.rollout_id),
        attempts=run.attempts,
        error=run.error,
        created_by=run.creator,
        created_at=run.created_at,
        finished_at=run.finished_at,
    )


async def refuse_while_rotating(session: Session, secret_id: UUID) -> None:
    """Raise :class:`Conflict` while a rotation of the secret is on its way."""
    newest = (await rows.newest_runs(session, [secret_id])).get(secret_id)
    if newest is not None and newest.finished_at is None:
        raise Conflict(RUNNING)


async def _read(session: Session, secret: SecretRow) -> RotationView:
    present = await rows.rotation_of(session, secret.id)
    return _view(secret, present, (await rows.newest_runs(session, [secret.id])).get(secret.id))


def _view(secret: SecretRow, row: RotationRow | None, newest: RunRow | None) -> RotationView:
    names = secret.scope_names
    return RotationView(
        secret_id=str(secret.id),
        name=secret.name,
        scope=ScopeView(app=names.app, environment=names.environment, node=names.node),
        policy=secret.rotation,
        due_at=None if row is None else row.due_at,
        paused=row is not None and row.paused,
        rotator=None if row is None else row.rotator,
        set_by=None if row is None else row.setter,
        policy_set_by=None if row is None or secret.rotation is None else row.policy_setter,
        stopped="" if row is None else row.stopped,
        newest_run=None if newest is None else run_view(newest),
    )


def _cursor(cursor: str | None, limit: int) -> UUID | None:
    try:
        if 1 <= limit <= MAX_LIMIT:
            return UUID(cursor) if cursor is not None else None
    except ValueError:
        pass
    rule = f"limit is 1 to {MAX_LIMIT}, cursor the next_cursor of the page before"
    raise InvalidInput(rule, problems=[Problem("query", rule, "bad_cursor")])

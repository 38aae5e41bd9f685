"""The steps of one rotation, each a transition from a state that is stored to the next.

Where a rotator changes the credential at its source the steps are:

    waiting → prepared (the new version is stored, nobody gets it) → applied (it works at the source) → verified (a login with it
    worked) → published (by a rollout, where containers use the secret) → acknowledged (every consumer has it) → succeeded
    (the old credential is dead). Where it goes wrong before that: → reverting → reverted (the old one works, the new one not).
    Where whoever stands for the run may not any more, ``rotation_admission`` says what becomes of it.

Without one: waiting → published → succeeded or reverted.

Guarantees: the new credential is stored before the source knows it, and stays; a call to a source is made outside of any
transaction and lock, and can be repeated; a state is stored by whoever holds the run's lease, so of two who believe that they
hold it one stores nothing. So a crash at any point leaves the state before the step: the step is done again. The old credential
is retired only after the rollout succeeded, and after the grace that the policy gives it. Each use of the administrator's
credential is a row that is committed before it is opened.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any, Final
from uuid import UUID

from overseer.core.audit_events import AuditAction, AuditEvent
from overseer.core.errors import Conflict, InvalidInput, Unavailable
from overseer.core.generators import DEFAULT_SPEC, Generator, parse_spec
from overseer.server.address_rules import AddressRule
from overseer.server.rotators.contract import Rotator
from overseer.server.rotators.selection import make_rotator
from overseer.server.services.gate import Gate
from overseer.server.services.key_service import KeyService
from overseer.server.services.rollout_driver import RolloutDriver
from overseer.server.services.rotation_admission import (
    LOOK_SECONDS,
    MEANWHILE,
    Turn,
    before_apply,
    before_publish,
    before_retire,
    before_revert,
    taken_by_hand,
)
from overseer.server.services.rotation_consumers import still_arriving, still_going_back
from overseer.server.services.rotation_credentials import RotationCredentials
from overseer.server.services.rotation_events import run_event
from overseer.server.services.rotation_rights import refused_now
from overseer.server.services.secret_input import CA_BY_HAND, NewValue
from overseer.server.services.secret_storing import seal_version_at
from overseer.server.services.secret_writing import rotation_generator
from overseer.server.services.value_making import ValueMaking
from overseer.server.services.value_opener import open_stored
from overseer.server.storage import rollout_rows, secret_rows
from overseer.server.storage import secret_rotation_rows as rows
from overseer.server.storage.database import Session
from overseer.server.storage.secret_rotation_rows import RunRow
from overseer.server.storage.secret_rows import SecretRow
from overseer.server.storage.version_rows import begin_grace, insert_version, stored_versions

_TEXT_KINDS: Final = frozenset({"password", "passphrase", "token", "hex", "base64", "uuid"})

Admission = Callable[[Session, list[AuditEvent], SecretRow, RunRow], Awaitable[Turn | None]]


@dataclass(frozen=True, slots=True)
class Held:
    """A run and the lease under which it is worked on."""

    run: RunRow
    lease: UUID


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """The step was not done: the run after the one that was taken instead, None as for :meth:`RotationSteps.go_on`."""

    held: Held | None


class RotationSteps:
    """See the module's text. For the driver only: no method decides whether a caller may."""

    def __init__(
        self,
        gate: Gate,
        keys: KeyService,
        values: ValueMaking,
        rollouts: RolloutDriver,
        credentials: RotationCredentials,
        rule: AddressRule,
        make: Callable[[dict[str, Any], AddressRule], Rotator] = make_rotator,
    ) -> None:
        self._gate = gate
        self._keys = keys
        self._values = values
        self._rollouts = rollouts
        self._credentials = credentials
        self._rule = rule
        self._make = make

    async def go_on(self, held: Held) -> Held | None:
        """One step. The run after it, or None where it ended, or waits. Raises what may pass (:class:`NotReady`,
        :class:`Conflict`), and :class:`InvalidInput` for what will not."""
        run = held.run
        if run.rotator is None:
            return await (self._rotate(held) if run.state == "waiting" else self._look(held))
        steps: dict[str, Callable[[Held, Rotator], Awaitable[Held | None]]] = {
            "waiting": self._prepare,
            "prepared": self._apply,
            "applied": self._verify,
            "verified": self._publish,
            "published": lambda one, _: self._look(one),
            "acknowledged": self._retire,
            "reverting": self._revert,
        }
        return await steps[run.state](held, self._make(run.rotator, self._rule))

    async def _rotate(self, held: Held) -> Held | None:
        """A new version, and that is all there is to it."""
        async with self._gate.own_work() as (session, _):
            secret = await _secret(session, held.run)
        generator = rotation_generator(secret)
        if generator.signer is not None:
            raise InvalidInput(CA_BY_HAND)
        value = await self._values.keys(generator, None) if generator.makes_keys else generator.make()
        await self._keys.prepare_to_encrypt()
        async with self._gate.own_work() as (session, events):
            secret = await self._locked(session, held)
            error = await refused_now(session, events, secret, held.run)
            if error:
                return await self._moved(session, held, "failed", error=error, ends=True)
            version = secret.latest_version + 1
            await self._store(session, secret, version, NewValue(value, str(generator)), held.run.created_by)
            events.append(run_event(AuditAction.SECRET_ROTATE, secret, held.run, version, held.run.cause))
            return await self._give_out(session, events, held, secret, version)

    async def _prepare(self, held: Held, rotator: Rotator) -> Held | None:
        async with self._gate.own_work() as (session, events):
            secret = await _secret(session, held.run)
            wanted = (secret.id, secret.active_version)
            stored = (await stored_versions(session, [wanted]))[wanted]
            events.append(run_event(AuditAction.SECRET_USE, secret, held.run, secret.active_version, "rotation:prepare"))
        current = open_stored(stored, await self._keys.keyring_for({stored.kek_term}))
        value = rotator.compose(current, _text_generator(secret).make())
        await self._keys.prepare_to_encrypt()
        async with self._gate.own_work() as (session, events):
            locked = await self._locked(session, held)
            if locked.active_version != secret.active_version:
                raise Conflict(MEANWHILE)
            error = await refused_now(session, events, locked, held.run)
            if error:
                return await self._moved(session, held, "failed", error=error, ends=True)
            version = locked.latest_version + 1
            await self._store(session, locked, version, NewValue(value, None), held.run.created_by)
            events.append(run_event(AuditAction.SECRET_ROTATE, locked, held.run, version, held.run.cause))
            versions = {"previous": locked.active_version, "candidate": version}
            return await self._moved(session, held, "prepared", **versions)

    async def _apply(self, held: Held, rotator: Rotator) -> Held | None:
        elsewhere = await self._admit(held, before_apply, "apply")
        if elsewhere is not None:
            return elsewhere.held
        await rotator.apply(await self._credentials.change(held.run, "apply"))
        return await self._move(held, "applied")

    async def _verify(self, held: Held, rotator: Rotator) -> Held | None:
        elsewhere = await self._admit(held, before_apply)
        if elsewhere is not None:
            return elsewhere.held
        await rotator.verify(await self._credentials.change(held.run, "verify"))
        return await self._move(held, "verified")

    async def _publish(self, held: Held, _: Rotator) -> Held | None:
        async with self._gate.own_work() as (session, events):
            secret = await self._locked(session, held)
            if await taken_by_hand(session, secret, held.run):
                if await still_arriving(session, self._rollouts, secret, held.run):
                    return None
                return await self._acknowledged(session, held, secret)
            turn = await before_publish(session, events, secret, held.run)
            if turn is not None:
                return await self._moved(session, held, **asdict(turn))
            assert held.run.candidate_version is not None  # noqa: S101  # prepared before
            return await self._give_out(session, events, held, secret, held.run.candidate_version)

    async def _look(self, held: Held) -> Held | None:
        """Whether the consumers have the new version, or went back."""
        run = held.run
        async with self._gate.own_work() as (session, events):
            secret = await _secret(session, run)
            rollout = await rollout_rows.rollout_by_id(session, run.rollout_id) if run.rollout_id else None
            if rollout is not None and rollout.state == "running":
                await rows.try_later(session, run.id, LOOK_SECONDS, None)
                return None
            if rollout is not None and rollout.state == "succeeded":
                return await self._acknowledged(session, held, secret)
            error = "the rollout was withdrawn" + (f": {rollout.error}" if rollout is not None and rollout.error else "")
            if run.rotator is not None:
                return await self._moved(session, held, "reverting", error=error)
            events.append(run_event(AuditAction.ALARM_ROTATION_FAILED, secret, run, run.candidate_version, "withdrawn"))
            return await self._moved(session, held, "reverted", error=error, ends=True)

    async def _retire(self, held: Held, rotator: Rotator) -> Held | None:
        elsewhere = await self._admit(held, before_retire, "retire")
        if elsewhere is not None:
            return elsewhere.held
        await rotator.retire(await self._credentials.change(held.run, "retire"))
        return await self._move(held, "succeeded", ends=True)

    async def _revert(self, held: Held, rotator: Rotator) -> Held | None:
        async with self._gate.own_work() as (session, _):
            if rotator.both_work and await still_going_back(session, held.run):
                return None
        elsewhere = await self._admit(held, before_revert, "revert")
        if elsewhere is not None:
            return elsewhere.held
        await rotator.revert(await self._credentials.change(held.run, "revert"))
        async with self._gate.own_work() as (session, events):
            secret = await _secret(session, held.run)
            events.append(run_event(AuditAction.ALARM_ROTATION_FAILED, secret, held.run, held.run.candidate_version, "reverted"))
            return await self._moved(session, held, "reverted", ends=True)

    async def _admit(self, held: Held, before: Admission, call: str = "") -> Elsewhere | None:
        """None where the step may be done; a ``call`` at the source is marked then, in the same transaction."""
        async with self._gate.own_work() as (session, events):
            secret = await self._locked(session, held)
            turn = await before(session, events, secret, held.run)
            if turn is not None:
                return Elsewhere(await self._moved(session, held, **asdict(turn)))
            if not await rows.lease_held(session, held.run.id, held.lease):
                raise LeaseLost("another process goes on with this rotation")
            if call:
                await rows.begin_call(session, held.run.id, call)
            return None

    async def _give_out(
        self, session: Session, events: list[AuditEvent], held: Held, secret: SecretRow, version: int
    ) -> Held | None:
        """Make ``version`` the active one: by a rollout, or at once where no container uses the secret."""
        await self._rollouts.check_none_runs(session, secret.id)
        begun = await self._rollouts.begin(session, secret, version, held.run.created_by)
        versions = {"previous": secret.active_version, "candidate": version}
        if begun is not None:
            await secret_rows.touch_secret(session, secret.id)
            events.append(run_event(AuditAction.ROLLOUT_START, secret, held.run, version, f"nodes:{begun.nodes}"))
            return await self._moved(session, held, "published", rollout=begun.id, wait=0.5, **versions)
        await secret_rows.activate_version(session, secret.id, version)
        await begin_grace(session, secret.id, secret.active_version, version)
        return await self._acknowledged(session, held, secret, **versions)

    async def _acknowledged(self, session: Session, held: Held, secret: SecretRow, **versions: int) -> Held | None:
        if held.run.rotator is None:
            return await self._moved(session, held, "succeeded", ends=True, **versions)
        grace = float((secret.rotation or {}).get("grace_days", 0) * 86400)
        return await self._moved(session, held, "acknowledged", wait=grace, **versions)

    async def _store(
        self, session: Session, secret: SecretRow, version: int, value: NewValue, created_by: UUID | None
    ) -> None:
        now = await session.fetchval("database_clock")
        sealed = seal_version_at(now, self._keys, secret.id, secret.scope_id, version, value.value)
        await insert_version(session, sealed, created_by)
        await secret_rows.add_version(session, secret.id, version, False, value.generator)

    async def _locked(self, session: Session, held: Held) -> SecretRow:
        """The secret under its lock, in the order that everybody takes: secret, then run."""
        secret = await secret_rows.lock_secret(session, held.run.secret_id)
        if secret is None:
            raise Unavailable("the secret was deleted meanwhile")
        if secret.source is not None and held.run.state == "waiting":
            raise InvalidInput("the secret comes from a backend: it has no values of its own")
        return secret

    async def _move(self, held: Held, state: str, **fields: Any) -> Held | None:
        async with self._gate.own_work() as (session, _):
            return await self._moved(session, held, state, **fields)

    async def _moved(self, session: Session, held: Held, state: str, **fields: Any) -> Held | None:
        """Store the step. Raises :class:`LeaseLost`, which undoes the transaction, where somebody else has taken the run over."""
        if not await rows.lease_held(session, held.run.id, held.lease):
            raise LeaseLost("another process goes on with this rotation")
        await rows.move_run(session, held.run.id, state, **fields)
        moved = await rows.run_by_id(session, held.run.id)
        if moved is None or fields.get("ends") or fields.get("wait", 0.0) > 0:
            return None
        return Held(moved, held.lease)


class LeaseLost(Exception):
    """Somebody else goes on with the run: nothing of this step was stored."""


def _text_generator(secret: SecretRow) -> Generator:
    """What makes a password for a source: the policy's generator where it makes text, else the default one."""
    generator = parse_spec((secret.rotation or {}).get("generate") or DEFAULT_SPEC)
    return generator if generator.kind in _TEXT_KINDS else parse_spec(DEFAULT_SPEC)


async def _secret(session: Session, run: RunRow) -> SecretRow:
    secret = await secret_rows.secret_by_id(session, run.secret_id)
    if secret is None:
        raise Unavailable("the secret was deleted meanwhile")
    return secret

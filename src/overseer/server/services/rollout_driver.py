"""Rollouts on their way: started with an activation, driven by what agents report, withdrawn where the candidate is unhealthy.

A step is an ordinary deployment: a copy of what runs in a place, with another version of the one secret. ``rollout_decisions``
says what comes next; this module does it, in one transaction under the lock of the secret, with the audit rows of it. It is
asked after each report of a node that takes part and every few seconds by the leader's housekeeping, so a crash between a
report and the next step delays the step and loses nothing.

Locks are taken in the order secret, nodes, deployments; whoever makes deployments keeps it, too.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from overseer.core.audit_events import AuditAction, AuditEvent, Outcome
from overseer.core.errors import Conflict, CredentialChanging, OverseerError
from overseer.core.identifiers import new_id
from overseer.server.services.gate import Entry, Gate
from overseer.server.services.rollout_decisions import NOT_TAKEN, Place, consumers, decide, places_of, returns
from overseer.server.services.work_signal import WorkSignal
from overseer.server.storage import rollout_rows, secret_rows
from overseer.server.storage.database import Session
from overseer.server.storage.rollout_rows import RolloutRow
from overseer.server.storage.secret_rotation_rows import calling
from overseer.server.storage.secret_rows import SecretRow
from overseer.server.storage.version_rows import begin_grace

CALLING: Final = "a rotation is changing this credential at its source: try again in a moment"
_LOG: Final = logging.getLogger("overseer.server")


@dataclass(frozen=True, slots=True)
class Begun:
    """A rollout that began, and how many nodes it reaches."""

    id: UUID
    nodes: int


class RolloutDriver:
    """See the module's text. For other services only: none of its methods decides whether a caller may."""

    def __init__(self, gate: Gate, signal: WorkSignal) -> None:
        self._gate = gate
        self._signal = signal

    async def start(self, entry: Entry, row: SecretRow, candidate: int) -> UUID | None:
        """Begin to bring ``candidate`` to the containers that use the secret, in the caller's transaction; None where there
        are none, so that the caller may flip the active version. The caller holds the secret's lock.
        """
        begun = await self.begin(entry.session, row, candidate, entry.actor.id)
        if begun is None:
            return None
        entry.accept(row.resource(candidate), action=AuditAction.ROLLOUT_START)
        entry.amend(code=f"nodes:{begun.nodes}")
        return begun.id

    async def begin(self, session: Session, row: SecretRow, candidate: int, created_by: UUID | None) -> Begun | None:
        """As :meth:`start`, for the server's own work: the caller writes the audit row."""
        rollout_id = new_id(await session.fetchval("database_clock"))
        nodes = consumers(places_of(await rollout_rows.placed_deployments(session, row.id, rollout_id)), candidate)
        if not nodes:
            return None
        await rollout_rows.insert_rollout(session, rollout_id, row.id, row.active_version, candidate, created_by)
        await rollout_rows.add_nodes(session, rollout_id, nodes)
        rollout = await rollout_rows.rollout_by_id(session, rollout_id)
        assert rollout is not None  # noqa: S101  # inserted above
        await self._move(session, row, rollout)
        return Begun(rollout_id, len(nodes))

    async def would_start(self, session: Session, secret_id: UUID, candidate: int) -> bool:
        """True where :meth:`start` would begin a rollout."""
        no_rollout_yet = UUID(int=0)
        placed = await rollout_rows.placed_deployments(session, secret_id, no_rollout_yet)
        return bool(consumers(places_of(placed), candidate))

    async def check_none_runs(self, session: Session, secret_id: UUID) -> None:
        """Raise :class:`Conflict` that names the rollout of the secret that is running, and :class:`CredentialChanging` while a
        rotation calls its source. The caller holds the secret's lock."""
        if await calling(session, [secret_id]):
            raise CredentialChanging(CALLING)
        running = await rollout_rows.running_rollout(session, secret_id)
        if running is not None:
            raise Conflict(
                f"version {running.candidate_version} of this secret is being rolled out: wait for it, "
                f"or withdraw it with 'overseer rollout withdraw {running.id}'"
            )

    def wake(self) -> None:
        """Steps were committed: let waiting agents look."""
        self._signal.notify()

    async def advance(self, request_id: str, node_id: UUID | None = None) -> None:
        """Let every running rollout (that reaches ``node_id``) go on. A failure is logged: the next call tries again."""
        try:
            async with self._gate.own_work() as (session, _):
                running = await rollout_rows.running_rollouts(session, node_id)
        except OverseerError as error:
            _LOG.warning("rollouts could not be looked at: %s", error.code)
            return
        for rollout_id in running:
            try:
                await self._advance(rollout_id, request_id)
            except OverseerError as error:
                _LOG.warning("rollout %s could not go on: %s", rollout_id, error.code)

    async def _advance(self, rollout_id: UUID, request_id: str) -> None:
        async with self._gate.own_work() as (session, events):
            found = await rollout_rows.rollout_by_id(session, rollout_id)
            secret = await secret_rows.lock_secret(session, found.secret_id) if found else None
            rollout = await rollout_rows.rollout_by_id(session, rollout_id)
            if secret is None or rollout is None or rollout.state != "running":
                return
            action = await self._move(session, secret, rollout)
            if action is not None:
                events.append(_own_event(secret, rollout, action, request_id))
        self.wake()

    async def _move(self, session: Session, secret: SecretRow, rollout: RolloutRow) -> AuditAction | None:
        """Do what is next; how the rollout ended, if it did."""
        await rollout_rows.lock_nodes(session, rollout.id, secret.id)
        nodes = (await rollout_rows.rollout_nodes(session, [rollout.id]))[rollout.id]
        places = places_of(await rollout_rows.placed_deployments(session, secret.id, rollout.id))
        now = await session.fetchval("database_clock")
        moves = decide(nodes, places, rollout.candidate_version, now)
        await rollout_rows.add_nodes(session, rollout.id, moves.add)
        for node_id, state in moves.states.items():
            await rollout_rows.set_node(session, rollout.id, node_id, state)
        for node_id in moves.overdue:
            await rollout_rows.fail_overdue_steps(session, rollout.id, node_id, NOT_TAKEN)
        if moves.unhealthy:
            why = f"unhealthy with version {rollout.candidate_version} on {', '.join(sorted(moves.unhealthy))}"
            await self.withdraw(session, secret, rollout, why)
            return AuditAction.ROLLOUT_WITHDRAWN
        for place in moves.steps:
            assert place.current is not None  # noqa: S101  # a place that is behind has one
            await _step(session, secret, rollout, place.current.id, "candidate")
        if not moves.finished:
            return None
        await secret_rows.activate_version(session, secret.id, rollout.candidate_version)
        await begin_grace(session, secret.id, secret.active_version, rollout.candidate_version)
        await rollout_rows.finish_rollout(session, rollout.id, "succeeded")
        return AuditAction.ROLLOUT_SUCCEEDED

    async def withdraw(self, session: Session, secret: SecretRow, rollout: RolloutRow, why: str) -> None:
        """End a running rollout and bring the previous version back wherever the candidate is or may be.

        The caller holds the secret's lock and writes the audit row.
        """
        await rollout_rows.lock_nodes(session, rollout.id, secret.id)
        await rollout_rows.cancel_unseen_steps(session, rollout.id)
        nodes = (await rollout_rows.rollout_nodes(session, [rollout.id]))[rollout.id]
        places = places_of(await rollout_rows.placed_deployments(session, secret.id, rollout.id))
        for place, base in returns(nodes, places, rollout.candidate_version):
            await _go_back(session, secret, rollout, place, base.id)
        for row in nodes:
            if row.state != "unhealthy":
                await rollout_rows.set_node(session, rollout.id, row.node_id, "withdrawn")
        await rollout_rows.finish_rollout(session, rollout.id, "withdrawn", why)
        await secret_rows.touch_secret(session, secret.id)

    async def abandon(self, entry: Entry, secret: SecretRow) -> None:
        """The secret is about to be deleted: steps that no agent has seen are dropped, what runs keeps running."""
        rollout = await rollout_rows.running_rollout(entry.session, secret.id)
        if rollout is not None:
            await rollout_rows.cancel_unseen_steps(entry.session, rollout.id)
            entry.accept(secret.resource(rollout.candidate_version), action=AuditAction.ROLLOUT_WITHDRAWN)
            entry.amend(code="secret_deleted")


async def _step(session: Session, secret: SecretRow, rollout: RolloutRow, base: UUID, step: str) -> None:
    version = rollout.candidate_version if step == "candidate" else rollout.previous_version
    deployment_id = new_id(await session.fetchval("database_clock"))
    options = {"rollout": str(rollout.id), "step": step}
    await rollout_rows.copy_deployment(session, base, deployment_id, options, rollout.created_by)
    await rollout_rows.copy_references(session, base, deployment_id, secret.id, version)


async def _go_back(session: Session, secret: SecretRow, rollout: RolloutRow, place: Place, base: UUID) -> None:
    # A queued deployment with the candidate is repeated with the previous version, so the queued one must not run.
    await rollout_rows.supersede_queued(session, place.node_id, place.project)
    await _step(session, secret, rollout, base, "back")


def _own_event(secret: SecretRow, rollout: RolloutRow, action: AuditAction, request_id: str) -> AuditEvent:
    """The row of what the server does by itself, on behalf of whoever activated."""
    names = secret.scope_names
    return AuditEvent(
        action=action,
        outcome=Outcome.ALLOWED,
        request_id=request_id,
        on_behalf_of=rollout.created_by,
        resource_kind="secret",
        resource_id=secret.id,
        resource_name=secret.name,
        app=names.app,
        environment=names.environment,
        node=names.node,
        version=rollout.candidate_version,
        code="unhealthy" if action is AuditAction.ROLLOUT_WITHDRAWN else "",
    )

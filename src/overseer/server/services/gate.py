"""The one gate: it finds out who asks, decides, and audits. Nothing in the server reads or changes anything beside it.

Every public service method enters the gate and passes a decision inside::

    async with self._gate.enter(caller, AuditAction.SECRET_CREATE) as entry:
        entry.authorise(Permission.SECRET_WRITE, resource)
        ... statements on entry.session ...
        entry.amend(resource_id=..., version=...)

What it guarantees:

- The credential, principal, groups and bindings are read in the transaction of this request: a revocation holds on the next one.
- A block that ends normally commits its rows *together with* one audit row for each decision. A block that ends without any
  decision is a programming error and is rolled back.
- A block that raises is rolled back; then the denial or failure is committed alone, on the same connection (a second one could
  be refused when the pool is empty). If that row cannot be written the answer is :class:`AuditUnavailable`, whatever was raised.
- A value is decrypted only after the block, that is, after its audit row was committed.
- A principal (a peer where nobody is known) has a few transactions under way at a time, so that it leaves connections to others.
- Denials are limited per principal (per peer where nobody is known): beyond the limit the answer is 429, and the denials are
  counted into the ``repeats`` of the next row, so that a flood neither fills the disk nor goes unseen.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from ipaddress import ip_address
from typing import Any, NoReturn
from uuid import UUID

from overseer.core.access import Allowed, Resource, decide, holds_anywhere
from overseer.core.audit_events import AuditAction, AuditEvent, Outcome
from overseer.core.errors import (
    AuditUnavailable,
    Denied,
    OverseerError,
    RateLimited,
    SecondFactorUnset,
    Unauthenticated,
    Unavailable,
)
from overseer.core.permissions import Permission
from overseer.core.principals import Actor, Caller
from overseer.server.services.denial_limits import DenialLimits
from overseer.server.services.token_holders import TokenHolders, Turns
from overseer.server.storage.audit_rows import insert_events
from overseer.server.storage.database import Database, Session
from overseer.server.storage.identity_rows import ENROLLING, identify, mark_used

NO_TOKEN = "this needs a token: send it as 'Authorization: Bearer ovs_…'"
NO_SECOND_FACTOR = "set up a second factor first (`overseer account second-factor`): until then this session can do nothing else"
UNKNOWN_TOKEN = "this token is not known here"
REFUSALS = (Denied, Unauthenticated, Unavailable)
MAX_REFUSAL_ROWS = 50
HIDDEN_MESSAGE = "it does not exist, or you may not know that it does"


class Entry:
    """One request inside the gate: the session of its transaction, who asks, and what was decided so far."""

    def __init__(self, session: Session, caller: Caller, action: AuditAction) -> None:
        self.session = session
        self._caller = caller
        self._action = action
        self._actor: Actor | None = None
        self._now: datetime | None = None
        self.enrolling = False
        self._events: list[AuditEvent] = []
        self._beside: list[AuditEvent] = []
        self._spending: dict[UUID, Callable[[], Awaitable[object]]] = {}
        self._decided = False

    @property
    def actor(self) -> Actor:
        """Who asks. Raises RuntimeError on a route that needs no credential."""
        if self._actor is None:
            raise RuntimeError("this entry has no actor")
        return self._actor

    @property
    def now(self) -> datetime:
        """The database's clock at the beginning of the request."""
        if self._now is None:
            raise RuntimeError("this entry has no clock")
        return self._now

    @property
    def decided(self) -> bool:
        return self._decided

    @property
    def events(self) -> list[AuditEvent]:
        return self._events

    @property
    def beside(self) -> list[AuditEvent]:
        """What happened with the request besides its decisions; written only where it is committed."""
        return self._beside

    def identified(self, actor: Actor | None, now: datetime, *, enrolling: bool = False) -> None:
        """Called by the gate alone, once. ``enrolling``: it can only set up a second factor, and brings no bindings."""
        self._actor = replace(actor, bindings=()) if actor and enrolling else actor
        self._now, self.enrolling = now, enrolling

    def attribute(self, actor: Actor) -> None:
        """On an open route: whose credential was proven, so that the rows name it. It brings no bindings."""
        self._actor = replace(actor, bindings=())

    def permits(self, permission: Permission, resource: Resource) -> bool:
        """The bare decision, without a row: for choosing between two refusals, never for letting something through."""
        return isinstance(decide(self.actor.bindings, permission, resource, self.now), Allowed)

    def authorise(
        self,
        permission: Permission,
        resource: Resource,
        *,
        hide_without: Permission | None = None,
        action: AuditAction | None = None,
    ) -> None:
        """Let the request through for ``resource``, or raise.

        Raises :class:`Denied`; where the actor lacks ``hide_without`` there, :class:`Unavailable`, so that a refusal does not
        tell that the resource exists. The audit row says ``denied`` either way.
        """
        self._decided = True
        decision = decide(self.actor.bindings, permission, resource, self.now)
        if isinstance(decision, Allowed):
            self._events.append(self._event(resource, Outcome.ALLOWED, action=action))
            return
        self._events.append(self._event(resource, Outcome.DENIED, decision.reason, action=action))
        if hide_without is not None and not self.permits(hide_without, resource):
            self.hide(resource.kind)
        raise Denied(f"you lack {permission} for this {resource.kind}; ask an owner for a role that holds it")

    def authorise_list(self, permission: Permission, resource: Resource) -> None:
        """Let a list through when the actor holds ``permission`` over anything; the query then filters row by row."""
        self._decided = True
        if holds_anywhere(self.actor.bindings, permission, self.now):
            self._events.append(self._event(resource, Outcome.ALLOWED))
            return
        self._events.append(self._event(resource, Outcome.DENIED, "no_binding"))
        raise Denied(f"you lack {permission} everywhere; ask an owner for a role that holds it")

    def missing(self, resource: Resource) -> NoReturn:
        """What was asked for does not exist. The caller is told what a stranger to it would be told."""
        self._decided = True
        self._events.append(self._event(resource, Outcome.FAILED, "unavailable"))
        self.hide(resource.kind)

    def hide(self, kind: str) -> NoReturn:
        """Answer as for something that does not exist; what was refused stands in the rows already."""
        raise Unavailable(f"{kind}: {HIDDEN_MESSAGE}")

    def refuse(self, resource: Resource, code: str, *, action: AuditAction | None = None) -> None:
        """Note a denial or a missing part of a request for many; the service raises one error for all of them."""
        self._decided = True
        outcome = Outcome.FAILED if code == "unavailable" else Outcome.DENIED
        self._events.append(self._event(resource, outcome, code, action=action))

    def accept(self, resource: Resource, *, action: AuditAction | None = None) -> None:
        """Let through what needs no binding: a principal acting on itself, a credential that was just proven (enrolment),
        or what an earlier decision of the same request covers (each secret of a release)."""
        self._decided = True
        self._events.append(self._event(resource, Outcome.ALLOWED, action=action))

    def note_beside(self, resource: Resource, action: AuditAction, code: str = "") -> None:
        """A row beside the decisions, for what the request used up; it counts only where the request is committed."""
        self._beside.append(self._event(resource, Outcome.ALLOWED, code, action=action))

    def spend(self, what: UUID, use: Callable[[], Awaitable[object]]) -> None:
        """Use something up as the last work of this transaction, once; nothing where the request is postponed or fails."""
        self._spending[what] = use

    def spends(self, what: UUID) -> bool:
        return what in self._spending

    async def close(self) -> None:
        """Called by the gate alone, before the rows are written."""
        for use in self._spending.values():
            await use()

    def deny(self, code: str, message: str) -> NoReturn:
        """Turn the newest decision into a denial for a reason that no binding expresses, and raise :class:`Denied`."""
        self.deny_event(-1, code)
        raise Denied(message)

    def deny_event(self, position: int, code: str) -> None:
        """Turn one decision into such a denial; the service raises."""
        self._events[position] = replace(self._events[position], outcome=Outcome.DENIED, code=code)

    def amend(self, **fields: Any) -> None:
        """Complete the newest row with what the work found out (``resource_id``, ``version``, …)."""
        self._events[-1] = replace(self._events[-1], **fields)

    def drop_row(self) -> None:
        """Leave the newest decision without a row: only for an agent that is given nothing and says nothing new."""
        self._events.pop()

    def postpone(self) -> None:
        """Leave what was allowed without rows: the same request enters again at once, is decided again and writes them then.

        For work that takes long and belongs to no transaction; a refusal before it is audited as ever.
        """
        self._events.clear()
        self._beside.clear()
        self._spending.clear()

    def _event(
        self, resource: Resource, outcome: Outcome, code: str = "", *, action: AuditAction | None = None
    ) -> AuditEvent:
        actor, caller, names = self._actor, self._caller, resource.scope_names
        return AuditEvent(
            action=action or self._action,
            outcome=outcome,
            request_id=caller.request_id,
            actor_id=actor.id if actor else None,
            actor_name=actor.name if actor else "",
            actor_kind=actor.kind.value if actor else "",
            token_id=actor.token_id if actor else None,
            resource_kind=resource.kind,
            resource_id=resource.id,
            resource_name=resource.name,
            app=names.app,
            environment=names.environment,
            node=names.node,
            version=resource.version,
            code=code,
            peer=caller.peer,
            client=caller.client,
            reason=caller.reason,
            user_agent=caller.user_agent if caller.client == "other" else "",
        )

    def failure(self, error: OverseerError) -> list[AuditEvent]:
        """The rows of a request that raised: what was allowed did not happen, so it becomes ``failed``."""
        if not self._events:
            outcome = Outcome.DENIED if isinstance(error, Denied | Unauthenticated) else Outcome.FAILED
            return [self._event(Resource(kind=self._action.value.partition(":")[0]), outcome, error.code)]
        return [
            replace(event, outcome=Outcome.FAILED, code=error.code) if event.outcome is Outcome.ALLOWED else event
            for event in self._events
        ]


class Gate:
    """See the module's text. One instance a server process."""

    def __init__(self, database: Database, limits: DenialLimits | None = None) -> None:
        self._database = database
        self._limits = limits or DenialLimits()
        self._used: dict[UUID, datetime] = {}
        self.holders = TokenHolders()
        self._turns = Turns()

    @asynccontextmanager
    async def enter(self, caller: Caller, action: AuditAction, *, enrolling: bool = False) -> AsyncIterator[Entry]:
        """A transaction for a caller with a live credential. Raises :class:`Unauthenticated`, and all that the block raises.

        ``enrolling``: also for a session that can only set up a second factor; :class:`SecondFactorUnset` refuses it elsewhere.
        """
        async with self._admit(caller, action) as entry:
            await self._identify(entry, caller, enrolling=enrolling)
            yield entry

    @asynccontextmanager
    async def enter_open(self, caller: Caller, action: AuditAction) -> AsyncIterator[Entry]:
        """A transaction for a route whose credential is no token (an enrolment token, an assertion); it must decide, too."""
        async with self._admit(caller, action) as entry:
            entry.identified(None, await entry.session.fetchval("database_clock"))
            yield entry

    @asynccontextmanager
    async def own_work(self) -> AsyncIterator[tuple[Session, list[AuditEvent]]]:
        """A transaction of the server itself, for what no caller asks for (a rollout that goes on) or what a statement decides
        for many callers (``write_batches``): the rows that the block appends to the list are committed with its changes."""
        events: list[AuditEvent] = []
        async with self._database.work() as session:
            yield session, events
            await insert_events(session, events)

    @asynccontextmanager
    async def own_statements(self) -> AsyncIterator[Session]:
        """For work of the server itself whose every step is one statement, a transaction of its own and without audit rows."""
        async with self._database.session(one_statement=True) as session:
            yield session

    async def append(self, events: Iterable[AuditEvent]) -> None:
        """Commit rows of their own, for what is found out after a commit (a value that did not decrypt)."""
        async with self._database.work() as session:
            await insert_events(session, list(events))

    def note_use(self, caller: Caller, principal: UUID, token_id: UUID, now: datetime) -> None:
        """The caller's token, ``principal``'s, was used at ``now``; written down by the next :meth:`flush`."""
        self.holders.learn(caller.token_hash, principal)
        self._used[token_id] = now

    def count_denial(self, event: AuditEvent) -> bool:
        """Count a denial whose row a batch has written; False where the next ones of its principal or peer are too many."""
        return self._limits.spend(event)

    async def flush(self) -> None:
        """Write down last uses of tokens and counted denials; called now and then and at the end, never by a request."""
        used, self._used = self._used, {}
        left = self._limits.drain()
        if not (used or left):
            return
        try:
            async with self._database.work() as session:
                await insert_events(session, [event for event, _ in left], [count for _, count in left])
                if used:
                    await mark_used(session, used)
        except BaseException:
            self._used = {**used, **self._used}
            self._limits.restore(left)
            raise

    @asynccontextmanager
    async def _admit(self, caller: Caller, action: AuditAction) -> AsyncIterator[Entry]:
        async with self._turns.take(self.holders.whose(caller)), self._database.session() as session:
            entry = Entry(session, caller, action)
            try:
                async with session.transaction():
                    yield entry
                    if not entry.decided:
                        raise RuntimeError(f"{action} ended without passing the gate")
                    await entry.close()
                    await insert_events(session, [*entry.events, *entry.beside])
            except AuditUnavailable:
                raise
            except OverseerError as error:
                await self._record(session, entry.failure(error), refused=isinstance(error, REFUSALS))
                raise
            except Exception:
                # Our own fault: its text may hold anything, so the row only says that it happened.
                await self._record(session, entry.failure(OverseerError("internal error")), refused=False)
                raise

    async def _identify(self, entry: Entry, caller: Caller, *, enrolling: bool) -> None:
        if caller.token_hash is None:
            raise Unauthenticated(NO_TOKEN)
        found = await identify(entry.session, caller.token_hash, peer_address(caller.peer))
        if found is None:
            self.holders.forget(caller.token_hash)
            raise Unauthenticated(UNKNOWN_TOKEN)
        entry.identified(found.actor, found.now, enrolling=found.refusal == ENROLLING)
        if entry.enrolling and not enrolling:
            entry.refuse(Resource(kind="token", id=found.actor.token_id), found.refusal)
            raise SecondFactorUnset(NO_SECOND_FACTOR)
        if found.refusal and not entry.enrolling:
            self.holders.forget(caller.token_hash)
            entry.refuse(Resource(kind="token", id=found.actor.token_id), found.refusal)
            raise Unauthenticated(f"this token cannot be used ({found.refusal})")
        self.note_use(caller, found.actor.id, found.actor.token_id, found.now)

    async def _record(self, session: Session, events: list[AuditEvent], *, refused: bool) -> None:
        """Commit the rows of a request that raised, or raise :class:`RateLimited` where its caller was refused too often.

        What is hidden and what does not exist count alike, or the limit would tell them apart. A request for many leaves at
        most :data:`MAX_REFUSAL_ROWS` rows; the last one counts the rest in its ``repeats``.
        """
        rows: list[tuple[AuditEvent, int]] = [(event, 1) for event in events]
        limited = False
        if refused:
            beyond = max(0, len(events) - MAX_REFUSAL_ROWS)
            counted = [(event, self._limits.admit(event)) for event in events[: MAX_REFUSAL_ROWS]]
            rows = [(event, count) for event, count in counted if count]
            limited = len(rows) < len(counted)
            if rows and beyond:
                rows[-1] = (rows[-1][0], rows[-1][1] + beyond)
        try:
            async with session.transaction():
                await insert_events(session, [event for event, _ in rows], [count for _, count in rows])
        except BaseException:
            self._limits.restore([(event, count) for event, count in rows if refused])
            raise
        if limited:
            raise RateLimited("too many refused requests; wait and mend them", retry_after=self._limits.retry_after)


@lru_cache(maxsize=1024)
def peer_address(peer: str) -> str:
    """``peer`` in its normal form, '' where it is no address: the database casts it, and one bad row would abort a batch."""
    try:
        return str(ip_address(peer))
    except ValueError:
        return ""

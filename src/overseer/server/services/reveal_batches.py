"""Concurrent reveals of one process, gathered into statements that decide, audit and read for all of them at once.

A batch runs at once while fewer than two are under way; what arrives meanwhile is the next one (at most 256), so nothing waits
for a timer. Its snapshot begins after every request in it arrived: revocations and new versions hold as they do at the gate,
whose decision and rows the statement repeats (``sql/queries/reveals.sql``; a test holds one against the other). Nothing is
decrypted before the batch is committed.

What it leaves to the gate itself (``None``): a caller whose denials have become too many, so that they are counted there, and
what a batch had no room for. A lost connection is an error for the whole batch: whether it was committed is unknown, so it is not
tried again. A request that is cancelled stays audited.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

from overseer.core.audit_events import AuditAction, AuditEvent, Outcome
from overseer.core.errors import Denied, InvalidInput, NotReady, OverseerError, Unauthenticated, Unavailable
from overseer.core.principals import Caller
from overseer.server.services.gate import HIDDEN_MESSAGE, NO_TOKEN, UNKNOWN_TOKEN, Gate, peer_address
from overseer.server.services.secret_access import no_such_version
from overseer.server.storage.database import Database
from overseer.server.storage.reveal_rows import RevealOutcome, RevealRequest, RevealResult, reveal_batch
from overseer.server.storage.version_rows import StoredVersion

MOST_IN_BATCH: Final = 256
BATCHES_AT_ONCE: Final = 2
MOST_WAITING: Final = 4096
SLOW_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Released:
    """An envelope whose ``allowed`` row is committed; ``event`` is that row, for a correction where it does not open."""

    name: str
    stored: StoredVersion
    event: AuditEvent


@dataclass(frozen=True, slots=True)
class _Waiting:
    request: RevealRequest
    answer: asyncio.Future[RevealResult]


class RevealBatches:
    """One instance a server process, used by one event loop."""

    def __init__(self, database: Database, gate: Gate, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._gate = gate
        self._clock = clock
        self._waiting: deque[_Waiting] = deque()
        self._running: set[asyncio.Task[None]] = set()
        self._slow: dict[bytes | str, float] = {}

    async def release(self, caller: Caller, secret_id: UUID, version: int | None) -> Released | None:
        """The envelope of a version, authorised and audited; None: ask the gate.

        Raises what the gate raises: :class:`Unauthenticated`, :class:`Denied`, :class:`Unavailable`; :class:`NotReady` where too
        many wait.
        """
        if self._is_slow(caller):
            return None
        if len(self._waiting) >= MOST_WAITING:
            raise NotReady("too many reveals are waiting; try again", retry_after=1)
        request = RevealRequest(replace(caller, peer=peer_address(caller.peer)), secret_id, version)
        waiting = _Waiting(request, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._start()
        return self._judge(request, await waiting.answer)

    def _start(self) -> None:
        while self._waiting and len(self._running) < BATCHES_AT_ONCE:
            batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), MOST_IN_BATCH))]
            task = asyncio.create_task(self._run(batch))
            self._running.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._start()

    async def _run(self, batch: list[_Waiting]) -> None:
        try:
            async with self._database.session() as session:
                results = await reveal_batch(session, [one.request for one in batch])
        except InvalidInput as error:
            # One row that PostgreSQL cannot take aborts the statement, so nothing of it happened: find that row alone.
            if len(batch) > 1:
                half = len(batch) // 2
                await self._run(batch[:half])
                await self._run(batch[half:])
            else:
                _fail(batch, error)
        except OverseerError as error:
            _fail(batch, error)
        except BaseException:
            _fail(batch, OverseerError("internal error"))
            raise
        else:
            for one, result in zip(batch, results, strict=True):
                if not one.answer.done():
                    one.answer.set_result(result)

    def _judge(self, request: RevealRequest, result: RevealResult) -> Released | None:
        if result.token_id is not None and result.outcome is not RevealOutcome.REFUSED:
            self._gate.note_use(result.token_id, result.now)
        if result.outcome is RevealOutcome.ALLOWED and result.stored is not None:
            return Released(result.name, result.stored, _event(request, result))
        if result.outcome is RevealOutcome.LATER:
            return None
        self._count_denial(request, result)
        raise _refusal(request, result)

    def _is_slow(self, caller: Caller) -> bool:
        if not self._slow:
            return False
        now = self._clock()
        self._slow = {key: until for key, until in self._slow.items() if until > now}
        return f"peer {caller.peer}" in self._slow or (caller.token_hash is not None and caller.token_hash in self._slow)

    def _count_denial(self, request: RevealRequest, result: RevealResult) -> None:
        """The row is written; once the bucket of its principal or peer is empty, the next ones go through the gate."""
        if self._gate.count_denial(_event(request, result)):
            return
        key = request.caller.token_hash if result.principal_id is not None else None
        self._slow[key if key is not None else f"peer {request.caller.peer}"] = self._clock() + SLOW_SECONDS


def _refusal(request: RevealRequest, result: RevealResult) -> OverseerError:
    """The error that the gate raises for the same row."""
    match result.outcome:
        case RevealOutcome.REFUSED if result.principal_id is None:
            return Unauthenticated(NO_TOKEN if request.caller.token_hash is None else UNKNOWN_TOKEN)
        case RevealOutcome.REFUSED:
            return Unauthenticated(f"this token cannot be used ({result.code})")
        case RevealOutcome.DENIED if result.lists:
            return Denied("you lack secret:reveal for this secret; ask an owner for a role that holds it")
        case RevealOutcome.NO_VERSION:
            return no_such_version()
        case _:
            return Unavailable(f"secret: {HIDDEN_MESSAGE}")


def _event(request: RevealRequest, result: RevealResult) -> AuditEvent:
    """The row that the statement wrote, as far as a correction or a count of denials needs it."""
    caller = request.caller
    allowed = result.outcome is RevealOutcome.ALLOWED
    return AuditEvent(
        action=AuditAction.SECRET_REVEAL,
        outcome=Outcome.ALLOWED if allowed else Outcome.DENIED,
        request_id=caller.request_id,
        actor_id=result.principal_id,
        actor_name=result.principal_name,
        actor_kind=result.principal_kind,
        token_id=result.token_id,
        resource_kind="secret",
        resource_id=request.secret_id,
        resource_name=result.name,
        app=result.app,
        environment=result.environment,
        node=result.node,
        version=result.stored.version if result.stored else None,
        code=result.code,
        peer=caller.peer,
        client=caller.client,
    )


def _fail(batch: list[_Waiting], error: OverseerError) -> None:
    for one in batch:
        if not one.answer.done():
            # An exception of its own for each: one that is raised in many tasks collects all of their tracebacks.
            one.answer.set_exception(_copy(error))


def _copy(error: OverseerError) -> OverseerError:
    if isinstance(error, NotReady):
        return type(error)(error.message, retry_after=error.retry_after)
    return type(error)(error.message) if isinstance(error, InvalidInput) else OverseerError(error.message)

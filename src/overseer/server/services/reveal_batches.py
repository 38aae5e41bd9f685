"""Concurrent reveals of one process, gathered into statements that decide, audit and read for all of them at once.

The snapshot of a batch (``request_batches``) begins after every request in it arrived: revocations and new versions hold as they
do at the gate, whose decision and rows the statement repeats (``sql/queries/reveals.sql``; a test holds one against the
other). Nothing is decrypted before the batch is committed.

What it leaves to the gate itself (``None``): a caller whose denials have become too many, so that they are counted there, and
what a batch had no room for.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

from overseer.core.audit_events import AuditAction, AuditEvent, Outcome
from overseer.core.errors import Denied, OverseerError, SecondFactorUnset, Unauthenticated, Unavailable
from overseer.core.principals import Caller
from overseer.server.services.gate import HIDDEN_MESSAGE, NO_SECOND_FACTOR, NO_TOKEN, UNKNOWN_TOKEN, Gate, peer_address
from overseer.server.services.request_batches import RequestBatches
from overseer.server.services.secret_access import no_such_version
from overseer.server.services.token_holders import Holder
from overseer.server.storage.database import Database
from overseer.server.storage.identity_rows import ENROLLING
from overseer.server.storage.reveal_rows import RevealOutcome, RevealRequest, RevealResult, reveal_batch
from overseer.server.storage.version_rows import StoredVersion

SLOW_SECONDS: Final = 5.0


@dataclass(slots=True)
class Released:
    """An envelope whose ``allowed`` row is committed, with that row's code; ``event`` gives the row, for a correction where it
    does not open."""

    name: str
    stored: StoredVersion
    code: str
    event: Callable[[], AuditEvent]


class RevealBatches:
    """One instance a server process, used by one event loop."""

    def __init__(self, database: Database, gate: Gate, clock: Callable[[], float] = time.monotonic) -> None:
        self._gate = gate
        self._clock = clock
        self._batches: RequestBatches[RevealRequest, RevealResult] = RequestBatches(
            reveal_batch,
            lend=lambda: database.session(one_statement=True),
            whose=lambda request: gate.holders.whose(request.caller),
            kind="reveal",
        )
        self._slow: dict[Holder, float] = {}

    async def release(self, caller: Caller, secret_id: UUID, version: int | None) -> Released | None:
        """The envelope of a version, authorised and audited; None: ask the gate.

        Raises what the gate raises: :class:`Unauthenticated`, :class:`Denied`, :class:`Unavailable`; and what
        :meth:`RequestBatches.ask` raises.
        """
        if self._is_slow(caller):
            return None
        peer = peer_address(caller.peer)
        request = RevealRequest(caller if peer == caller.peer else replace(caller, peer=peer), secret_id, version)
        return self._judge(request, await self._batches.ask(request))

    def _judge(self, request: RevealRequest, result: RevealResult) -> Released | None:
        if result.outcome is RevealOutcome.REFUSED and result.code != ENROLLING:
            self._gate.holders.forget(request.caller.token_hash)
        elif result.token_id is not None and result.principal_id is not None and result.outcome is not RevealOutcome.REFUSED:
            self._gate.note_use(request.caller, result.principal_id, result.token_id, result.now)
        if result.outcome is RevealOutcome.ALLOWED and result.stored is not None:
            return Released(result.name, result.stored, result.code, lambda: _event(request, result))
        if result.outcome is RevealOutcome.LATER:
            return None
        self._count_denial(request, result)
        raise _refusal(request, result)

    def _is_slow(self, caller: Caller) -> bool:
        if not self._slow:
            return False
        now = self._clock()
        self._slow = {key: until for key, until in self._slow.items() if until > now}
        return self._gate.holders.whose(caller) in self._slow

    def _count_denial(self, request: RevealRequest, result: RevealResult) -> None:
        """The row is written; once the bucket of its principal or peer is empty, the next ones go through the gate."""
        if self._gate.count_denial(_event(request, result)):
            return
        self._slow[self._gate.holders.whose(request.caller)] = self._clock() + SLOW_SECONDS


def _refusal(request: RevealRequest, result: RevealResult) -> OverseerError:
    """The error that the gate raises for the same row."""
    match result.outcome:
        case RevealOutcome.REFUSED if result.principal_id is None:
            return Unauthenticated(NO_TOKEN if request.caller.token_hash is None else UNKNOWN_TOKEN)
        case RevealOutcome.REFUSED if result.code == ENROLLING:
            return SecondFactorUnset(NO_SECOND_FACTOR)
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

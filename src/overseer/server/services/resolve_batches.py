"""Concurrent resolves of one process: all names of a request, and of those that arrive with it, in one statement and one commit.

The snapshot of a batch (``request_batches``) begins after every request in it arrived, so revocations and new versions hold as
they do at the gate. Only what is let through as a whole is decided here; where any name is refused, missing or hidden, nothing
was written and the answer is None: the gate decides the request again, says why and audits that (``resolve_service``). A
test holds the statement against the gate. Nothing is decrypted before the batch is committed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from overseer.core.audit_events import AuditAction, AuditEvent, Outcome
from overseer.core.identifiers import is_name
from overseer.core.permissions import to_bits
from overseer.core.principals import Caller
from overseer.core.scopes import Scope
from overseer.server.services.gate import Gate, peer_address
from overseer.server.services.places import knowing
from overseer.server.services.request_batches import RequestBatches
from overseer.server.storage.database import Database
from overseer.server.storage.resolve_rows import ResolveBits, Resolved, ResolveWanted, resolve_batch
from overseer.server.storage.scope_rows import Part
from overseer.server.storage.version_rows import StoredVersion

MOST_IN_BATCH: Final = 16
"""Of requests; each has up to 500 names."""
BITS: Final = ResolveBits(*(to_bits(knowing(part)) for part in (Part.APP, Part.ENVIRONMENT, Part.NODE)))


@dataclass(frozen=True, slots=True)
class ReleasedName:
    """An envelope whose ``allowed`` row is committed; ``event`` is that row, for a correction where it does not open."""

    name: str
    stored: StoredVersion = field(repr=False)
    event: AuditEvent = field(repr=False)


class ResolveBatches:
    """One instance a server process, used by one event loop."""

    def __init__(self, database: Database, gate: Gate) -> None:
        self._gate = gate
        self._batches: RequestBatches[ResolveWanted, Resolved | None] = RequestBatches(
            lambda session, requests: resolve_batch(session, requests, BITS),
            lend=lambda: database.session(one_statement=True),
            most_in_batch=MOST_IN_BATCH,
            whose=lambda wanted: gate.holders.whose(wanted.caller),
            kind="resolve",
        )

    async def release(self, caller: Caller, place: Scope[str], names: Sequence[str]) -> list[ReleasedName] | None:
        """The envelopes for ``names`` (each once) in order, authorised and audited; None: ask the gate.

        Raises what :meth:`RequestBatches.ask` raises.
        """
        parts = [part for part in (place.app, place.environment, place.node) if part is not None]
        if caller.token_hash is None or not names or not all(map(is_name, (*names, *parts))):
            return None
        caller = replace(caller, peer=peer_address(caller.peer))
        resolved = await self._batches.ask(ResolveWanted(caller, place, tuple(names)))
        if resolved is None:
            return None
        self._gate.note_use(caller, resolved.principal_id, resolved.token_id, resolved.now)
        return _released(caller, resolved)


def _released(caller: Caller, resolved: Resolved) -> list[ReleasedName]:
    return [
        ReleasedName(
            one.name,
            one.stored,
            AuditEvent(
                action=AuditAction.SECRET_RESOLVE,
                outcome=Outcome.ALLOWED,
                request_id=caller.request_id,
                actor_id=resolved.principal_id,
                actor_name=resolved.principal_name,
                actor_kind=resolved.principal_kind,
                token_id=resolved.token_id,
                resource_kind="secret",
                resource_id=one.stored.secret_id,
                resource_name=one.name,
                app=one.scope_names.app,
                environment=one.scope_names.environment,
                node=one.scope_names.node,
                version=one.stored.version,
                peer=caller.peer,
                client=caller.client,
            ),
        )
        for one in resolved.names
    ]

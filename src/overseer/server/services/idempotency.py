"""Idempotency keys: the same request sent twice changes once, also when its answer was lost.

Guarantees: the key is remembered in the transaction of the change, so exactly when the change was committed; a second request
with the key waits for the first and then gets the same resource; another body under the same key is refused. What is kept is
an HMAC of the body under a key of the keyring, never a body or an answer.
What it will not do: remember longer than 24 hours, or stand in for the permission, which is asked again on a replay.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from overseer.core.errors import IdempotencyMismatch, InvalidInput, Problem
from overseer.crypto.keyed_digests import request_digest
from overseer.crypto.keyring import Purpose
from overseer.server.services.gate import Entry
from overseer.server.services.key_service import KeyService
from overseer.server.storage.database import Session
from overseer.server.storage.idempotency_rows import FirstResult, claim_unused, insert_result, lock_and_load

KEY_RULE: Final = "an idempotency key has 1 to 128 visible ASCII characters"


@dataclass(frozen=True, slots=True)
class Idempotency:
    """``key`` of the header, ``route`` as method and template (``POST /api/secrets``), and the raw ``body``."""

    key: str
    route: str
    body: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if not (1 <= len(self.key) <= 128 and all("!" <= character <= "~" for character in self.key)):
            raise InvalidInput(KEY_RULE, problems=[Problem("header.Idempotency-Key", KEY_RULE, "bad_idempotency_key")])


class IdempotencyKeeper:
    """:meth:`first_result` after the request was authorised and before any precondition; :meth:`remember` after the change.

    ``target`` is the id in the route's path, where there is one: it is part of what was asked.
    """

    def __init__(self, keys: KeyService) -> None:
        self._keys = keys

    async def first_result(
        self, entry: Entry, idempotency: Idempotency | None, *, target: UUID | None = None
    ) -> FirstResult | None:
        """None: go on. Else a replay: read that resource again and change nothing; its audit row says ``replayed``.

        Raises :class:`IdempotencyMismatch` for a key that was used for another request.
        """
        first = await self.recall(entry, idempotency, target=target)
        if first is not None:
            entry.amend(code="replayed", resource_id=first.resource_id, version=first.version)
        return first

    async def recall(
        self, entry: Entry, idempotency: Idempotency | None, *, target: UUID | None = None
    ) -> FirstResult | None:
        """As :meth:`first_result`, before there is an audit row that could say so: a request for many says it itself."""
        if idempotency is None:
            return None
        first = await lock_and_load(entry.session, entry.actor.id, idempotency.route, idempotency.key)
        if first is None:
            return None
        if not hmac.compare_digest(first.body_hmac, self._digest(entry, idempotency, target)):
            raise IdempotencyMismatch("this idempotency key was used for another request; send this one with a new key")
        return first

    async def claim(self, session: Session, keys: Sequence[tuple[UUID, Idempotency]]) -> set[int]:
        """For a batch: the positions of those keys (with their principals) that are new and from now on held by its transaction.

        Nothing waits: a key that another request holds at this moment is left out, as is one that stands for something, and one
        that stands in ``keys`` before. Those go on alone, by :meth:`first_result`.
        """
        named = [(principal, one.route, one.key) for principal, one in keys]
        free = await claim_unused(session, named)
        return {at for at in free if named.index(named[at]) == at}

    async def remember(
        self,
        entry: Entry,
        idempotency: Idempotency | None,
        *,
        status: int,
        resource_id: UUID,
        version: int | None = None,
        target: UUID | None = None,
    ) -> None:
        """Write down what came of the request, in its transaction."""
        if idempotency is not None:
            result = FirstResult(self._digest(entry, idempotency, target), status, resource_id, version)
            await insert_result(entry.session, entry.actor.id, idempotency.route, idempotency.key, result)

    def _digest(self, entry: Entry, idempotency: Idempotency, target: UUID | None) -> bytes:
        # A route either has a target or has none, so putting its 16 bytes in front leaves no ambiguity.
        body = (target.bytes if target else b"") + idempotency.body
        return request_digest(self._keys.keyring.hmac_key(Purpose.IDEMPOTENCY), entry.actor.id, idempotency.route, body)

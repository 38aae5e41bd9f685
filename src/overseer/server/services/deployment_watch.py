"""What deployments do, while they do it: changes of state and growing output, as an iterator that ends when all have ended.

It looks at the store every half second for a moment and holds nothing in between. Nothing is remembered for a watcher: the
position that each update carries says what was seen, so a watcher that lost its connection goes on anywhere.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from uuid import UUID

from overseer.core.errors import InvalidInput, Problem, RateLimited
from overseer.server.services.gate import Gate
from overseer.server.storage.group_rows import ProgressRow, progress
from overseer.wire.deployments import DeploymentEvent

if TYPE_CHECKING:
    from collections.abc import Iterator

LOOK_EVERY_SECONDS: Final = 0.5
HEARTBEAT_SECONDS: Final = 15.0
LONGEST_SECONDS: Final = 1800.0
"""A watch ends then at the latest; who goes on is authorised and audited again."""
MAX_WATCHERS: Final = 100
_RANKS: Final = {"queued": 1, "released": 2, "applying": 3, "succeeded": 4, "failed": 4, "superseded": 4}
_LAST: Final = 4
_POSITION: Final = re.compile(r"([0-4])\.([0-9]{1,9})")


@dataclass(frozen=True, slots=True)
class Position:
    """What a watcher has seen of one deployment: the rank of its state, characters of its output."""

    rank: int = 0
    size: int = 0


@dataclass(frozen=True, slots=True)
class Update:
    """One event: ``kind`` is state or output, ``position`` what has been seen with it."""

    position: str
    kind: str
    event: DeploymentEvent


class Watchers:
    """How many watch at once in this process."""

    def __init__(self, most: int = MAX_WATCHERS) -> None:
        self._free = most

    @contextmanager
    def one(self) -> Iterator[None]:
        """Room for one; :class:`RateLimited` where there is none."""
        if self._free <= 0:
            raise RateLimited("too many watch deployments now; try again, or ask for the deployment now and then", retry_after=5)
        self._free -= 1
        try:
            yield
        finally:
            self._free += 1


class DeploymentWatch:
    """Updates of ``ids`` from ``positions`` on, once; None is a heartbeat."""

    def __init__(self, gate: Gate, watchers: Watchers, ids: Sequence[UUID], positions: Sequence[Position]) -> None:
        self._gate = gate
        self._watchers = watchers
        self._ids = list(ids)
        self._seen = dict(zip(self._ids, positions, strict=True))

    async def updates(self) -> AsyncGenerator[Update | None, None]:
        """Each update as it comes; close the generator to give its room back."""
        loop = asyncio.get_running_loop()
        with self._watchers.one():
            end, beat = loop.time() + LONGEST_SECONDS, loop.time() + HEARTBEAT_SECONDS
            while True:
                found = await self._look()
                for deployment_id in self._ids:
                    row = found.get(deployment_id)
                    for update in self._updates(row) if row is not None else ():
                        beat = loop.time() + HEARTBEAT_SECONDS
                        yield update
                if all(one not in found or _RANKS[found[one].state] == _LAST for one in self._ids) or loop.time() >= end:
                    return
                if loop.time() >= beat:
                    beat = loop.time() + HEARTBEAT_SECONDS
                    yield None
                await asyncio.sleep(LOOK_EVERY_SECONDS)

    async def _look(self) -> dict[UUID, ProgressRow]:
        async with self._gate.own_work() as (session, _):
            return await progress(session, {one: seen.size for one, seen in self._seen.items()})

    def _updates(self, row: ProgressRow) -> Iterator[Update]:
        """Output comes before the state that ends a deployment, and after any other."""
        rank = _RANKS[row.state]
        changed = rank != self._seen[row.id].rank
        if changed and rank != _LAST:
            yield self._state(row, rank)
        if row.output is not None:
            # Shorter than before: the agent began anew.
            offset = self._seen[row.id].size if row.size > self._seen[row.id].size else 0
            self._seen[row.id] = Position(self._seen[row.id].rank, row.size)
            event = DeploymentEvent(
                deployment=str(row.id), node=row.node, state=row.state, output=row.output[offset:], offset=offset
            )
            yield Update(self._position(), "output", event)
        if changed and rank == _LAST:
            yield self._state(row, rank)

    def _state(self, row: ProgressRow, rank: int) -> Update:
        self._seen[row.id] = Position(rank, self._seen[row.id].size)
        event = DeploymentEvent(
            deployment=str(row.id), node=row.node, state=row.state, error=row.error, finished_at=row.finished_at
        )
        return Update(self._position(), "state", event)

    def _position(self) -> str:
        return ",".join(f"{self._seen[one].rank}.{self._seen[one].size}" for one in self._ids)


def parse_position(text: str | None, count: int) -> list[Position]:
    """The positions of ``count`` deployments; from the beginning where none is given. :class:`InvalidInput` for another text."""
    if text is None:
        return [Position()] * count
    found = [_POSITION.fullmatch(part) for part in text.split(",")]
    positions = [Position(int(one[1]), int(one[2])) for one in found if one is not None]
    if len(positions) != len(found) or len(positions) != count:
        rule = "Last-Event-ID is the id of an event of this stream"
        raise InvalidInput(rule, problems=[Problem("header.last-event-id", rule, "bad_event_id")])
    return positions

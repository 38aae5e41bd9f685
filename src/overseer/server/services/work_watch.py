"""Looks for work for all waiting polls of this process at once: one small query a second, however many agents wait.

It decides nothing and hands out nothing: it tells a poll that another look through the gate is worth while, because there is
work, or because the node is gone or revoked, which that look then finds. A node waits once: a newer poll ends the older one.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final
from uuid import UUID

from overseer.core.errors import OverseerError
from overseer.server.services.gate import Gate
from overseer.server.services.work_signal import WorkSignal
from overseer.server.storage import deployment_rows

LOOK_EVERY_SECONDS: Final = 1.0
_LOG: Final = logging.getLogger("overseer.server")


class Woken(Enum):
    """Why a wait ended."""

    LOOK = auto()
    REPLACED = auto()
    ENDED = auto()
    LATE = auto()


@dataclass(eq=False, slots=True)
class _Waiting:
    busy: list[UUID]
    woken: asyncio.Future[Woken] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def wake(self, why: Woken) -> None:
        if not self.woken.done():
            self.woken.set_result(why)


class WorkWatch:
    """One instance a server process."""

    def __init__(self, gate: Gate, signal: WorkSignal) -> None:
        self._gate = gate
        self._signal = signal
        self._waiting: dict[UUID, _Waiting] = {}
        self._looking: asyncio.Task[None] | None = None

    async def wait(self, node_id: UUID, busy: list[UUID], ended: asyncio.Event, seconds: float) -> Woken:
        """Until there may be work of the node beside what it is ``busy`` with, a newer wait of the same node, ``ended`` (the
        client left or the server stops), or ``seconds`` are over."""
        if older := self._waiting.get(node_id):
            older.wake(Woken.REPLACED)
        own = self._waiting[node_id] = _Waiting(busy)
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look_for_all())
        ending = asyncio.ensure_future(ended.wait())
        ending.add_done_callback(lambda done: None if done.cancelled() else own.wake(Woken.ENDED))
        try:
            async with asyncio.timeout(seconds):
                return await own.woken
        except TimeoutError:
            return Woken.LATE
        finally:
            ending.cancel()
            if self._waiting.get(node_id) is own:
                del self._waiting[node_id]

    async def _look_for_all(self) -> None:
        while self._waiting:
            heard = self._signal.listen()
            for node_id in await self._worth_a_look():
                if one := self._waiting.get(node_id):
                    one.wake(Woken.LOOK)
            await self._signal.wait(heard, LOOK_EVERY_SECONDS)

    async def _worth_a_look(self) -> list[UUID]:
        busy = {node_id: one.busy for node_id, one in self._waiting.items()}
        try:
            async with self._gate.own_work() as (session, _):
                return await deployment_rows.nodes_to_wake(session, busy)
        except OverseerError:
            return []  # the database is away; the waits go on, and the look at their end says so
        except Exception as error:  # noqa: BLE001  # nobody awaits this task: a defect must not leave the polls alone
            _LOG.error("looking for work failed: %s", type(error).__qualname__)
            return list(busy)

"""What a server does by itself, now and then: done by one process of all workers and replicas, the leader.

Every process runs a :class:`Scheduler`. The one that holds the lock of ``storage/leadership.py`` runs the jobs; the others ask
for the lock every second, so that another takes over within seconds of a kill, a stop or a lost connection.

Guarantees: within a leader a job waits for its own end, so it never runs twice at once. When the leader's connection ends its
jobs are cancelled at once, before anything else; the next leader begins a moment after it got the lock; and no job starts on a
lock that was not confirmed within the last seconds. A sealed or stopping process does not lead. A job that fails is logged by
type and place, never by its text, and tried again with a growing pause; it stops no other job.

It will not remember when a job ran last: a new leader runs every job at once. So a job looks into its own tables for what is
due, keeps a cursor there if it is long, and takes its locks there: two leaders cannot overlap by more than one statement, but
a process that was frozen in the middle of one may send it late.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Final

from overseer.core.errors import OverseerError
from overseer.server.storage.database import Database
from overseer.server.storage.leadership import CHECK_SECONDS, LEASE_SECONDS, LeaderSession, leader_session

TRY_SECONDS: Final = 1.0
#: From getting the lock to the first job: time for the last leader, whose connection may have broken, to cancel its own.
HANDOVER_SECONDS: Final = 1.0
LONGEST_PAUSE: Final = 300.0
_LOG: Final = logging.getLogger("overseer.server")


@dataclass(frozen=True, slots=True)
class Job:
    """``run`` is called every ``every`` seconds, counted from the end of one run to the start of the next."""

    name: str
    every: float
    run: Callable[[], Awaitable[None]]


class Scheduler:
    """See the module's text. Made and run by the composition."""

    def __init__(
        self,
        database: Database,
        jobs: Iterable[Job],
        *,
        sealed: Callable[[], bool] = lambda: False,
        stopping: asyncio.Event | None = None,
    ) -> None:
        """``stopping`` gives the lock up for good, ``sealed`` while it is true. Raises ValueError for two jobs of one name."""
        self._database = database
        self._jobs = tuple(jobs)
        self._sealed = sealed
        self._stopping = stopping or asyncio.Event()
        self._leading = False
        self._confirmed_at = float("-inf")
        if len({job.name for job in self._jobs}) < len(self._jobs):
            raise ValueError("two jobs have one name")

    @property
    def leading(self) -> bool:
        """Whether this process runs the jobs now."""
        return self._leading

    async def run(self) -> None:
        """Until it is cancelled or the process stops: lead whenever the lock is to be had."""
        while not self._stopping.is_set():
            if not self._sealed():
                try:
                    await self._campaign()
                except OverseerError as error:
                    _LOG.warning("the lock of the leader cannot be asked for: %s", error.code)
                except Exception:  # noqa: BLE001  # a defect must not end the jobs of this process for good
                    _LOG.error("the scheduler failed", exc_info=True)
            await _any_set(TRY_SECONDS, self._stopping)

    async def _campaign(self) -> None:
        """Ask for the lock until it is there, and lead; returns when the connection is gone, or when it must not lead."""
        async with leader_session(self._database) as lock:
            while not await lock.try_to_lead():
                if await _any_set(TRY_SECONDS, self._stopping, lock.ended) or self._sealed():
                    return
            if not await _any_set(HANDOVER_SECONDS, self._stopping, lock.ended):
                await self._lead(lock)

    async def _lead(self, lock: LeaderSession) -> None:
        await self._confirm(lock)
        _LOG.info("this process leads: it runs the jobs")
        self._leading = True
        running = [asyncio.create_task(self._keep(job), name=f"job {job.name}") for job in self._jobs]
        try:
            while not self._sealed() and not await _any_set(CHECK_SECONDS, self._stopping, lock.ended):
                await self._confirm(lock)
        finally:
            self._leading = False
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            _LOG.info("this process leads no more")

    async def _confirm(self, lock: LeaderSession) -> None:
        asked_at = time.monotonic()  # the lease counts from before the question, as PostgreSQL counts from its answer
        await lock.check()
        self._confirmed_at = asked_at

    async def _keep(self, job: Job) -> None:
        """One run after another. A cancelled run ends here and is not begun again."""
        failures = 0
        while True:
            if time.monotonic() - self._confirmed_at < LEASE_SECONDS:  # else the process was frozen, and the lock is gone
                try:
                    await job.run()
                    failures = 0
                except OverseerError as error:
                    failures += 1
                    _LOG.warning("job %s failed: %s", job.name, error.code, extra={"seconds": pause_after(job.every, failures)})
                except Exception:  # noqa: BLE001  # whatever it is, other jobs go on and this one is tried again
                    failures += 1
                    _LOG.error("job %s failed", job.name, exc_info=True, extra={"seconds": pause_after(job.every, failures)})
            await asyncio.sleep(pause_after(job.every, failures))


def pause_after(every: float, failures: int) -> float:
    """Seconds to the next run: ``every``, doubled for each failure in a row after the first, up to five minutes or ``every``."""
    if failures < 2:
        return every
    return min(every * 2.0 ** min(failures - 1, 20), max(every, LONGEST_PAUSE))


async def _any_set(seconds: float, *events: asyncio.Event) -> bool:
    """Whether one of the events is set, waiting up to ``seconds`` for it."""
    waiting = [asyncio.create_task(event.wait()) for event in events]
    try:
        done, _ = await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
        # A cancellation of the caller that comes here must go on to it: held back, a stop would wait for ever.
        await asyncio.gather(*waiting, return_exceptions=True)
    return bool(done)

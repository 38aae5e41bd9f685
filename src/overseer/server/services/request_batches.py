"""Requests of one kind that arrive together, gathered into batches without a timer.

A batch runs at once while fewer than two are under way; what arrives meanwhile is the next one. It is made up when it can be
sent, and whoever ran one runs the next with the connection that it holds: under load, batches are larger and cost less each.
So nothing waits for others to come, and whatever a batch reads was written before or after all of its requests arrived.

Guarantees: each request gets exactly one result or error. One bad row of data, which aborts a statement for all, is found by
halving and fails alone. Any other error is everybody's: after a lost connection it is not known whether the batch was committed,
so nothing is tried again. A request that is cancelled stays in its batch: what was done for it is done, and audited. Holders
(``whose``) take turns, so whoever has many requests waiting puts no more than one a turn before somebody else's; where the queue
is full, the one with the most waiting is told to come back (503).

What it will not do: decide, audit or commit; that is the business of the function that runs a batch.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from overseer.core.errors import InvalidInput, NotReady, OverseerError
from overseer.server import measures

BATCHES_AT_ONCE: Final = 2
MOST_WAITING: Final = 4096
BATCHES_IN_A_ROW: Final = 64
"""Then what was lent is given back, so that nothing is kept for good however busy it is."""
_NOTHING: Final = frozenset[Hashable]()

Request = TypeVar("Request")
Result = TypeVar("Result")


@dataclass(slots=True)
class _Waiting(Generic[Request, Result]):
    request: Request
    answer: asyncio.Future[Result]
    touches: frozenset[Hashable]


class RequestBatches(Generic[Request, Result]):
    """One queue, used by one event loop.

    ``run`` gives the results of a batch in its order. ``touches`` names what a request changes: two that touch the same are
    never under way at once. ``whose`` names who takes turns with others; without it all are one.
    """

    def __init__(
        self,
        run: Callable[..., Awaitable[Sequence[Result]]],
        *,
        lend: Callable[[], AbstractAsyncContextManager[Any]] | None = None,
        most_in_batch: int = 256,
        most_waiting: int = MOST_WAITING,
        touches: Callable[[Request], Iterable[Hashable]] | None = None,
        whose: Callable[[Request], Hashable] | None = None,
        kind: str = "",
    ) -> None:
        """``kind`` is what the metrics call it; without one it is not measured. ``lend`` gives what ``run`` gets in front of the
        requests, a connection for instance, for several batches in a row."""
        self._kind = kind
        self._lend = lend or nullcontext
        self._lends = lend is not None
        self._beginning = False
        self._vain = False
        self._run_batch = run
        self._most_in_batch = most_in_batch
        self._most_waiting = most_waiting
        self._touches = touches
        self._touched: set[Hashable] = set()
        self._whose = whose
        self._lines: OrderedDict[Hashable, deque[_Waiting[Request, Result]]] = OrderedDict()  # whose turn it is first
        self._count = 0
        self._running: set[asyncio.Task[None]] = set()

    async def ask(self, request: Request) -> Result:
        """The result for ``request``, or its error; :class:`NotReady` where too many wait."""
        holder = self._whose(request) if self._whose else None
        if self._count >= self._most_waiting:
            self._make_room(holder)
        touches = frozenset(self._touches(request)) if self._touches else _NOTHING
        answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._lines.setdefault(holder, deque()).append(_Waiting(request, answer, touches))
        self._count += 1
        self._start()
        return await answer

    async def settled(self) -> None:
        """Wait until the batches that are under way have ended."""
        await asyncio.gather(*self._running)

    def _start(self) -> None:
        """One more task where there is work and room: it takes what waits when it comes to run, so one at a time is enough."""
        if self._count and not self._beginning and len(self._running) < BATCHES_AT_ONCE:
            self._beginning = True
            task = asyncio.create_task(self._work())
            self._running.add(task)
            task.add_done_callback(self._ended)

    def _make_room(self, holder: Hashable) -> None:
        """Send away the newest of whoever has the most waiting. Raises :class:`NotReady` where that is ``holder``."""
        most = max(self._lines, key=lambda one: len(self._lines[one]))
        full = NotReady("too many requests of this kind are waiting; try again", retry_after=1)
        if len(self._lines[most]) <= len(self._lines.get(holder, ())) + 1:
            raise full
        _fail([self._lines[most].pop()], full)  # nothing of it was begun
        self._count -= 1

    def _take(self) -> list[_Waiting[Request, Result]]:
        """One of each holder, and again, until the batch is full or what is left touches what is under way."""
        batch: list[_Waiting[Request, Result]] = []
        held: dict[Hashable, list[_Waiting[Request, Result]]] = {}
        turns = deque(self._lines)
        # All that wait may be looked through (0.7 ms for 4,096): were it a part, many changes of one secret would fill that part,
        # and everybody behind them would wait for their end.
        while turns and len(batch) < self._most_in_batch:
            holder = turns.popleft()
            one = self._next(self._lines[holder], held.setdefault(holder, []))
            if one is not None:
                batch.append(one)
                self._lines.move_to_end(holder)  # others come first in the next batch
                turns.append(holder)
        for holder, back in held.items():
            self._lines[holder].extendleft(reversed(back))
            if not self._lines[holder]:
                del self._lines[holder]
        self._count -= len(batch)
        return batch

    def _next(
        self, line: deque[_Waiting[Request, Result]], held: list[_Waiting[Request, Result]]
    ) -> _Waiting[Request, Result] | None:
        while line:
            one = line.popleft()
            if self._touched.isdisjoint(one.touches):
                self._touched |= one.touches
                return one
            held.append(one)
        return None

    async def _work(self) -> None:
        """Batches one after another, until nothing waits or one failed as a whole."""
        batch: list[_Waiting[Request, Result]] = []
        borrowed = False
        try:
            async with self._lend() as lent:
                borrowed = True
                for number in range(BATCHES_IN_A_ROW):
                    batch = self._take()
                    self._begun()
                    if not batch:
                        # What waits, if anything does, touches what is under way, whose end looks at it again.
                        self._vain = not number and self._count > 0
                        break
                    await self._run(batch, (lent,) if self._lends else ())
                    self._let_go(batch)
                    batch = []
        except BaseException as error:
            if not borrowed:
                batch = self._take()  # or they would wait for as long as nothing is lent
            if not isinstance(error, OverseerError):
                _fail(batch, OverseerError("internal error"))
                raise
            _fail(batch, error)
        finally:
            self._let_go(batch)
            self._begun()

    def _begun(self) -> None:
        if self._beginning:
            self._beginning = False
            self._start()

    def _let_go(self, batch: Sequence[_Waiting[Request, Result]]) -> None:
        if self._touches is not None:
            for one in batch:
                self._touched -= one.touches

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        vain, self._vain = self._vain, False
        if not vain:
            self._start()

    async def _run(self, batch: Sequence[_Waiting[Request, Result]], lent: tuple[Any, ...]) -> None:
        if self._kind:
            measures.note_batch(self._kind, len(batch), self._count)
        try:
            results = await self._run_batch(*lent, [one.request for one in batch])
        except InvalidInput as error:
            # One row that PostgreSQL cannot take aborts the statement, so nothing of it happened: find that row alone.
            if len(batch) > 1:
                half = len(batch) // 2
                await self._run(batch[:half], lent)
                await self._run(batch[half:], lent)
            else:
                _fail(batch, error)
        else:
            for one, result in zip(batch, results, strict=True):
                if not one.answer.done():
                    one.answer.set_result(result)


def _fail(batch: Sequence[_Waiting[Request, Result]], error: OverseerError) -> None:
    for one in batch:
        if not one.answer.done():
            # An exception of its own for each: one that is raised in many tasks collects all of their tracebacks.
            one.answer.set_exception(_copy(error))


def _copy(error: OverseerError) -> OverseerError:
    if isinstance(error, NotReady):
        return type(error)(error.message, retry_after=error.retry_after)
    return type(error)(error.message) if isinstance(error, InvalidInput) else OverseerError(error.message)

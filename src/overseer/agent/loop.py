"""The daemon: asks the server for work, does it, reports, until it is told to stop.

Guarantees: connections go outwards only; different projects run at once (bounded), one project never twice; a server that is
away is asked again after growing, jittered pauses; an outcome is reported until the server has it. Files that a restart of the
machine took are asked for and brought back; what containers hold is told now and then. On SIGTERM and SIGINT nothing
new begins, what runs may end within ``OVERSEER_AGENT_STOP_SECONDS`` and is interrupted after that: the journal says so, the next
start gets the work again.
"""

from __future__ import annotations

import logging
import queue
import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from overseer import __version__
from overseer.agent.compose_project import StepFailed
from overseer.agent.deployments import Deployer, described
from overseer.agent.holdings import Holdings, report_forever
from overseer.agent.session import TOLERATED_SKEW, Session
from overseer.core.errors import Conflict, NotReady, OverseerError, RateLimited, Unavailable
from overseer.wire.agent import DeploymentReport, LostAnswer, LostRequest, PollAnswer, PollRequest, Work
from overseer.wire.deployments import DeploymentView

log = logging.getLogger("overseer.agent")
_WAIT_SECONDS: Final = 25
#: A server may ask for no longer pause: it would make the agent silent.
_LONGEST_ASKED: Final = 3600.0
_LEAST_PAUSE, _MOST_PAUSE = 0.5, 60.0
_REPORT_SECONDS: Final = 600.0
#: How long a deployment is not asked for again that was lost, and withheld or not brought back.
_REFILL_SECONDS: Final = 30.0
_MOST_LOST: Final = 200


@dataclass(slots=True)
class Pauses:
    """Growing pauses with full jitter, so that a fleet does not come back at once; ``reset`` after a success."""

    chance: Callable[[], float] = random.random
    failures: int = 0

    def reset(self) -> None:
        self.failures = 0

    def next(self, error: Exception | None = None) -> float:
        """Seconds to wait after one more failure; never before the time that the server asked for."""
        self.failures += 1
        bound = min(_MOST_PAUSE, _LEAST_PAUSE * 2.0 ** min(self.failures, 10))
        asked = min(float(error.retry_after), _LONGEST_ASKED) if isinstance(error, (NotReady, RateLimited)) else 0.0
        return max(asked, _LEAST_PAUSE) + bound * self.chance()


@dataclass(frozen=True, slots=True)
class Task:
    """Work for a thread; ``refill``: it was done before, only its files are gone."""

    work: Work
    refill: bool = False


@dataclass(slots=True)
class Agent:
    """One running agent. ``open_session`` gives each thread a connection of its own."""

    deployer: Deployer
    open_session: Callable[[], Session]
    parallel: int = 4
    stop_seconds: float = 90.0
    holdings_seconds: float = 60.0
    _stopping: threading.Event = field(default_factory=threading.Event)
    _busy: dict[str, str] = field(default_factory=dict)  # deployment id to project
    _free: threading.Condition = field(default_factory=threading.Condition)
    _found: queue.SimpleQueue[Task | None] = field(default_factory=queue.SimpleQueue)
    _refill_at: dict[str, float] = field(default_factory=dict)  # deployment id to when it may be asked for (again)

    def stop(self) -> None:
        """Begin nothing more. Safe in a signal handler."""
        self._stopping.set()
        self._found.put(None)

    def run(self) -> None:
        """Until :meth:`stop`; returns when nothing runs any more."""
        # A daemon thread: a poll that hangs on the network must not hold up the end.
        threading.Thread(target=self._poll_forever, name="agent-poll", daemon=True).start()
        if self.holdings_seconds:
            holdings = Holdings(self.deployer.engine, self.deployer.root, self.deployer.journal)
            arguments = (holdings, self.open_session, self.holdings_seconds, self._stopping)
            threading.Thread(target=report_forever, args=arguments, name="agent-holdings", daemon=True).start()
        with ThreadPoolExecutor(self.parallel, "deployment") as pool:
            while True:
                task = self._found.get()
                if self._stopping.is_set():
                    self._found.put(task)
                    break
                if task is not None:
                    pool.submit(self._refill if task.refill else self._do, task.work)
            self._await_end()

    def _await_end(self) -> None:
        deadline = time.monotonic() + self.stop_seconds
        with self._free:
            while not self._found.empty():  # taken and not begun: the server hands it out again
                if (task := self._found.get()) is not None:
                    self._busy.pop(task.work.deployment_id, None)
            while self._busy and (left := deadline - time.monotonic()) > 0:
                self._free.wait(left)
            if self._busy:
                log.warning("%d deployments are interrupted; they go on when the agent starts again", len(self._busy))
                self.deployer.engine.interrupt()

    # -- taking work ----------------------------------------------------------------------------------------------------------

    def _poll_forever(self) -> None:
        session = self.open_session()
        try:
            self._poll_until_stopped(session)
        finally:
            session.close()

    def _poll_until_stopped(self, session: Session) -> None:
        pauses = Pauses()
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                new = self._ask_for_lost(session) or self._poll(session)
            except OverseerError as error:
                pause = pauses.next(error)
                log.warning("no work from the server: %s; again in %.0f s", error.message, pause)
                self._stopping.wait(pause)
                continue
            except Exception as error:  # noqa: BLE001 - without this thread the agent would be silent for ever
                pause = pauses.next()
                log.error("asking for work failed unexpectedly: %s; again in %.0f s", type(error).__name__, pause)
                self._stopping.wait(pause)
                continue
            pauses.reset()
            if session.skew > TOLERATED_SKEW or session.skew < -TOLERATED_SKEW:
                log.warning("this node's clock is %.0f s off the server's: set it (NTP)", session.skew.total_seconds())
            if not new and time.monotonic() - began < 1.0:  # a server that does not wait must not be hammered
                self._stopping.wait(1.0)

    def _poll(self, session: Session) -> bool:
        with self._free:
            busy = list(self._busy)
        request = PollRequest(wait_seconds=_WAIT_SECONDS, busy=busy, agent_version=__version__)
        answer = session.post("/api/agent/poll", request, PollAnswer, timeout=_WAIT_SECONDS + 30.0)
        return self._take(answer.work)

    def _take(self, found: Sequence[Work], *, refill: bool = False) -> bool:
        """Queue what is not being done already; True where there was any."""
        new = False
        with self._free:
            for work in found:
                if work.deployment_id not in self._busy and not self._stopping.is_set():
                    self._busy[work.deployment_id] = work.project
                    self._found.put(Task(work, refill))
                    new = True
        return new

    def _ask_for_lost(self, session: Session) -> bool:
        """Ask for the deployments whose files memory has lost; not again and again for one that the server withholds."""
        now = time.monotonic()
        with self._free:
            lost = [one for one in self.deployer.lost() if one not in self._busy and self._refill_at.get(one, 0.0) <= now]
        if not lost:
            return False
        answer = session.post("/api/agent/lost", LostRequest(deployments=lost[:_MOST_LOST]), LostAnswer)
        self._refill_at |= dict.fromkeys(lost[:_MOST_LOST], now + _REFILL_SECONDS)
        return self._take(answer.refill, refill=True)

    # -- doing it -------------------------------------------------------------------------------------------------------------

    def _do(self, work: Work) -> None:
        session = self.open_session()
        try:
            if self._stopping.is_set():
                return
            log.info("%s of app %s (project %s): deployment %s", work.action, work.app, work.project, work.deployment_id)
            self._send(session, work, DeploymentReport(state="applying"), seconds=10.0)
            report = self.deployer.execute(work, session)
            if report is not None:
                log.info("deployment %s %s", work.deployment_id, report.state)
                self._send(session, work, report, seconds=_REPORT_SECONDS)
        except Exception as error:  # noqa: BLE001 - a thread of the pool: the agent lives on, and the work ends in a true state
            log.error("deployment %s failed unexpectedly: %s", work.deployment_id, type(error).__name__)
            failed = DeploymentReport(state="failed", error=f"the agent failed unexpectedly: {type(error).__name__}")
            self._send(session, work, failed, seconds=_REPORT_SECONDS)
        finally:
            session.close()
            with self._free:
                self._busy.pop(work.deployment_id, None)
                self._free.notify_all()

    def _refill(self, work: Work) -> None:
        session = self.open_session()
        try:
            if not self._stopping.is_set() and self.deployer.refill(work, session):
                log.info("project %s: what a restart of the machine took is back", work.project)
        except (OverseerError, StepFailed) as error:
            log.warning("project %s: what a restart took could not be brought back: %s", work.project, described(error))
        except Exception as error:  # noqa: BLE001 - a thread of the pool: it is tried again
            log.error("project %s: bringing it back failed unexpectedly: %s", work.project, type(error).__name__)
        finally:
            session.close()
            with self._free:
                self._busy.pop(work.deployment_id, None)
                self._free.notify_all()

    def _send(self, session: Session, work: Work, report: DeploymentReport, seconds: float) -> None:
        """Report, again and again for ``seconds``; a deployment that is not ours any more is no error."""
        deadline = time.monotonic() + seconds
        pauses = Pauses()
        while True:
            try:
                session.post(f"/api/agent/deployments/{work.deployment_id}/report", report, DeploymentView)
                return
            except (Conflict, Unavailable) as error:
                log.warning("the server does not take a report on deployment %s: %s", work.deployment_id, error.message)
                return
            except OverseerError as error:
                pause = pauses.next(error)
                if time.monotonic() + pause > deadline or self._stopping.wait(pause):
                    log.error("deployment %s: could not report %s: %s", work.deployment_id, report.state, error.message)
                    return

"""Leaders that are killed at a chosen point of a rotation. Each line on stdin, ``URL POINT``, is one of them: a child that was
forked from this process (which has loaded everything, once) and whose exit code is said on stdout when it has ended.

Points are numbered in the order in which they are passed: before and after each call of the rotator, and before and after each
change of the run's state is committed. Each is said on stdout; the kill is SIGKILL, to itself: no exit
handler runs.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import Any

from overseer.crypto.keys import RootKey
from overseer.server.address_rules import AddressRule
from overseer.server.backend_settings import AddressRules
from overseer.server.rotators.contract import Change, Rotator
from overseer.server.rotators.selection import make_rotator
from overseer.server.services.backend_calls import BackendCalls
from overseer.server.services.gate import Gate
from overseer.server.services.key_service import KeyService
from overseer.server.services.rollout_driver import RolloutDriver
from overseer.server.services.rotation_credentials import RotationCredentials
from overseer.server.services.rotation_driver import RotationDriver
from overseer.server.services.rotation_steps import RotationSteps
from overseer.server.services.source_refresh import SourceRefresh
from overseer.server.services.value_making import ValueMaking
from overseer.server.services.value_opener import ValueOpener
from overseer.server.services.work_signal import WorkSignal
from overseer.server.storage.connection import service_arguments
from overseer.server.storage.database import Database
from overseer.server.storage.service_session import session_setup
from tests.integration.rotators.rotating import RULE


class Points:
    """Counts, and kills at ``fatal``."""

    def __init__(self, fatal: int) -> None:
        self.fatal, self.passed = fatal, 0

    def reach(self, name: str) -> None:
        self.passed += 1
        print(self.passed, name, flush=True)
        if self.passed == self.fatal:
            os.kill(os.getpid(), signal.SIGKILL)


class Deadly:
    """A rotator between two points at each call."""

    def __init__(self, inner: Rotator, points: Points) -> None:
        self._inner, self._points = inner, points
        self.both_work = inner.both_work
        self.compose = inner.compose

    def __getattr__(self, name: str) -> Any:
        async def call(change: Change) -> None:
            self._points.reach(f"before {name}")
            await getattr(self._inner, name)(change)
            self._points.reach(f"after {name}")

        return call


class DeadlySteps(RotationSteps):
    """Between two points at each step, so before the next one is begun and after its state was committed."""

    points: Points

    async def go_on(self, held: Any) -> Any:
        self.points.reach(f"before the step from {held.run.state}")
        after = await super().go_on(held)
        self.points.reach(f"after the step from {held.run.state}")
        return after


async def main(url: str, root_key: str, fatal: int) -> None:
    database = Database(service_arguments(url), setup=session_setup)
    gate = Gate(database)
    keys = KeyService(database, gate)
    await keys.open(RootKey(bytes.fromhex(root_key)))
    points = Points(fatal)

    def make(fields: dict[str, Any], rule: AddressRule) -> Any:
        return Deadly(make_rotator(fields, rule), points)

    rollouts = RolloutDriver(gate, WorkSignal())
    sources = SourceRefresh(gate, keys, BackendCalls(keys, AddressRules()), rollouts)
    values, credentials = ValueMaking(gate, ValueOpener(keys, gate)), RotationCredentials(gate, keys, sources)
    steps = DeadlySteps(gate, keys, values, rollouts, credentials, RULE, make)
    steps.points = points
    await RotationDriver(gate, steps).run()
    await database.close()


def serve() -> None:
    """Until stdin ends."""
    for line in sys.stdin:
        url, fatal = line.split()
        child = os.fork()
        if child == 0:
            asyncio.run(main(url, os.environ["TEST_ROOT_KEY"], int(fatal)))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print("ended", os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    serve()

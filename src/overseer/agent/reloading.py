"""Tells running containers that their files changed, service by service, and waits until each is well with them.

Guarantees: only containers that still run with files of another content are touched; a program's argument list is the setting's
own words, never a value; what it printed is redacted. After a change the next health check decides, not one that ran before; a
signal that ends the process (nothing handles it) is a failure, also where Docker starts the container again.

Without a health check nobody knows whether the new value works: the container then only has to go on running.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from overseer.agent.compose_project import StepFailed, why
from overseer.agent.containers import Container, containers_of, execute, restart, signal
from overseer.agent.engine import Engine
from overseer.agent.injection.redaction import Redactor
from overseer.compose.reload import Kind, Reload

_EXEC_SECONDS: Final = 60.0
#: A process that a signal ends is gone by then; restarting shows in its start time.
_GRACE_SECONDS: Final = 1.0
_LOOK_SECONDS: Final = 0.3
_RESTART: Final = Reload(Kind.RESTART)
_NONE: Final = Reload()


@dataclass(frozen=True, slots=True)
class Reloader:
    """For one project. ``wait`` is in seconds, for each service."""

    engine: Engine
    project: str
    redactor: Redactor
    wait: float
    sleep: Callable[[float], None] = time.sleep

    def tell(self, service: str, containers: Sequence[Container], reload: Reload) -> str:
        """Do ``reload`` to running ``containers`` of ``service`` and await their health; returns what a program said.

        Raises :class:`StepFailed`.
        """
        began = datetime.now(UTC)
        said = ""
        ids = [one.id for one in containers]
        if reload.kind is Kind.RESTART and not restart(self.engine, ids):
            raise StepFailed(f"{service} could not be restarted", "")
        if reload.kind is Kind.SIGNAL and not signal(self.engine, ids, reload.signal):
            raise StepFailed(f"{reload.signal} could not be sent to {service}", "")
        if reload.kind is Kind.EXEC:
            said = self._execute(service, ids, reload)
        self._await(service, containers, reload, began)
        return said

    def _execute(self, service: str, ids: Sequence[str], reload: Reload) -> str:
        said = ""
        for one in ids:
            outcome = execute(self.engine, one, reload.argv, _EXEC_SECONDS)
            said += self.redactor.clean(outcome.stdout + outcome.stderr)
            if outcome.code != 0:
                raise StepFailed(why(f"the reload command of {service}", outcome), said)
        return said

    def _await(self, service: str, containers: Sequence[Container], reload: Reload, since: datetime) -> None:
        """Until each container passed a health check that began after ``since``, or time is up and none failed."""
        if reload.kind in {Kind.SIGNAL, Kind.EXEC}:
            self.sleep(_GRACE_SECONDS)
        elif reload.kind is Kind.NONE and not any(one.health for one in containers):
            return
        deadline = time.monotonic() + self.wait
        known = {one.id: one for one in containers}
        while True:
            now = [one for one in containers_of(self.engine, self.project) if one.id in known]
            self._check_running(service, known, now, reload)
            open_ = [one for one in now if not _is_proven(one, since)]
            if not open_:
                return
            if time.monotonic() >= deadline:
                if all(one.health == "healthy" and not _has_failed(one, since) for one in open_):
                    return  # its health checks are further apart than the time there is
                raise StepFailed(f"{service} is not healthy with its new files", "")
            self.sleep(_LOOK_SECONDS)

    def _check_running(
        self, service: str, known: Mapping[str, Container], now: Sequence[Container], reload: Reload
    ) -> None:
        after = "" if reload.kind is Kind.NONE else f" after {reload}"
        if len(now) < len(known):
            raise StepFailed(f"{service} is gone{after}", "")
        for one in now:
            again = one.started_at != known[one.id].started_at
            if reload.kind is Kind.SIGNAL and (again or one.state != "running"):
                rule = f"{reload.signal} ended {service}: its first process does not handle it; use reload: restart"
                raise StepFailed(rule, "")
            if one.state not in {"running", "restarting"}:
                raise StepFailed(f"{service} ended{after}", "")
            if one.health == "unhealthy":
                raise StepFailed(f"{service} is unhealthy{after}", "")


def _is_proven(one: Container, since: datetime) -> bool:
    if one.state != "running":
        return False
    if not one.health:
        return True
    return one.health == "healthy" and one.probe_passed and one.probed_at is not None and one.probed_at >= since


def _has_failed(one: Container, since: datetime) -> bool:
    return one.probed_at is not None and one.probed_at >= since and not one.probe_passed


def wanted(
    reloads: Mapping[str, Reload], changed: Mapping[str, bool], order: Sequence[str], kept: Sequence[Container]
) -> Iterator[tuple[str, list[Container], Reload]]:
    """Whom to tell what, in the order of ``order``: services whose files ``changed`` (True: a single file, which only a restart
    shows) and that have containers in ``kept``."""
    for service in (one for one in order if one in changed):
        containers = [one for one in kept if one.service == service]
        if containers:
            yield service, containers, _RESTART if changed[service] else reloads.get(service, _NONE)


def kept_running(before: Collection[Container], now: Sequence[Container]) -> list[Container]:
    """Containers that ran before and still do, with the same process."""
    old = {(one.id, one.started_at) for one in before}
    return [one for one in now if one.state == "running" and (one.id, one.started_at) in old]

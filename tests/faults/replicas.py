"""Faults of one replica of two, and of the leader among them."""

from __future__ import annotations

import signal
import time

from tests.faults.load import Load
from tests.faults.stage import Stage
from tests.faults.table import fault, require

TAKEOVER_SECONDS = 10.0
LOCK = "FROM pg_locks WHERE locktype = 'advisory' AND granted AND objid = (8102661214773306991 & 4294967295)::oid"


@fault("one of two replicas stopped, the other killed -9", "clients go to the other; no acknowledged write lost")
def one_replica_gone(stage: Stage) -> str:
    with stage.replica() as replica, Load(stage, stage.seed, replica) as load:
        time.sleep(1.0)
        began = time.monotonic()
        replica.process.send_signal(signal.SIGTERM)
        code = replica.process.wait(40)
        time.sleep(1.0)
        gap = load.longest_gap(began)
    require(code == 0, f"exit code {code}")
    require(gap < 3, f"nobody was served for {gap:.1f} s after the stop")
    stopped = load.verify()
    with stage.replica() as replica, Load(stage, stage.seed, replica) as load:
        time.sleep(1.0)
        began = time.monotonic()
        stage.kill_server(replica)
        time.sleep(2.0)
        gap_killed = load.longest_gap(began)
    require(gap_killed < 3, f"nobody was served for {gap_killed:.1f} s after the kill")
    load.verify()
    return f"exit code 0; longest time without an answer {gap:.1f} s and {gap_killed:.1f} s; {stopped}"


@fault("the leader loses its connection, then its life", "never two leaders; another leads within seconds")
def leader_gone(stage: Stage) -> str:
    with stage.replica() as replica:
        took = []
        first = _leader(stage)
        stage.sql(f"SELECT pg_terminate_backend({first})")
        took.append(_next_leader(stage, first))
        for server in (replica, stage.server):
            held = _leader(stage)
            stage.kill_server(server)
            if not _still_there(stage, held):
                took.append(_next_leader(stage, held) if server is replica else 0.0)
    stage.start_server()
    _leader(stage)
    longest = max(took)
    require(longest < TAKEOVER_SECONDS, f"it took {longest:.1f} s")
    return f"{len(took)} times another one, after {longest:.1f} s at most; one lock at every look"


def _leader(stage: Stage) -> str:
    """The backend that holds the lock; waits until there is one, and there is never a second."""
    deadline = time.monotonic() + TAKEOVER_SECONDS
    while not (held := stage.sql(f"SELECT pid {LOCK}").split()):
        require(time.monotonic() < deadline, "nobody leads")
        time.sleep(0.05)
    require(len(held) == 1, f"{len(held)} leaders")
    return held[0]


def _next_leader(stage: Stage, former: str) -> float:
    began = time.monotonic()
    while _leader(stage) == former:
        require(time.monotonic() < began + TAKEOVER_SECONDS, "the former leader keeps its lock")
        time.sleep(0.05)
    return time.monotonic() - began


def _still_there(stage: Stage, backend: str) -> bool:
    time.sleep(0.3)  # PostgreSQL reads the end of the connection
    return stage.sql(f"SELECT count(*) FROM pg_stat_activity WHERE pid = {backend}") == "1"

"""What a server process counts about itself, for Prometheus.

Guarantees: no label holds anything that a request sent or that is stored: routes are templates, codes and states are words of
this program. With several workers the supervisor gives them one private directory in memory (``PROMETHEUS_MULTIPROC_DIR``),
in which each keeps its numbers, so any worker can show the sums of all, and what a worker that died had counted stays counted,
but for its last turn of the event loop.

It will not decide who may read them (``services/metrics_service.py``).
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter as Tally
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

DIRECTORY_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_SIZES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)

REGISTRY: Final = CollectorRegistry()
REQUESTS: Final = Counter(
    "overseer_http_requests", "Requests, by the template of their route", ["method", "route", "status"], registry=REGISTRY
)
REQUEST_SECONDS: Final = Histogram(
    "overseer_http_request_duration_seconds",
    "From a request's head to the end of its answer; long polls and event streams are not in it",
    ["route"],
    buckets=_SECONDS,
    registry=REGISTRY,
)
PROBLEMS: Final = Counter(
    "overseer_http_problems", "Answers that were problem documents, by code; denials are among them", ["code"], registry=REGISTRY
)
IN_FLIGHT: Final = Gauge(
    "overseer_http_requests_in_flight", "Requests that are being answered", multiprocess_mode="livesum", registry=REGISTRY
)
BATCH_SIZE: Final = Histogram(
    "overseer_batch_size", "Requests in one batch of statements, by kind", ["kind"], buckets=_SIZES, registry=REGISTRY
)
BATCH_WAITING: Final = Gauge(
    "overseer_batch_waiting",
    "Requests that wait for their batch, when the last one was taken",
    ["kind"],
    multiprocess_mode="livesum",
    registry=REGISTRY,
)
CONNECTIONS: Final = Gauge(
    "overseer_database_connections", "Connections of the pools", ["state"], multiprocess_mode="livesum", registry=REGISTRY
)
SEALED: Final = Gauge("overseer_sealed", "1 where a worker has no root key", multiprocess_mode="livemax", registry=REGISTRY)
SINK_BEHIND: Final = Gauge(
    "overseer_audit_sink_behind_seconds",
    "The age of the oldest audit row that a sink has not taken, by the sink's name in the configuration",
    ["sink"],
    multiprocess_mode="livemostrecent",
    registry=REGISTRY,
)
BACKEND_CALLS: Final = Counter(
    "overseer_backend_calls",
    "Rounds to backends, by kind and how they went (ok, or the stage)",
    ["kind", "outcome"],
    registry=REGISTRY,
)
LEADING: Final = Gauge(
    "overseer_leading", "1 where a worker of this server runs the jobs", multiprocess_mode="livemax", registry=REGISTRY
)

LEADER_MISSING: Final = Gauge(
    "overseer_leader_missing_seconds",
    "For how long this server has not seen any server lead",
    multiprocess_mode="livemax",
    registry=REGISTRY,
)


class _Extra(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterable[Metric]:
        return self._families


def exposition(extra: Iterable[Metric] = ()) -> bytes:
    """The numbers of all workers and ``extra`` families in Prometheus' text format 0.0.4."""
    _write()
    several = os.environ.get(DIRECTORY_VARIABLE)
    registry = REGISTRY
    if several:
        registry = CollectorRegistry()
        MultiProcessCollector(registry, path=several)  # type: ignore[no-untyped-call]
    shown = CollectorRegistry()
    shown.register(_Extra(extra))
    return generate_latest(registry) + generate_latest(shown)


def note_request(method: str, route: str, status: int, seconds: float | None, code: str | None) -> None:
    """Count one answer; ``seconds`` is None where it waited for an event, ``code`` that of a problem document."""
    _held[method, route, status] += 1
    _write_soon()
    if seconds is not None:
        _seconds(route).observe(seconds)
    if code is not None:
        PROBLEMS.labels(code).inc()


def note_batch(kind: str, size: int, waiting: int) -> None:
    """Count one batch of statements of ``size`` requests; ``waiting`` of that kind were left."""
    _batch_size(kind).observe(size)
    _batch_waiting(kind).set(waiting)


def begin_request() -> None:
    """One more request is being answered."""
    global _in_flight  # noqa: PLW0603  # a process has one count
    _in_flight += 1
    _write_soon()


def end_request() -> None:
    """One less."""
    global _in_flight  # noqa: PLW0603
    _in_flight -= 1
    _write_soon()


def forget_worker(pid: int, directory: str) -> None:
    """A worker ended: what it had open counts no more, what it had counted stays."""
    with suppress(OSError):
        mark_process_dead(pid, directory)  # type: ignore[no-untyped-call]


# Routes, methods and statuses are few and fixed; looking a child up by its labels costs more than counting.
@cache
def _requests(method: str, route: str, status: int) -> Counter:
    return REQUESTS.labels(method, route, str(status))


@cache
def _seconds(route: str) -> Histogram:
    return REQUEST_SECONDS.labels(route)


@cache
def _batch_size(kind: str) -> Histogram:
    return BATCH_SIZE.labels(kind)


@cache
def _batch_waiting(kind: str) -> Gauge:
    return BATCH_WAITING.labels(kind)


# Each count is a write into a file in memory under a lock: those of one turn of the event loop are written together.
_held: Final[Tally[tuple[str, str, int]]] = Tally()
_in_flight = 0
_due = False


def _write_soon() -> None:
    global _due  # noqa: PLW0603
    if _due:
        return
    try:
        asyncio.get_running_loop().call_soon(_write)
        _due = True
    except RuntimeError:  # without a loop nothing turns
        _write()


def _write() -> None:
    global _due  # noqa: PLW0603
    _due = False
    IN_FLIGHT.set(_in_flight)
    for key, count in _held.items():
        _requests(*key).inc(count)
    _held.clear()

"""A mixed load of writers that remember what was acknowledged, and the proof that nothing of it is lost.

Each writer has names of its own and one value for each attempt, so what should be there is known exactly. An attempt whose answer
was lost is sent again under its idempotency key until it is answered; one that never was may have happened or not, once. Where
there are several replicas, an attempt that one does not answer goes to the next.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from uuid import uuid4

import httpx

from tests.faults.stage import Stage
from tests.faults.table import require
from tests.integration.server_process.installation import RunningServer

WRITERS = 4
NAMES_EACH = 8
PAUSE_SECONDS = 0.005


@dataclass
class Writer:
    """One thread of the load."""

    number: int
    bases: list[str]
    token: str
    chance: random.Random
    prefix: str
    acknowledged: dict[tuple[str, int], str] = field(default_factory=dict)  # secret id and version: value
    attempted: set[str] = field(default_factory=set)
    releases: dict[str, tuple[str, int, str]] = field(default_factory=dict)  # request id: what was released
    answers: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    succeeded_at: list[float] = field(default_factory=list)  # of time.monotonic
    _ids: dict[str, str] = field(default_factory=dict)

    def run(self, ended: threading.Event) -> None:
        with httpx.Client(headers={"authorization": f"Bearer {self.token}"}, timeout=30) as http:
            while not ended.is_set():
                name = f"{self.prefix}-{self.number}-{self.chance.randrange(NAMES_EACH)}"
                if self.acknowledged and self.chance.random() < 0.4:
                    self._release(http)
                else:
                    self._write(http, name, ended)
                time.sleep(PAUSE_SECONDS)

    def _write(self, http: httpx.Client, name: str, ended: threading.Event) -> None:
        """Create it, or add a version; again and again under one key."""
        value, key, secret_id = uuid4().hex, uuid4().hex, self._ids.get(name)
        self.attempted.add(value)
        method, path = ("POST", "/api/secrets") if secret_id is None else ("PUT", f"/api/secrets/{secret_id}")
        body = {"name": name, "value": value} if secret_id is None else {"value": value}
        while True:
            answer = self._send(http, method, path, body, {"idempotency-key": key})
            if answer is not None and answer.status_code in (200, 201):
                view = answer.json()
                self._ids[name] = view["id"]
                self.acknowledged[view["id"], view["version"]] = value
                return
            if answer is not None and answer.status_code != 503:
                self.wrong.append(f"{method}: {answer.status_code} {answer.text[:200]}")
                return
            if ended.wait(0.02):
                return

    def _release(self, http: httpx.Client) -> None:
        (secret_id, version), value = self.chance.choice(list(self.acknowledged.items()))
        request_id = uuid4().hex
        answer = self._send(http, "POST", f"/api/secrets/{secret_id}/value", {"version": version}, {"x-request-id": request_id})
        if answer is None or answer.status_code == 503:
            return
        if answer.status_code != 200 or answer.json()["value"] != value:
            self.wrong.append(f"a release: {answer.status_code}")
        else:
            self.releases[request_id] = (secret_id, version, value)

    def _send(self, http: httpx.Client, method: str, path: str, body: object, headers: dict[str, str]) -> httpx.Response | None:
        try:
            answer = http.request(method, self.bases[0] + path, json=body, headers=headers)
        except httpx.TransportError:
            answer = None
        status = 0 if answer is None else answer.status_code
        self.answers[status] += 1
        if status in (0, 503):
            self.bases.append(self.bases.pop(0))
        else:
            self.succeeded_at.append(time.monotonic())
        return answer


class Load:
    """``with Load(stage) as load:`` runs it during the block; then :meth:`verify` against a server that runs."""

    def __init__(self, stage: Stage, seed: int, *replicas: RunningServer) -> None:
        """``replicas`` are servers beside the stage's own; half of the writers begin there."""
        self._stage, self._ended = stage, threading.Event()
        prefix = stage.name("load")
        urls = [stage.server.url, *(replica.url for replica in replicas)]
        self.writers = [
            Writer(number, _turned(urls, number), stage.token, random.Random(seed + number), prefix)  # noqa: S311  # not a secret
            for number in range(WRITERS)
        ]
        self._threads = [threading.Thread(target=one.run, args=(self._ended,), daemon=True) for one in self.writers]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(60)

    @property
    def answers(self) -> Counter[int]:
        """How many answers of each status; 0 is none at all."""
        return sum((one.answers for one in self.writers), Counter())

    def longest_gap(self, since: float) -> float:
        """The longest time in seconds since then (of ``time.monotonic``) in which no request of any writer succeeded."""
        moments = sorted([since, *(at for one in self.writers for at in one.succeeded_at if at > since)])
        return max((later - earlier for earlier, later in pairwise(moments)), default=float("inf"))

    def verify(self) -> str:
        """Raises unless all that was acknowledged is there, nothing twice, everything decrypts and every release has its row."""
        wrong = [text for one in self.writers for text in one.wrong]
        require(not wrong, f"{len(wrong)} wrong answers, the first: {wrong[:1]}")
        acknowledged = {key: value for one in self.writers for key, value in one.acknowledged.items()}
        stored = self._stored()
        lost = [key for key, value in acknowledged.items() if stored.get(key) != value]
        require(not lost, f"{len(lost)} acknowledged writes are lost")
        twice = len(stored) - len(set(stored.values()))
        require(twice == 0, f"{twice} writes happened twice")
        require(set(stored.values()) <= {value for one in self.writers for value in one.attempted}, "values that nobody wrote")
        releases = {request for one in self.writers for request in one.releases}
        audited = set(
            self._stage.sql("SELECT request_id FROM audit WHERE action = 'secret:reveal' AND outcome = 'allowed'").split()
        )
        require(releases <= audited, f"{len(releases - audited)} releases have no audit row")
        rows = self._stage.count("audit", "action IN ('secret:create', 'secret:update') AND outcome = 'allowed' AND code = ''")
        require(rows >= len(stored), f"{rows} rows for {len(stored)} versions")
        return (
            f"{len(acknowledged)} acknowledged writes and {len(releases)} releases: all there, all audited, {len(stored)} decrypt"
        )

    def _stored(self) -> dict[tuple[str, int], str]:
        """Every version of the load's secrets as the server decrypts it now."""
        prefix = self.writers[0].prefix
        listed = self._stage.sql(
            "SELECT v.secret_id, v.version FROM secret_version v JOIN secret s ON s.id = v.secret_id "
            f"WHERE starts_with(s.name, '{prefix}-')"
        )
        found = {}
        for line in listed.splitlines():
            secret_id, _, version = line.partition("|")
            answer = self._stage.reveal(secret_id, version=int(version))
            require(answer.status_code == 200, f"a version does not decrypt: {answer.status_code}")
            found[secret_id, int(version)] = answer.json()["value"]
        return found


def _turned(urls: list[str], by: int) -> list[str]:
    return [urls[(by + number) % len(urls)] for number in range(len(urls))]

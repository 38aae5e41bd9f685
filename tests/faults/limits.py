"""Faults of too much and of half: floods of refused requests, and many changes of which one is bad."""

from __future__ import annotations

import time
from collections import Counter

import httpx

from overseer.server.api.throttle import FAILURES_BURST
from tests.faults.stage import Background, Stage
from tests.faults.table import fault, require

FLOOD = 3 * FAILURES_BURST
SECRETS = 50


@fault("a flood of requests without a valid token", "429 with Retry-After; few rows, all counted; others are served")
def flood(stage: Stage) -> str:
    before = stage.sql("SELECT coalesce(max(id), 0) FROM audit")
    good = stage.create(stage.name("meanwhile"))
    began, seen = time.monotonic(), Counter[int]()
    for _ in range(FLOOD):
        answer = stage.http("GET", "/api/secrets", token="ovs_nobody")
        seen[answer.status_code] += 1
        if answer.status_code == 429:
            require(int(answer.headers["retry-after"]) > 0, "no Retry-After")
    took = time.monotonic() - began
    require(stage.reveal(good["id"]).status_code == 200, "the owner was locked out by a stranger of the same address")
    rows = int(stage.sql(f"SELECT count(*) FROM audit WHERE id > {before} AND outcome = 'denied' AND action = 'secret:list'"))
    require(set(seen) == {401, 429}, f"{dict(seen)}")
    require(seen[401] <= FAILURES_BURST + took * 10 + 5, f"{seen[401]} of {FLOOD} were looked at")
    require(rows <= seen[401], f"{rows} rows for {seen[401]} refusals")
    time.sleep(2)  # what follows finds some attempts again
    return f"{seen[401]} times 401, {seen[429]} times 429 with Retry-After; {rows} rows; the owner is served meanwhile"


@fault("atomic write of 50 secrets, one bad", "nothing written, the bad one named; readers see all old or all new")
def half_a_batch(stage: Stage) -> str:
    names = [stage.name(f"batch-{number}") for number in range(SECRETS)]

    def change(value: str, *, bad: str = "") -> httpx.Response:
        operations = [{"operation": "set", "name": name, "value": value} for name in names]
        if bad:
            operations[SECRETS // 2]["name"] = bad
        return stage.http("POST", "/api/secrets/batch", {"operations": operations})

    first = change("0")
    require(first.status_code in (200, 201), first.text[:300])
    refused = change("never", bad="no such/name")
    place = f"operations[{SECRETS // 2}]"
    require(refused.status_code == 422 and place in refused.text, f"{refused.status_code}: {refused.text[:300]}")
    versions = stage.count("secret_version", f"secret_id IN (SELECT id FROM secret WHERE name IN ({_listed(names)}))")
    require(versions == SECRETS, f"{versions} versions after a refused batch")
    writing = Background(lambda: [change(str(number)).status_code for number in range(1, 11)])
    looks, mixed = 0, 0
    while writing.running:
        answer = stage.http("POST", "/api/resolve", {"names": names})
        require(answer.status_code == 200, answer.text[:200])
        values = {one["value"] for one in answer.json()["values"]}
        looks, mixed = looks + 1, mixed + (len(values) > 1)
    codes = set(writing.result())
    require(codes <= {200, 201}, f"{codes}")
    require(mixed == 0 and looks > 3, f"{mixed} of {looks} looks saw old and new together")
    return f"422 at {place}, {versions} versions as before; {looks} looks during 10 batches: never old and new together"


def _listed(names: list[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)

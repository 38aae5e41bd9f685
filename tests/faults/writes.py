"""Faults of writing: an answer that is lost, a request that comes twice, two writers at once."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from functools import partial
from uuid import uuid4

import httpx

from tests.faults.stage import Background, Stage
from tests.faults.table import fault, require

#: Makes COMMIT itself wait: deferred triggers fire in it.
WAIT_AT_COMMIT = (
    """CREATE FUNCTION fault_wait() RETURNS trigger LANGUAGE plpgsql
    AS $$ BEGIN PERFORM pg_advisory_xact_lock(4711); RETURN NULL; END $$""",
    """CREATE CONSTRAINT TRIGGER fault_wait AFTER INSERT ON secret_version DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION fault_wait()""",
)
NO_WAIT = ("DROP TRIGGER IF EXISTS fault_wait ON secret_version", "DROP FUNCTION IF EXISTS fault_wait")


@fault("kill -9 before commit", "no write; the retry with its key makes one version")
def before_commit(stage: Stage) -> str:
    body, key = {"name": stage.name("before"), "value": "v"}, uuid4().hex
    with stage.holding("LOCK TABLE audit IN ACCESS EXCLUSIVE MODE"):  # the row of the audit log is a request's last statement
        lost = Background(lambda: stage.http("POST", "/api/secrets", body, key=key))
        stage.wait_blocked()
        stage.kill_server()
    require(_has_no_answer(lost), "the killed server answered")
    stage.start_server()
    written = stage.count("secret", f"name = '{body['name']}'")
    require(written == 0, f"{written} secrets were written")
    again = stage.http("POST", "/api/secrets", body, key=key)
    versions = _versions(stage, body["name"])
    require((again.status_code, versions) == (201, 1), f"{again.status_code}, {versions} versions")
    return "0 rows after the restart; the retry: 201, 1 version"


@fault("kill -9 after commit, before the reply", "the key returns the first result; one version")
def after_commit(stage: Stage) -> str:
    body, key = {"name": stage.name("after"), "value": "v"}, uuid4().hex
    stage.sql(*WAIT_AT_COMMIT)
    try:
        with stage.holding("SELECT pg_advisory_lock(4711)"):
            lost = Background(lambda: stage.http("POST", "/api/secrets", body, key=key))
            stage.wait_blocked()
            for worker in stage.server.workers():  # it will never hear that the commit succeeded
                os.kill(worker, signal.SIGSTOP)
        _wait_for(lambda: stage.count("secret", f"name = '{body['name']}'") == 1)
        stage.kill_server()
    finally:
        stage.sql(*NO_WAIT)
    require(_has_no_answer(lost), "the killed server answered")
    stage.start_server()
    again = stage.http("POST", "/api/secrets", body, key=key)
    first = stage.sql(f"SELECT id FROM secret WHERE name = '{body['name']}'")
    versions = _versions(stage, body["name"])
    require((again.status_code, versions) == (201, 1), f"{again.status_code}, {versions} versions")
    require(again.json()["id"] == first, "another resource")
    rows = stage.audit(f"action = 'secret:create' AND resource_id = '{first}'")
    require(rows == ["secret:create|allowed|", "secret:create|allowed|replayed"], f"audit: {rows}")
    return "201 with the id of the first; 1 version; audit: allowed, replayed"


@fault("same idempotency key, same body, at once", "one version, both get it")
def same_key_at_once(stage: Stage) -> str:
    body, key = {"name": stage.name("twice"), "value": "v"}, uuid4().hex
    both = [Background(lambda: stage.http("POST", "/api/secrets", body, key=key)) for _ in range(4)]
    answers = [one.result() for one in both]
    ids = {one.json().get("id") for one in answers}
    require([one.status_code for one in answers] == [201] * 4, f"{[one.status_code for one in answers]}")
    require(len(ids) == 1 and _versions(stage, body["name"]) == 1, f"{len(ids)} ids")
    return "4 answers 201, one id, 1 version"


@fault("same idempotency key, other body", "409 or 422, never a replay")
def same_key_other_body(stage: Stage) -> str:
    key, name = uuid4().hex, stage.name("key")
    require(stage.http("POST", "/api/secrets", {"name": name, "value": "v"}, key=key).status_code == 201, "the first failed")
    other = stage.name("other")
    answer = stage.http("POST", "/api/secrets", {"name": other, "value": "v"}, key=key)
    changed = stage.http("POST", "/api/secrets", {"name": name, "value": "w"}, key=key)
    for one in (answer, changed):
        require((one.status_code, one.json()["code"]) == (422, "idempotency_mismatch"), one.text)
    require(_versions(stage, other) == 0 and _versions(stage, name) == 1, "something was written")
    return "422 idempotency_mismatch twice; nothing written"


@fault("two writers with the same If-Match", "one 200, one 412 with the current version")
def two_writers(stage: Stage) -> str:
    made = stage.http("POST", "/api/secrets", {"name": stage.name("match"), "value": "v"})
    path, etag = f"/api/secrets/{made.json()['id']}", made.headers["etag"]
    for _ in range(5):
        put = partial(stage.http, "PUT", path, if_match=etag)
        pair = [Background(partial(put, {"value": f"value {number}"})) for number in range(2)]
        won, refused = sorted((one.result() for one in pair), key=lambda one: one.status_code)
        require((won.status_code, refused.status_code) == (200, 412), f"{won.status_code} and {refused.status_code}")
        require(refused.json()["current_version"] == won.json()["version"], refused.text)
        etag = won.headers["etag"]
    return f"5 times: 200 and 412; current_version {won.json()['version']} at the end"


def _has_no_answer(lost: Background[httpx.Response]) -> bool:
    try:
        lost.result()
    except httpx.TransportError:
        return True
    return False


def _versions(stage: Stage, name: str) -> int:
    return stage.count("secret_version", f"secret_id IN (SELECT id FROM secret WHERE name = '{name}')")


def _wait_for(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError("it never happened")
        time.sleep(0.02)

"""Faults of key rotation: killed in the middle of any batch, begun twice at once."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import httpx

from overseer.server.services.key_rewrapping import BATCH
from tests.faults.stage import Background, Stage
from tests.faults.table import fault, require

#: More rows than two batches, so that a kill can come in the first, in the middle and in the last.
ROWS = 1100
#: Lets a batch come to its last statement and wait there, once more rows than the limit are done.
WAIT_IN_BATCH = (
    "CREATE TABLE fault_limit AS SELECT 0 AS rows",
    "GRANT SELECT ON fault_limit TO PUBLIC",
    """CREATE FUNCTION fault_wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF NEW.rewrapped > (SELECT rows FROM public.fault_limit) THEN PERFORM pg_advisory_xact_lock(4712); END IF;
        RETURN NEW;
    END $$""",
    "CREATE TRIGGER fault_wait BEFORE UPDATE OF rewrapped ON key_rotation FOR EACH ROW EXECUTE FUNCTION fault_wait()",
)
NO_WAIT = (
    "DROP TRIGGER IF EXISTS fault_wait ON key_rotation",
    "DROP FUNCTION IF EXISTS fault_wait",
    "DROP TABLE IF EXISTS fault_limit",
)


@fault("kill -9 during KEK rotation, at each batch", "all readable; it resumes; nothing twice")
def killed_rotation(stage: Stage) -> str:
    _fill(stage)
    stage.sql(*WAIT_IN_BATCH)
    wraps: dict[str, str] = {}
    kills = 0
    try:
        term = _rotate(stage).json()["term"]
        total = stage.count("secret_version", "true") + stage.count("bundle", "true")
        while kills * BATCH < total:
            stage.sql(f"UPDATE fault_limit SET rows = {kills * BATCH}")
            with stage.holding("SELECT pg_advisory_lock(4712)"):
                _until(stage, "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory' AND objid = 4712")
                stage.kill_server()
            kills += 1
            _unchanged(stage, term, wraps)
            stage.start_server()
            require(stage.reveal(_some_secret(stage)).status_code == 200, "not readable after a kill")
    finally:
        stage.sql(*NO_WAIT)
    _finished(stage)
    _unchanged(stage, term, wraps)
    rewrapped = int(stage.sql("SELECT rewrapped FROM key_rotation ORDER BY started_at DESC LIMIT 1"))
    require(rewrapped == total, f"{rewrapped} wraps for {total} rows")
    require(stage.count("secret_version", f"kek_term <> {term}") == 0, "rows are left under the old term")
    checked = _verify(stage)
    stage.sql("DELETE FROM secret WHERE name LIKE 'rotated-%'")
    return f"{kills} kills; {rewrapped} rows wrapped anew, each once; {checked} rows open"


@fault("two rotations at once", "one runs, the others 409")
def two_rotations(stage: Stage) -> str:
    made = stage.create(stage.name("two"), "value")
    before = stage.count("keyring_key", "purpose = 'kek'")
    answers = [one.result() for one in [Background(lambda: stage.http("POST", "/api/keys/rotate")) for _ in range(4)]]
    codes = sorted(one.status_code for one in answers)
    require(codes == [202, 409, 409, 409], f"{codes}")
    require(all(one.json()["code"] == "conflict" for one in answers if one.status_code == 409), "another error")
    require(stage.count("keyring_key", "purpose = 'kek'") == before + 1, "more than one new term")
    _finished(stage)
    require(stage.reveal(made["id"]).json()["value"] == "value", "not readable")
    return "202 and three times 409; one new term; finished"


def _fill(stage: Stage) -> None:
    name = stage.name("rotated")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: stage.create(f"{name}-{number}", "value"), range(ROWS)))


def _rotate(stage: Stage) -> httpx.Response:
    answer = stage.http("POST", "/api/keys/rotate")
    require(answer.status_code == 202, answer.text)
    return answer


def _unchanged(stage: Stage, term: int, wraps: dict[str, str]) -> None:
    """What is under the new term keeps its wrap."""
    rows = stage.sql(f"SELECT id, md5(wrapped_dek) FROM secret_version WHERE kek_term = {term}").splitlines()
    for row in rows:
        row_id, wrap = row.split("|")
        require(wraps.setdefault(row_id, wrap) == wrap, f"row {row_id} was wrapped twice")


def _some_secret(stage: Stage) -> str:
    return stage.sql("SELECT id FROM secret WHERE name LIKE 'rotated-%' ORDER BY random() LIMIT 1")


def _finished(stage: Stage) -> None:
    """Wait until the rotation has ended, without the time in which a process may be late with the new term."""
    stage.sql("UPDATE key_rotation SET started_at = started_at - interval '1 minute' WHERE state = 'running'")
    _until(stage, "SELECT (NOT EXISTS (SELECT FROM key_rotation WHERE state = 'running'))::integer")


def _until(stage: Stage, question: str) -> None:
    deadline = time.monotonic() + 30
    while stage.sql(question) == "0":
        if time.monotonic() > deadline:
            raise TimeoutError(question)
        time.sleep(0.05)


def _verify(stage: Stage) -> int:
    checked, cursor = 0, ""
    while True:
        answer = stage.http("POST", "/api/keys/verify", {"cursor": cursor} if cursor else {})
        require(answer.status_code == 200, answer.text)
        part = answer.json()
        require(part["unreadable"] == [], f"{part['unreadable']}")
        checked, cursor = checked + int(part["checked"]), part["next_cursor"]
        if cursor is None:
            return checked

"""Faults of the database and of the keys: cannot reach it, cannot audit, cannot decrypt."""

from __future__ import annotations

import time

import httpx

from overseer.crypto.keys import RootKey
from overseer.server.seals.root_key_text import write_root_key
from tests.faults.stage import Background, Stage
from tests.faults.table import fault, require

#: The answer's deadline: five seconds for a lock, ten for a statement, and something for a busy machine.
DEADLINE_SECONDS = 15.0
VALUE = "the-value-that-must-not-leave"


@fault("database down", "503 with Retry-After; health answers; recovery without a restart")
def database_down(stage: Stage) -> str:
    made, process = stage.create(stage.name("down"), VALUE), stage.server.process.pid
    stage.installation.postgres.stop()
    try:
        stage.await_ready(503)
        began = time.monotonic()
        refused = [stage.reveal(made["id"]), stage.http("POST", "/api/secrets", {"name": "down", "value": "v"})]
        took = time.monotonic() - began
        live = stage.http("GET", "/health/live").status_code
    finally:
        stage.installation.postgres.start()
    _all_503(refused)
    require(took < 2 * DEADLINE_SECONDS and live == 200, f"{took:.1f} s, live {live}")
    stage.await_ready()
    require(stage.reveal(made["id"]).json()["value"] == VALUE, "not the value")
    require(stage.server.process.poll() is None and stage.server.process.pid == process, "the server was restarted")
    retry = refused[0].headers["retry-after"]
    return f"503 twice in {took:.1f} s, Retry-After {retry}; live 200; the same process serves again"


@fault("database slow: every connection of the pool waits", "503 inside the deadline; health answers; recovery")
def database_slow(stage: Stage) -> str:
    made = stage.create(stage.name("slow"), VALUE)
    with stage.holding("LOCK TABLE secret IN ACCESS EXCLUSIVE MODE"):
        began = time.monotonic()
        waiting = [Background(lambda: stage.reveal(made["id"])) for _ in range(20)]
        stage.wait_blocked()
        live = stage.http("GET", "/health/live").status_code
        answered_live = time.monotonic() - began
        refused = [one.result() for one in waiting]
        took = time.monotonic() - began
    _all_503(refused)
    require(took < DEADLINE_SECONDS and live == 200 and answered_live < 5, f"{took:.1f} s, live {live}")
    stage.await_ready()
    require(stage.reveal(made["id"]).status_code == 200, "it did not recover")
    return f"20 times 503 in {took:.1f} s; live 200; 200 afterwards"


@fault("audit table locked", "503, nothing released, nothing written")
def audit_locked(stage: Stage) -> str:
    made, name = stage.create(stage.name("locked"), VALUE), stage.name("unwritten")
    with stage.holding("LOCK TABLE audit IN EXCLUSIVE MODE"):
        asked = [
            Background(lambda: stage.reveal(made["id"])),
            Background(lambda: stage.http("POST", "/api/resolve", {"names": [made["name"]]})),
            Background(lambda: stage.http("POST", "/api/secrets", {"name": name, "value": VALUE})),
        ]
        refused = [one.result() for one in asked]
    _all_503(refused)
    require(stage.count("secret", f"name = '{name}'") == 0, "the secret was written")
    require(stage.reveal(made["id"]).status_code == 200, "it did not recover")
    return f"{', '.join(str(one.status_code) for one in refused)}; no value, no row; 200 afterwards"


@fault("INSERT on the audit table revoked", "503, nothing released, nothing written")
def audit_revoked(stage: Stage) -> str:
    made, name = stage.create(stage.name("revoked"), VALUE), stage.name("unwritten")
    columns = stage.sql(
        "SELECT string_agg(column_name, ', ') FROM information_schema.column_privileges "
        "WHERE grantee = 'overseer_service' AND table_name = 'audit' AND privilege_type = 'INSERT'"
    )
    require(columns, "the service has no right of its own to take away")
    stage.sql("REVOKE INSERT ON audit FROM overseer_service")
    try:
        refused = [stage.reveal(made["id"]), stage.http("POST", "/api/secrets", {"name": name, "value": VALUE})]
        denied = stage.http("GET", "/api/secrets", token="ovs_unknown")
    finally:
        stage.sql(f"GRANT INSERT ({columns}) ON audit TO overseer_service")
    _all_503([*refused, denied])
    require(stage.count("secret", f"name = '{name}'") == 0, "the secret was written")
    require(stage.reveal(made["id"]).status_code == 200, "it did not recover")
    return "503 for a reveal, a write and a denial; no value, no row; 200 afterwards"


@fault("wrong key file", "refuses to start with exit code 78, nothing changed")
def wrong_key(stage: Stage) -> str:
    wrong = stage.home / "wrong.key"
    wrong.write_bytes(write_root_key(RootKey.generate()).reveal())
    wrong.chmod(0o600)
    right = (stage.home / "data" / "root.key").read_bytes()
    stage.server.stop()
    before = stage.fingerprint()
    codes = []
    for path in (wrong, stage.home / "none.key"):
        server = stage.other_server(OVERSEER_SEAL=f"file:{path}")
        codes.append(server.process.wait(30))
        server.stop()
    require(codes == [78, 78], f"exit codes {codes}")
    require(stage.fingerprint() == before, "a row changed")
    require((stage.home / "data" / "root.key").read_bytes() == right, "the key file changed")
    require(not (stage.home / "none.key").exists(), "a key file was made")
    stage.start_server()
    return "another key: 78; no key file: 78; every row of every table and the key file as before"


@fault("one flipped byte in a stored value", "refused, the secret's id is named, audited")
def flipped_byte(stage: Stage) -> str:
    other = stage.create(stage.name("whole"), "intact")
    shown = []
    for column in ("ciphertext", "wrapped_dek"):
        for at in ("0", f"length({column}) / 2", f"length({column}) - 1"):
            made = stage.create(stage.name("flipped"), VALUE)
            flip = f"set_byte({column}, {at}, get_byte({column}, {at}) # 1)"
            stage.sql(f"UPDATE secret_version SET {column} = {flip} WHERE secret_id = '{made['id']}'")
            shown.append(_refused(stage, made["id"], f"{column} at {at}"))
    moved = stage.create(stage.name("moved"), VALUE)
    stage.sql(
        "UPDATE secret_version v SET (ciphertext, wrapped_dek) = (SELECT ciphertext, wrapped_dek FROM secret_version "
        f"WHERE secret_id = '{other['id']}') WHERE v.secret_id = '{moved['id']}'"
    )
    shown.append(_refused(stage, moved["id"], "a ciphertext of another secret"))
    require(stage.reveal(other["id"]).json()["value"] == "intact", "another secret is hurt")
    stage.sql("DELETE FROM secret WHERE name LIKE 'flipped-%' OR name LIKE 'moved-%'")
    return f"{len(shown)} times 500 decryption_failed with the id; audit: allowed, then failed"


def _refused(stage: Stage, secret_id: str, what: str) -> int:
    answer = stage.reveal(secret_id)
    require((answer.status_code, answer.json()["code"]) == (500, "decryption_failed"), f"{what}: {answer.status_code}")
    require(secret_id in answer.text and VALUE not in answer.text and "intact" not in answer.text, f"{what}: {answer.text}")
    rows = stage.audit(f"resource_id = '{secret_id}' AND action = 'secret:reveal'")
    require(rows == ["secret:reveal|allowed|", "secret:reveal|failed|decryption_failed"], f"{what}: audit {rows}")
    return answer.status_code


def _all_503(answers: list[httpx.Response]) -> None:
    for answer in answers:
        require(answer.status_code == 503, f"{answer.status_code}: {answer.text[:200]}")
        require(int(answer.headers.get("retry-after", "0")) > 0, "no Retry-After")
        require(VALUE not in answer.text, "a value was released")

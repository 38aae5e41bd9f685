"""Faults of the whole: stopped or killed while it works."""

from __future__ import annotations

import random
import time

from tests.faults.load import Load
from tests.faults.stage import Stage
from tests.faults.table import fault, require
from tests.integration.server_process.installation import RunningServer

#: For the next leader to come, and to seal what was written before it.
SEALED_SECONDS = 30.0


@fault("SIGTERM under load", "drains, exit code 0, no acknowledged write lost")
def sigterm(stage: Stage) -> str:
    with Load(stage, stage.seed) as load:
        time.sleep(1.0)
        began = time.monotonic()
        code = stage.server.stop()
        took = time.monotonic() - began
    require(code == 0, f"exit code {code}")
    served = load.answers
    require(served[200] + served[201] > 20 and set(served) <= {0, 200, 201, 503}, f"answers {dict(served)}")
    stage.start_server()
    return f"exit code 0 after {took:.1f} s; {load.verify()}"


@fault(
    "random kills of two servers and the database",
    "no acknowledged write lost, every release audited, every row decrypts, the log verifies",
)
def random_kills(stage: Stage) -> str:
    chance = random.Random(stage.seed)  # noqa: S311  # the same kills again, where one shows something
    done = {"server": 0, "replica": 0, "database": 0}
    replica = stage.other_server()
    replica.wait_for("/health/ready", 200)
    settings = stage.installation.settings(OVERSEER_LISTEN=replica.address)
    try:
        with Load(stage, stage.seed, replica) as load:
            for number in range(stage.kills):
                time.sleep(chance.uniform(0.1, 0.6))
                # The first three are one of each, so that few kills show all.
                victim = list(done)[number] if number < 3 else chance.choice(list(done))
                done[victim] += 1
                if victim == "server":
                    stage.kill_server()
                    stage.start_server()
                elif victim == "replica":
                    stage.kill_server(replica)
                    replica.stop()
                    replica = RunningServer(settings, stage.home / "other.log")
                else:
                    stage.kill_database()
                    stage.await_ready()
            time.sleep(0.5)
    finally:
        replica.stop()
    answers = load.answers
    require(stage.kills == 0 or answers[0] + answers[503] > 0, "no request met a kill")
    kills = f"{done['server']} and {done['replica']} kills of the servers, {done['database']} of the database"
    return f"{kills}; {load.verify()}; the log of {_verified_rows(stage)} rows verifies"


def _verified_rows(stage: Stage) -> int:
    """Export the sealed log and verify it away from the server; it has to hold every row that is there now."""
    rows, deadline = stage.count("audit", "true"), time.monotonic() + SEALED_SECONDS
    while int(stage.sql("SELECT coalesce(max(size), 0) FROM audit_checkpoint")) < rows:
        require(time.monotonic() < deadline, "rows are not sealed")
        time.sleep(0.2)
    exported = stage.home / "log.jsonl"
    for arguments in (("audit", "export", "--file", str(exported)), ("audit", "verify", str(exported))):
        done = stage.cli(*arguments)
        require(done.returncode == 0, f"{' '.join(arguments[:2])}: {done.stderr.decode(errors='replace')[-300:]}")
    return rows

"""Faults of the whole: stopped or killed while it works."""

from __future__ import annotations

import random
import time

from tests.faults.load import Load
from tests.faults.stage import Stage
from tests.faults.table import fault, require
from tests.integration.server_process.installation import RunningServer


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


@fault("random kills of two servers and the database", "no acknowledged write lost, every release audited, every row decrypts")
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
    return f"{kills}; {load.verify()}"

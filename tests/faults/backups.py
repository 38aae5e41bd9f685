"""Faults of backups: what was cut, changed or is for somebody else; another root key; an old one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.faults.stage import Stage
from tests.faults.table import fault, require
from tests.integration.server_process.installation import RunningServer
from tests.postgres_server import binaries

WORDS = "a passphrase of a backup"
TABLES = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"


class Twin:
    """An empty database in the same cluster, and the command line with its settings."""

    def __init__(self, stage: Stage, name: str) -> None:
        self.home = stage.home / name
        self.home.mkdir(mode=0o700, exist_ok=True)
        self.words = self.home / "words"
        self.words.write_text(f"{WORDS}\n")
        self.url = stage.installation.url.replace("/overseer?", f"/{name}?")
        self.settings = stage.installation.settings(
            OVERSEER_DATA_DIR=str(self.home), OVERSEER_DATABASE_URL=self.url, OVERSEER_SEAL=stage.installation.seal
        )

    def restore(self, file: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[bytes]:
        kept = {name: text for name, text in os.environ.items() if not name.startswith("OVERSEER_")}
        command = [sys.executable, "-P", "-m", "overseer.cli.main", "restore", str(file), "--yes"]
        command += ["--passphrase-file", str(self.words), *arguments]
        environment = kept | self.settings | settings
        return subprocess.run(
            command, env=environment, capture_output=True, check=False, timeout=120, stdin=subprocess.DEVNULL
        )

    def sql(self, statement: str) -> str:
        superuser = self.url.replace("overseer@", "postgres@", 1)
        command = [str(binaries() / "psql"), "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", superuser]
        return subprocess.run([*command, "-c", statement], check=True, capture_output=True, text=True).stdout.strip()


@contextmanager
def twin(stage: Stage, name: str) -> Iterator[Twin]:
    stage.sql(f"CREATE DATABASE {name} OWNER overseer TEMPLATE template0 ENCODING 'UTF8'")
    try:
        yield Twin(stage, name)
    finally:
        stage.sql(f"DROP DATABASE {name} WITH (FORCE)")


def backup(stage: Stage, there: Twin, name: str) -> Path:
    file = there.home / name
    done = stage.cli("backup", "create", "--to", str(file), "--passphrase-file", str(there.words))
    require(done.returncode == 0, done.stderr.decode())
    return file


@fault("a backup cut, bit-flipped, with a wrong passphrase", "refused, 0 rows changed")
def damaged(stage: Stage) -> str:
    stage.create(stage.name("backup"), "value")
    with twin(stage, "damaged_twin") as there:
        whole = backup(stage, there, "whole.age").read_bytes()
        middle, file = len(whole) // 2, there.home / "damaged.age"
        codes = []
        flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
        for content in (whole[:100], whole[:middle], whole[:-1], flipped):
            file.write_bytes(content)
            codes.append(there.restore(file).returncode)
            require(there.sql(TABLES) == "0", "something stayed")
        there.words.write_text("another passphrase than that\n")
        file.write_bytes(whole)
        codes.append(there.restore(file).returncode)
        require(there.sql(TABLES) == "0", "something stayed")
        require(all(code in (65, 70, 78) for code in codes), f"exit codes {codes}")
        there.words.write_text(f"{WORDS}\n")
        require(there.restore(file).returncode == 0, "the whole one was not restored")
    return f"exit codes {', '.join(map(str, codes))}, no table each time; then the whole one was restored"


@fault("restore with another root key", "refused, 0 rows changed")
def other_root_key(stage: Stage) -> str:
    with twin(stage, "other_key_twin") as there:
        key = there.home / "other.key"
        key.touch(0o600)
        key.write_text("overseer-root-key-v1\n" + "ab" * 32 + "\n")
        done = there.restore(backup(stage, there, "whole.age"), OVERSEER_SEAL=f"file:{key}")
        require(done.returncode == 78, done.stderr.decode())
        require(there.sql(TABLES) == "0", "something stayed")
    return "exit code 78; no table"


@fault("an old backup restored", "tokens and node credentials ended; older than a checkpoint: an alarm")
def old_backup(stage: Stage) -> str:
    secret = stage.create(stage.name("old"), "value")
    with twin(stage, "old_twin") as there:
        file = backup(stage, there, "old.age")
        for _ in range(3):
            stage.create(stage.name("later"), "value")
        note = there.home / "checkpoint.txt"
        stage.sql("SELECT pg_sleep(1.5)")  # the sealer seals each second
        done = stage.cli("audit", "checkpoint", "--file", str(note))
        require(done.returncode == 0, done.stderr.decode())
        done = there.restore(file, "--checkpoint", str(note))
        require(done.returncode == 0, done.stderr.decode())
        alarm = there.sql("SELECT code FROM audit WHERE action = 'alarm:backup_old'")
        require(alarm.startswith("older_by:"), f"no alarm: {alarm!r}")
        both = "SELECT revoked_at FROM token UNION ALL SELECT retired_at FROM node_key"
        live = there.sql(f"SELECT count(*) FROM ({both}) AS c (ended) WHERE ended IS NULL")
        require(live == "0", f"{live} credentials live")
        server = RunningServer(there.settings, stage.home / "old-twin.log")
        try:
            server.wait_for("/health/ready", 200)
            answer: httpx.Response = server.request("POST", f"/api/secrets/{secret['id']}/value", stage.token, json={})
            require(answer.status_code == 401, f"the old token: {answer.status_code}")
        finally:
            server.stop()
    return f"the old token: 401; audit: alarm:backup_old, {alarm}"

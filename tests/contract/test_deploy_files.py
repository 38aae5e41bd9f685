"""What ``deploy/`` promises: the Compose file, the database's script, the image's file and the server's unit.

The proxy's file is tried with real replicas in ``tests/integration/server_process/test_behind_a_proxy.py``.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from overseer.server import supervisor
from overseer.server.settings import SETTINGS
from tests import postgres_server

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "deploy" / "compose"
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
UNIT = ROOT / "deploy" / "systemd" / "overseer-server.service"
REPLICAS = ("overseer-1", "overseer-2")


def config(compose_binary: list[str], **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {name: text for name, text in os.environ.items() if not name.startswith("OVERSEER_")}
    command = [*compose_binary, "--project-directory", str(COMPOSE), "-f", str(COMPOSE / "compose.yaml"), "--profile", "setup"]
    arguments = [*command, "config", "--format", "json"]
    return subprocess.run(arguments, env=kept | variables, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def model(compose_binary: list[str]) -> dict[str, Any]:
    done = config(compose_binary, OVERSEER_DOMAIN="overseer.example.org")
    assert done.returncode == 0, done.stderr
    read: dict[str, Any] = json.loads(done.stdout)
    return read


def test_compose_asks_for_the_name_that_clients_use(compose_binary: list[str]) -> None:
    refused = config(compose_binary)
    assert refused.returncode != 0
    assert "OVERSEER_DOMAIN" in refused.stderr


def test_only_the_proxy_is_reached_and_only_it_is_believed(model: dict[str, Any]) -> None:
    services = model["services"]
    assert [name for name, service in services.items() if service.get("ports")] == ["proxy"]
    assert model["networks"]["inside"]["internal"] is True
    assert services["postgres"]["network_mode"] == "none"
    proxy = services["proxy"]["networks"]["inside"]["ipv4_address"]
    for name in REPLICAS:
        assert set(services[name]["networks"]) == {"inside"}
        assert services[name]["environment"]["OVERSEER_TRUSTED_PROXIES"] == f"{proxy}/32"
        assert f"server {name} {name}:8420" in (COMPOSE / "haproxy.cfg").read_text()


def test_nothing_may_be_written_or_gained_and_a_stop_is_waited_for(model: dict[str, Any]) -> None:
    for name, service in model["services"].items():
        if name == "postgres":
            continue
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
    for name in REPLICAS:
        assert int(model["services"][name]["stop_grace_period"].removesuffix("s")) > supervisor.DRAIN_SECONDS


def test_secrets_are_files_and_settings_are_known(model: dict[str, Any]) -> None:
    assert all(set(secret) <= {"name", "file"} for secret in model["secrets"].values())
    known = {setting.name for setting in SETTINGS} | {"OVERSEER_CONFIG", "CREDENTIALS_DIRECTORY"}
    for name in (*REPLICAS, "setup"):
        environment = model["services"][name]["environment"]
        assert set(environment) <= known
        assert not any("postgresql://" in text for text in environment.values())
        assert {secret["source"] for secret in model["services"][name]["secrets"]} == {"overseer-root-key", "overseer.toml"}


def test_the_databases_script_makes_a_login_that_is_no_superuser(postgres_home: Path, tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("it's \"a\" $password\\")
    programs = postgres_server.binaries()
    environment = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PGHOST": str(postgres_home),
        "POSTGRES_USER": "postgres",
        "OVERSEER_PASSWORD_FILE": str(password),
    }
    try:
        script = ["sh", str(COMPOSE / "create-database.sh")]
        done = subprocess.run(script, env=environment, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        query = "SELECT rolsuper, rolcreaterole, rolcanlogin, left(rolpassword, 14) FROM pg_authid WHERE rolname = 'overseer'"
        query += " UNION ALL SELECT pg_encoding_to_char(encoding) = 'UTF8', true, true, datdba::regrole::text FROM pg_database"
        query += " WHERE datname = 'overseer'"
        psql = [programs / "psql", "-XqAt", "-d", postgres_server.url(postgres_home, "postgres"), "-c", query]
        seen = subprocess.run(psql, capture_output=True, text=True, check=True).stdout.splitlines()
        assert seen == ["f|t|t|SCRAM-SHA-256$", "t|t|t|overseer"]
        again = subprocess.run(script, env=environment, capture_output=True, text=True, check=False)
        assert again.returncode != 0
    finally:
        postgres_server.execute(postgres_home, "DROP DATABASE IF EXISTS overseer", "DROP ROLE IF EXISTS overseer")


def test_the_image_gets_what_it_copies_and_ends_without_rights_and_build_tools() -> None:
    text = DOCKERFILE.read_text()
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {
        source
        for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE)
        for source in line.split()[:-1]
    }
    assert copied == allowed
    assert all((ROOT / path).exists() for path in copied)
    last = text.rpartition("\nFROM ")[2]
    assert "\nUSER overseer\n" in last
    assert "pip uninstall" in last
    assert "--require-hashes" in text
    assert "/health/live" in last


def test_the_servers_unit() -> None:
    unit = dict(line.partition("=")[::2] for line in UNIT.read_text().splitlines() if "=" in line and not line.startswith("#"))
    assert int(unit["TimeoutStopSec"]) > supervisor.DRAIN_SECONDS
    assert unit["KillMode"] == "mixed"  # the supervisor ends its workers and the database itself
    assert unit["LoadCredential"].startswith("overseer-root-key:")
    assert (unit["User"], unit["CapabilityBoundingSet"]) == ("overseer", "")
    tool = shutil.which("systemd-analyze")
    if tool is None:  # no systemd here: the lines above are all that can be said
        return
    checked = subprocess.run([tool, "verify", str(UNIT)], capture_output=True, text=True, check=False, timeout=60)
    assert (checked.returncode, checked.stderr) == (0, "")
    command = [tool, "security", "--offline=true", "--threshold=15", str(UNIT)]
    scored = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert scored.returncode == 0, scored.stdout[-300:]

"""One server for the walks through the how-to pages of stores, set up as ``unseal-with-vault-transit.md`` says."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests import openbao_server, postgres_server
from tests.contract.backends.arrangements import moto_server
from tests.e2e.cli.conftest import Overseer, command, own_environment
from tests.e2e.stores.how_to import HowTo, Reader
from tests.openbao_server import OpenBao
from tests.ports import free_port

READY_SECONDS = 60.0
CANARY = "canary-77c0"


@dataclass
class Walk:
    """A reader with an Overseer of their own, and the stores. ``wrapping`` is the seal's OpenBao, ``bao`` that of secrets."""

    place: Path
    overseer: Overseer
    wrapping: OpenBao
    bao: OpenBao
    moto: str
    behind: dict[str, HowTo]
    unsealing: HowTo
    seal: str
    server: subprocess.Popen[bytes] | None = None

    def reader(self, bao: OpenBao) -> Reader:
        """Whose ``vault`` command asks that server, as root."""
        vault = {"VAULT_ADDR": bao.url, "VAULT_TOKEN": bao.root_token, "VAULT_CACERT": str(bao.ca_file)}
        return Reader(self.place, {**self.overseer.environment, **vault, "OVERSEER_SEAL": self.seal})

    def start(self) -> None:
        """The server with the present setting, ready."""
        environment = {**self.overseer.environment, "OVERSEER_SEAL": self.seal}
        with (self.place / "server.log").open("ab") as log:
            self.server = subprocess.Popen(
                command("server", "run"), env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + READY_SECONDS
        while not self._ready():
            assert self.server.poll() is None, (self.place / "server.log").read_text()[-600:]
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def _ready(self) -> bool:
        try:
            return httpx.get(f"{self.overseer.url}/health/ready", timeout=30).status_code == 200
        except httpx.TransportError:
            return False

    def stop(self) -> None:
        """End the server."""
        if self.server is not None:
            server, self.server = self.server, None
            server.send_signal(signal.SIGTERM)
            assert server.wait(60) == 0

    def value(self, name: str, *scope: str) -> str:
        """Of a secret."""
        return self.overseer("secret", "get", name, *scope).stdout.decode()


def _programs(place: Path) -> None:
    """``overseer`` of this source, ``vault`` (OpenBao's own command), and what stands for ``infisical export``."""
    place.mkdir()
    (place / "overseer").write_text(f'#!/bin/sh\nexec {sys.executable} -m overseer.cli.main "$@"\n')
    (place / "infisical").write_text(f"#!/bin/sh\necho '{json.dumps([{'key': 'DB_PASSWORD', 'value': CANARY}])}'\n")
    for name in ("overseer", "infisical"):
        (place / name).chmod(0o700)
    (place / "vault").symlink_to(openbao_server.binary())


def _environment(place: Path, moto: str, database: str) -> dict[str, str]:
    kept = {
        name: text
        for name, text in own_environment(place, free_port()).items()
        if not name.startswith(("VAULT_", "BAO_", "AWS_")) and not name.lower().endswith("_proxy")
    }
    aws = {"AWS_ACCESS_KEY_ID": "anyone", "AWS_SECRET_ACCESS_KEY": "not-a-secret", "AWS_EC2_METADATA_DISABLED": "true"}
    path = f"{place / 'bin'}{os.pathsep}{os.environ['PATH']}"
    server = {"OVERSEER_DATABASE_URL": database, "OVERSEER_WORKERS": "1"}
    return {**kept, **aws, **server, "AWS_ENDPOINT_URL_KMS": moto, "HOME": str(place), "PATH": path}


def _set_up(walk: Walk) -> None:
    """``unseal-with-vault-transit.md`` down to ``overseer server run``, with the AppRole."""
    page, reader = walk.unsealing, walk.reader(walk.wrapping)
    page.run(reader, "vault secrets enable transit")
    printed = page.run(reader, "vault auth enable approle")
    [role_id] = re.findall(r"^[0-9a-f-]{36}", printed, re.MULTILINE)
    page.puts("ROLE_ID", role_id)
    [walk.seal] = re.findall(r"'(vault-transit:[^']*role_id=[^']*)'", page.block("overseer server init"))
    page.run(reader, "overseer server init")
    settings = (page.block(name) for page, name in zip(walk.behind.values(), ("backend-address",) * 3, strict=True))
    (walk.overseer.data_dir / "overseer.toml").write_text("\n".join(settings))


@pytest.fixture(scope="module")
def walk(postgres_home: Path) -> Iterator[Walk]:
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ovs-stores-")))
        for name in ("wrapping", "bao", "run"):
            (place / name).mkdir()
        _programs(place / "bin")
        wrapping, bao = (stack.enter_context(openbao_server.openbao_server(place / name)) for name in ("wrapping", "bao"))
        moto = stack.enter_context(moto_server())
        transit = {
            "https://vault.example.com:8200?key=overseer": f"{wrapping.url}?key=overseer&ca_file={wrapping.ca_file}",
            "/run/overseer": str(place / "run"),
            "overseer server run": ":",  # it stays in the foreground: the test starts it
        }
        behind = {
            "vault": {"https://vault.internal.example:8200": bao.url, "vault.internal.example": "127.0.0.1"},
            "aws-secrets-manager": {
                "secretsmanager.eu-central-1.amazonaws.com": "127.0.0.1",
                "--set region=eu-central-1": f"--set region=eu-central-1 --set address={moto}",
                "AKIA…": "AKIDEXAMPLE",
            },
            "azure-key-vault": {'"shop.vault.azure.net"': '"127.0.0.1"'},
        }
        pages = {name: HowTo(f"use-{name}-behind-overseer.md", places) for name, places in behind.items()}
        unsealing = HowTo("unseal-with-vault-transit.md", transit)
        database = f"stores_{uuid.uuid4().hex[:12]}"
        postgres_server.execute(postgres_home, f"CREATE DATABASE {database} TEMPLATE template0")
        environment = _environment(place, moto, postgres_server.url(postgres_home, database))
        made = Walk(place, Overseer(environment), wrapping, bao, moto, pages, unsealing, "")
        _set_up(made)
        stack.callback(made.stop)
        made.start()
        made.overseer("login", "--token-file", str(made.overseer.data_dir / "owner-token"))
        made.overseer("app", "create", "shop")
        made.overseer("service-account", "create", "ci")
        yield made

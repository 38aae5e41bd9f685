"""The how-to pages of external stores, walked: their own commands, a real server, a real OpenBao, the nearest to the others.

One server for all of them: it is set up as ``unseal-with-vault-transit.md`` says, and moves to AWS KMS and back at the end.
"""

from __future__ import annotations

import json
import os
import re
import shutil
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
from typing import Any

import boto3
import httpx
import pytest

from tests import openbao_server, postgres_server
from tests.contract.backends.arrangements import moto_server
from tests.doubles import azure_server, infisical_server
from tests.doubles.azure_server import AzureServer
from tests.doubles.infisical_server import InfisicalServer
from tests.e2e.cli.conftest import Overseer, command, free_port, own_environment
from tests.e2e.stores.how_to import HowTo, Reader
from tests.openbao_server import OpenBao
from tests.unit.server.certificate import self_signed

pytestmark = pytest.mark.postgres
READY_SECONDS = 60.0
REGION = "eu-central-1"
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
            assert self.server.poll() is None, (self.place / "server.log").read_text()
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
            self.server.send_signal(signal.SIGTERM)
            assert self.server.wait(60) == 0
            self.server = None

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
                "--set region=eu-central-1": f"--set region={REGION} --set address={moto}",
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


def test_vault_behind_overseer(walk: Walk) -> None:
    page, reader = walk.behind["vault"], walk.reader(walk.bao)
    walk.bao.kv("secret")
    walk.bao.put("secret", "apps/shop/db", password="from the vault")
    shutil.copy(str(walk.bao.ca_file), walk.place / "vault-ca.pem")
    printed = page.run(reader, "vault auth enable approle")
    [role_id] = re.findall(r"^[0-9a-f-]{36}$", printed, re.MULTILINE)
    page.puts("2f3c…", role_id)
    assert (walk.place / "secret-id.txt").stat().st_mode & 0o777 == 0o600
    page.run(reader, "overseer backend create corp")
    page.run(reader, "overseer role create")
    page.run(reader, "overseer backend list-refs")
    assert walk.value("db-password", "--app", "shop") == "from the vault"
    page.inline(reader, "overseer secret untie db-password --app shop")
    assert page.left() == []
    assert walk.value("db-password", "--app", "shop") == "from the vault"


def test_infisical_behind_overseer(walk: Walk) -> None:
    server = InfisicalServer()
    server.put("prod", "/shop", "DB_PASSWORD", "from infisical")
    (walk.place / "client.txt").write_text(server.client_secret)
    with infisical_server.served(server) as url:
        setting = {"project_id=65f0…": f"project_id={server.project} --set address={url}", "7c1e…": server.client_id}
        page = HowTo("use-infisical-behind-overseer.md", setting)
        page.run(walk.reader(walk.bao), "overseer backend create inf")
        page.inline(walk.reader(walk.bao), "overseer env create prod")
        page.run(walk.reader(walk.bao), "overseer secret set")
        assert page.left() == []
        assert walk.value("db-password", "--app", "shop", "--env", "prod") == "from infisical"


def _aws(walk: Walk, service: str) -> Any:
    return boto3.client(
        service, region_name=REGION, endpoint_url=walk.moto, aws_access_key_id="a", aws_secret_access_key="not-a-secret"
    )


def test_aws_secrets_manager_behind_overseer(walk: Walk) -> None:
    client = _aws(walk, "secretsmanager")
    client.create_secret(Name="shop/db", SecretString=json.dumps({"password": "from aws"}))
    client.close()
    (walk.place / "key.txt").write_text("wJalrXUtnFEMI")
    page, reader = walk.behind["aws-secrets-manager"], walk.reader(walk.bao)
    walk.overseer("secret", "delete", "db-password", "--app", "shop", "--yes")
    page.run(reader, "overseer backend create aws")
    assert page.left() == []
    assert walk.value("db-password", "--app", "shop") == "from aws"


def test_azure_key_vault_behind_overseer(walk: Walk) -> None:
    server, folder = AzureServer(), walk.place / "azure"
    server.put("shop-db", "from azure")
    folder.mkdir()
    (walk.place / "client.txt").write_text(server.client_secret)
    certificate = self_signed(folder)
    page, reader = walk.behind["azure-key-vault"], walk.reader(walk.bao)
    walk.overseer("secret", "delete", "db-password", "--app", "shop", "--yes")
    with azure_server.served(server, certificate) as url:
        page.puts("address=https://shop.vault.azure.net", f"address={url} --set authority={url} --set ca_pem=@{certificate[0]}")
        page.puts("11aa…", server.tenant)
        page.puts("22bb…", server.client_id)
        page.run(reader, "overseer backend create az")
        assert page.left() == []
        assert walk.value("db-password", "--app", "shop") == "from azure"


def test_move_from_vault(walk: Walk) -> None:
    walk.overseer("app", "create", "moved")
    walk.bao.put("secret", "shop/db", password=CANARY, user="shop")
    (walk.place / ".vault-token").write_text(walk.bao.root_token)
    page = HowTo("move-from-vault.md", {"https://vault.example:8200": walk.bao.url, "--app shop": "--app moved"})
    reader = walk.reader(walk.bao)
    said = page.run(reader, "--from-vault")
    assert "dry run" in said
    assert CANARY not in said
    assert (walk.value("db-password", "--app", "moved"), walk.value("db-user", "--app", "moved")) == (CANARY, "shop")
    assert "nothing to do" in page.run(reader, "vault kv get")
    walk.bao.put("secret", "shop/db", password=f"{CANARY}2")
    assert "exists with another value" in _refused(reader, page.block("vault kv get"))


def _refused(reader: Reader, script: str) -> str:
    with pytest.raises(AssertionError) as caught:
        reader.does(script)
    return str(caught.value)


def test_move_from_infisical(walk: Walk) -> None:
    walk.overseer("app", "create", "left")
    page = HowTo("move-from-infisical.md", {"--app shop": "--app left"})
    said = page.run(walk.reader(walk.bao), "infisical export")  # `prod` is made in the test before
    assert "dry run" in said
    assert CANARY not in said
    assert walk.value("db-password", "--app", "left", "--env", "prod") == CANARY


def test_a_rotated_transit_key_and_the_way_to_kms_and_back(walk: Walk) -> None:
    """Each step opens the present seal anew: by the AppRole, by a token, by KMS."""
    page, reader = walk.unsealing, walk.reader(walk.wrapping)
    [by_token] = re.findall(r"'(vault-transit:[^']*token_file=[^']*)'", page.block("overseer server init"))
    assert "vault-transit" in page.run(reader, "vault write -f transit/keys/overseer/rotate")
    assert page.left() == []
    assert walk.wrapping.call("GET", "transit/keys/overseer")["data"]["min_decryption_version"] == 2
    client = _aws(walk, "kms")
    client.create_alias(AliasName="alias/overseer", TargetKeyId=client.create_key()["KeyMetadata"]["Arn"])
    client.close()
    kms = HowTo("unseal-with-aws-kms.md", {"overseer server run": 'echo "$OVERSEER_SEAL"'})
    [to_kms] = re.findall(r"'(awskms:[^']*)'", kms.block("overseer server init"))
    moved = walk.overseer("seal", "migrate", "--yes", "--to", to_kms, OVERSEER_SEAL=by_token)
    assert f"OVERSEER_SEAL={to_kms}".encode() in moved.stdout
    walk.stop()
    walk.wrapping.stop()  # it has no say any more
    walk.seal = to_kms
    walk.start()
    assert json.loads(walk.overseer("seal", "status", "--json").stdout)["kind"] == "awskms"
    assert walk.value("db-password", "--app", "moved") == CANARY
    walk.stop()
    walk.wrapping.start()
    reader = walk.reader(walk.wrapping)
    page.run(reader, "vault secrets enable transit")
    (walk.place / "run" / "vault-token").write_text(walk.wrapping.token("overseer-seal"))
    walk.overseer("seal", "migrate", "--yes", "--to", by_token, OVERSEER_SEAL=to_kms)
    refused = walk.overseer("seal", "migrate", "--yes", "--to", by_token, OVERSEER_SEAL=to_kms, code=None)
    assert refused.returncode != 0, "the seal before no longer opens"
    assert CANARY not in (walk.place / "server.log").read_text()


def test_a_new_instance_with_kms(walk: Walk, database_url: str) -> None:
    kms = HowTo("unseal-with-aws-kms.md", {"overseer server run": 'echo "$OVERSEER_SEAL"'})
    new = {"OVERSEER_DATA_DIR": str(walk.place / "second"), "OVERSEER_DATABASE_URL": database_url}
    said = kms.run(walk.reader(walk.bao), "overseer server init", **new)
    assert "awskms:alias/overseer" in said
    assert kms.left() == []

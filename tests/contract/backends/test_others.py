"""What belongs to one kind alone: Infisical's imports and versions, AWS' stages, bytes and batches, Azure's links, identities."""

from __future__ import annotations

import functools
import json
import threading
from pathlib import Path
from typing import Any

import boto3
import pytest

from overseer.core.backend_references import BackendReference
from overseer.core.secret_value import SecretValue
from overseer.server.backend_settings import AddressRules
from overseer.server.backends import azure_key_vault
from overseer.server.backends.aws_secrets_manager import AwsSecretsManager
from overseer.server.backends.contract import BackendFailure, Stage
from overseer.server.backends.registry import KINDS, check_settings
from overseer.server.backends.service import Setup
from tests.contract.backends import arrangements
from tests.contract.backends.arrangements import RULES
from tests.contract.backends.test_every_backend import fetched, something_else
from tests.doubles import azure_server, infisical_server
from tests.doubles.azure_server import AzureServer
from tests.doubles.infisical_server import InfisicalServer
from tests.unit.server.certificate import self_signed

pytestmark = pytest.mark.anyio


async def test_infisical_imports_versions_and_one_request_a_folder() -> None:
    server = InfisicalServer()
    server.put("prod", "/", "TOP", '"top"')
    server.put("prod", "/shop", "OWN", '"first"')
    server.put("prod", "/shop", "OWN", '"own"')
    server.put("prod", "/base", "OWN", '"not this"')
    server.put("prod", "/base", "SHARED", '"base"')
    server.put("dev", "/late", "SHARED", '"late"')
    server.imports["prod", "/shop"] = [("prod", "/base"), ("dev", "/late")]
    with infisical_server.served(server) as url:
        settings = {"address": url, "project_id": server.project, "client_id": server.client_id}
        kind = KINDS["infisical"]
        backend = kind.open(Setup("it", check_settings(kind, settings), {"client_secret": server.client_secret}, RULES))
        assert await fetched(backend, "prod/shop/OWN", "prod/shop/SHARED") == ["own", "late"]
        assert len(server.requests) == 2
        assert await fetched(backend, "prod/TOP", "prod/shop/OWN@1", "prod/shop/OWN@7", "prod", "prod/shop/OWN@x") == [
            "top",
            "first",
            Stage.PATH,
            Stage.PATH,
            Stage.PATH,
        ]
        assert list(await backend.list("prod")) == ["prod/base/", "prod/shop/", "prod/TOP"]


async def test_infisical_reads_folders_side_by_side() -> None:
    server, ready = InfisicalServer(), threading.Barrier(3)

    class Waiting(InfisicalServer):
        def answer(self, method: str, target: str, headers: dict[str, str], content: bytes) -> tuple[int, dict[str, Any]]:
            if "/secrets/raw" in target:
                ready.wait(3)  # breaks, and with it the answer, where the three do not come at once
            return server.answer(method, target, headers, content)

    for name in "abc":
        server.put("prod", f"/{name}", "KEY", f'"{name}"')
    with infisical_server.served(Waiting()) as url:
        settings = {"address": url, "project_id": server.project, "client_id": server.client_id}
        kind = KINDS["infisical"]
        backend = kind.open(Setup("it", check_settings(kind, settings), {"client_secret": server.client_secret}, RULES))
        assert await fetched(backend, "prod/a/KEY", "prod/b/KEY", "prod/c/KEY") == ["a", "b", "c"]


async def test_infisicals_mask_is_no_value() -> None:
    server = InfisicalServer()
    server.put("prod", "/shop", "OPEN", '""')
    server.put("prod", "/shop", "CLOSED", '"x"')
    server.hidden.add("CLOSED")
    with infisical_server.served(server) as url:
        settings = {"address": url, "project_id": server.project, "client_id": server.client_id}
        kind = KINDS["infisical"]
        backend = kind.open(Setup("it", check_settings(kind, settings), {"client_secret": server.client_secret}, RULES))
        refs = ("prod/shop/OPEN", "prod/shop/CLOSED", "prod/shop/CLOSED@1")
        assert await fetched(backend, *refs) == ["", Stage.PERMISSION, Stage.PERMISSION]
        assert list(await backend.list("prod/shop")) == ["prod/shop/CLOSED", "prod/shop/OPEN"]


async def test_aws_stages_bytes_and_batches(moto: str) -> None:
    with arrangements.aws(moto) as arranged:
        client = boto3.client(
            "secretsmanager",
            region_name="eu-central-1",
            endpoint_url=arranged.settings["address"],
            aws_access_key_id="a",
            aws_secret_access_key="b",
        )
        client.create_secret(Name="raw", SecretBinary=b"\x00\xff")
        for number in range(23):
            client.create_secret(Name=f"many/{number}", SecretString=str(number))
        client.create_secret(Name="db", SecretString='"old"')
        put = functools.partial(client.put_secret_value, SecretId="db")
        new = put(SecretString='"new"')["VersionId"]
        capitals = "A" * 32
        put(SecretString='"blue"', ClientRequestToken=capitals, VersionStages=["blue"])
        client.close()
        backend = arranged.open()
        refs = [f"many/{number}" for number in range(23)]
        assert await fetched(backend, *refs) == list(range(23))
        assert await fetched(backend, "db", "db@AWSPREVIOUS", f"db@{new}") == ["new", "old", "new"]
        assert await fetched(backend, "db@blue", f"db@{capitals}", "db@green") == ["blue", "blue", Stage.PATH]
        raw = BackendReference.parse("raw")
        found = (await backend.fetch_many([raw]))[raw]
        assert isinstance(found, SecretValue)
        assert found.reveal() == b"\x00\xff"


@pytest.mark.parametrize(
    ("code", "stage"),
    [
        ("AccessDeniedException", Stage.PERMISSION),
        ("ResourceNotFoundException", Stage.PATH),
        ("ExpiredTokenException", Stage.AUTH),
        ("com.amazonaws#InvalidSignatureException", Stage.AUTH),
        ("ThrottlingException", Stage.UNAVAILABLE),
        ("DecryptionFailure", Stage.PERMISSION),
        ("SomethingNew", Stage.ANSWER),
    ],
)
async def test_aws_answers(code: str, stage: Stage) -> None:
    with something_else(400, json.dumps({"__type": code, "message": "arn:aws:secret-of-somebody"}).encode()) as url:
        settings = check_settings(KINDS["aws-secrets-manager"], {"region": "x", "address": url, "access_key_id": "a"})
        backend = AwsSecretsManager(Setup("it", settings, {"secret_access_key": "b"}, RULES))
        assert await fetched(backend, "one") == [stage]
        with pytest.raises(BackendFailure) as caught:
            await backend.check()
        assert "somebody" not in caught.value.why


async def test_the_servers_own_identity_is_lent_by_the_operator_alone(monkeypatch: pytest.MonkeyPatch, moto: str) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDOFTHESERVER")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-of-the-server")
    with arrangements.aws(moto) as arranged:
        arranged.put("db", "v")
        settings = check_settings(KINDS["aws-secrets-manager"], {**arranged.settings, "access_key_id": ""})
        lent = AddressRules(lambda _: True, lambda _: True, lambda host: host == "127.0.0.1")
        assert await fetched(AwsSecretsManager(Setup("it", settings, {}, RULES)), "db") == [Stage.AUTH]
        assert await fetched(AwsSecretsManager(Setup("it", settings, {}, lent)), "db") == [{"value": "v"}]
    kind = KINDS["azure-key-vault"]
    settings = check_settings(kind, {"address": "https://x.vault.azure.net", "auth": "managed-identity"})
    assert await fetched(kind.open(Setup("it", settings, {}, RULES)), "db") == [Stage.AUTH]


async def test_the_managed_identity_of_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's metadata service is asked alone where the operator lends it, and its token opens the vault."""
    server, certificate = AzureServer(), self_signed(tmp_path)
    server.put("db", '"value"')
    with azure_server.served(server, certificate) as url, azure_server.served(server, None) as machine:
        monkeypatch.setattr(azure_key_vault, "METADATA", machine)
        kind = KINDS["azure-key-vault"]
        given = {"address": url, "auth": "managed-identity", "client_id": server.client_id, "ca_pem": certificate[0].read_text()}
        lent = AddressRules(lambda host: host == "127.0.0.1", lambda _: True, lambda host: host == "127.0.0.1")
        backend = kind.open(Setup("it", check_settings(kind, given), {}, lent))
        await backend.check()
        assert await fetched(backend, "db", "none") == ["value", Stage.PATH]
        assert [one["client_id"] for one in server.machine_asked] == [server.client_id]
        server.tokens.clear()
        assert await fetched(backend, "db") == ["value"]
        unlent = AddressRules(lent.host_allowed, lent.private_allowed)
        assert await fetched(kind.open(Setup("it", check_settings(kind, given), {}, unlent)), "db") == [Stage.AUTH]
        unknown = check_settings(kind, {**given, "client_id": "another"})
        assert await fetched(kind.open(Setup("it", unknown, {}, lent)), "db") == [Stage.AUTH]
        assert len(server.machine_asked) == 3


async def test_azure_versions_and_a_list_that_goes_on_elsewhere(tmp_path: Path) -> None:
    server, certificate = AzureServer(), self_signed(tmp_path)
    first = server.put("db", '"old"')
    server.put("db", '"new"')
    with azure_server.served(server, certificate) as url:
        settings = {"address": url, "authority": url, "tenant_id": server.tenant, "client_id": server.client_id}
        kind = KINDS["azure-key-vault"]
        checked = check_settings(kind, {**settings, "ca_pem": certificate[0].read_text()})
        backend = kind.open(Setup("it", checked, {"client_secret": server.client_secret}, RULES))
        assert await fetched(backend, "db", f"db@{first}", "db@0", "a/b") == ["new", "old", Stage.PATH, Stage.PATH]
        server.next_link = "https://attacker.example/secrets?api-version=7.4"
        with pytest.raises(BackendFailure) as caught:
            await backend.list("")
        assert caught.value.stage is Stage.REDIRECT
        server.forbidden = True
        assert await fetched(backend, "db") == [Stage.PERMISSION]
        untrusted = check_settings(kind, settings)
        plain = kind.open(Setup("it", untrusted, {"client_secret": server.client_secret}, RULES))
        assert await fetched(plain, "db") == [Stage.TLS]

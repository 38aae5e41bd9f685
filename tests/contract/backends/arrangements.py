"""One arrangement for each kind of backend: a double (or an emulator) that runs, what to tell the adapter, the same handles."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from overseer.server.backend_settings import AddressRules
from overseer.server.backends.contract import Backend
from overseer.server.backends.registry import KINDS, check_credentials, check_settings
from overseer.server.backends.service import Setup
from tests.doubles import azure_server, infisical_server
from tests.doubles.azure_server import AzureServer
from tests.doubles.infisical_server import InfisicalServer
from tests.doubles.vault_system import double_vault
from tests.unit.server.certificate import self_signed
from tests.vault_administration import VaultAdministrator

RULES = AddressRules(lambda _: True, lambda _: True, lambda _: False)


@dataclass
class Arranged:
    """``put`` writes ``{"value": text}`` or the text itself, as the kind keeps it; ``refs`` are two places in one folder.

    ``forget`` makes the service forget every session that it gave; it is None where there is none.
    """

    kind: str
    settings: dict[str, str]
    credentials: dict[str, str]
    put: Callable[[str, str], None]
    refs: tuple[str, str]
    folder: str
    absent: str
    bad: dict[str, str]
    forbid: Callable[[], str] | None = None
    forget: Callable[[], None] | None = None
    requests: Callable[[], int] = lambda: 0

    def open(self, *, seconds: float = 60.0, **credentials: str) -> Backend:
        """The adapter, as the server opens it."""
        kind = KINDS[self.kind]
        given = {**self.credentials, **credentials}
        setup = Setup("it", check_settings(kind, self.settings), check_credentials(kind, given), RULES, seconds)
        return kind.open(setup)


@contextmanager
def vault(server: VaultAdministrator, version: int) -> Iterator[Arranged]:
    """A KV engine in a namespace, and an AppRole that reads it: the same on the double and on a real server."""
    server.enter("team")
    server.kv("kv", version)
    role_id, secret_id = server.approle("overseer", "reader")
    for path in ("data/", "metadata/") if version == 2 else ("",):
        server.allow("reader", f"kv/{path}*", "read", "list")

    def put(ref: str, text: str) -> None:
        server.put("kv", ref, value=text)

    def forbid() -> str:
        path = "data/apps/shop/closed" if version == 2 else "apps/shop/closed"
        put("apps/shop/closed", "x")
        server.allow("reader", f"kv/{path}", "list")
        return "apps/shop/closed"

    settings = {"address": server.url, "mount": "kv", "auth": "approle", "role_id": role_id, "namespace": server.namespace}
    requests = 0

    def asked() -> int:
        nonlocal requests
        requests += len(server.asked())
        return requests

    yield Arranged(
        "vault",
        {**settings, "ca_pem": server.ca_pem},
        {"secret_id": secret_id},
        put,
        ("apps/shop/db", "apps/shop/smtp"),
        "apps/shop",
        "apps/shop/none",
        {"secret_id": "00000000-0000-0000-0000-000000000000"},
        forbid,
        server.forget,
        asked,
    )


@contextmanager
def infisical() -> Iterator[Arranged]:
    server = InfisicalServer()

    def put(ref: str, text: str) -> None:
        environment, *folder, key = ref.split("/")
        server.put(environment, "/" + "/".join(folder), key, json.dumps({"value": text}))

    def forbid() -> str:
        put("prod/closed/db", "x")
        server.refused.add(("prod", "/closed"))
        return "prod/closed/db"

    with infisical_server.served(server) as url:
        yield Arranged(
            "infisical",
            {"address": url, "project_id": server.project, "client_id": server.client_id},
            {"client_secret": server.client_secret},
            put,
            ("prod/shop/DB", "prod/shop/SMTP"),
            "prod/shop",
            "prod/shop/NONE",
            {"client_secret": "wrong"},
            forbid,
            server.tokens.clear,
            lambda: len(server.requests),
        )


@contextmanager
def moto_server() -> Iterator[str]:
    """moto, over HTTP; its address. To stop it takes half a second, so that tests share one."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@contextmanager
def aws(url: str) -> Iterator[Arranged]:
    """An account at moto, which checks no signature: what is wrong with credentials is tested by itself."""
    client = boto3.client(
        "secretsmanager", region_name="eu-central-1", endpoint_url=url, aws_access_key_id="a", aws_secret_access_key="b"
    )

    def put(ref: str, text: str) -> None:
        try:
            client.create_secret(Name=ref, SecretString=json.dumps({"value": text}))
        except client.exceptions.ResourceExistsException:
            client.put_secret_value(SecretId=ref, SecretString=json.dumps({"value": text}))

    try:
        yield Arranged(
            "aws-secrets-manager",
            {"region": "eu-central-1", "address": url, "access_key_id": "AKIDEXAMPLE"},
            {"secret_access_key": "wJalrXUtnFEMI"},
            put,
            ("shop/db", "shop/smtp"),
            "shop/",
            "shop/none",
            {"secret_access_key": ""},
        )
    finally:
        for one in client.list_secrets()["SecretList"]:
            client.delete_secret(SecretId=one["Name"], ForceDeleteWithoutRecovery=True)
        client.close()


@contextmanager
def azure(folder: Path) -> Iterator[Arranged]:
    server, certificate = AzureServer(), self_signed(folder)

    def put(ref: str, text: str) -> None:
        server.put(ref, json.dumps({"value": text}))

    def forbid() -> str:
        put("shop-closed", "x")
        server.disabled.add("shop-closed")
        return "shop-closed"

    with azure_server.served(server, certificate) as url:
        yield Arranged(
            "azure-key-vault",
            {
                "address": url,
                "authority": url,
                "tenant_id": server.tenant,
                "client_id": server.client_id,
                "ca_pem": certificate[0].read_text(),
            },
            {"client_secret": server.client_secret},
            put,
            ("shop-db", "shop-smtp"),
            "shop-",
            "shop-none",
            {"client_secret": "wrong"},
            forbid,
            server.tokens.clear,
            lambda: len(server.requests),
        )


def arranged_for(request: pytest.FixtureRequest, folder: Path, stack: ExitStack) -> Arranged:
    """The arrangement that the fixture's parameter names; ``moto`` (an address) and ``openbao`` are fixtures of its module."""
    made: dict[str, Callable[[], AbstractContextManager[Arranged]]] = {
        "infisical": infisical,
        "aws": lambda: aws(request.getfixturevalue("moto")),
        "azure": lambda: azure(folder),
    }
    if request.param in made:
        return stack.enter_context(made[request.param]())
    real = request.param.startswith("openbao")
    server = request.getfixturevalue("openbao") if real else stack.enter_context(double_vault())
    return stack.enter_context(vault(server, int(request.param[-1])))

"""What is Vault's alone: versions that are gone, the four ways to sign in, leases, namespaces, the version of the engine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from overseer.core.backend_references import BackendReference
from overseer.core.secret_value import SecretValue
from overseer.server.backends.contract import BackendFailure, Stage
from overseer.server.backends.registry import KINDS, check_settings
from overseer.server.backends.service import Setup
from overseer.server.backends.vault import Vault
from tests.contract.backends.arrangements import RULES
from tests.doubles.vault_kv import Cert, Jwt, Kv2
from tests.doubles.vault_server import VaultServer, served
from tests.unit.server.certificate import self_signed

pytestmark = pytest.mark.anyio


@pytest.fixture
def server() -> VaultServer:
    made, engine = VaultServer(), Kv2()
    made.mounts["secret"] = engine
    engine.put("db", password="one", port=1.10)
    made.allow("reader", "secret/data/*", "read")
    return made


def opened(url: str, credentials: dict[str, str], clock: Any = None, **settings: str) -> Vault:
    chosen = check_settings(KINDS["vault"], {"address": url, **settings})
    setup = Setup("it", chosen, credentials, RULES)
    return Vault(setup) if clock is None else Vault(setup, clock)


async def read(backend: Vault, ref: str = "db") -> bytes | BackendFailure:
    reference = BackendReference.parse(ref)
    found = (await backend.fetch_many([reference]))[reference]
    return found.reveal() if isinstance(found, SecretValue) else found


async def stage(backend: Vault, ref: str = "db") -> Stage:
    try:
        found = await read(backend, ref)
    except BackendFailure as failure:
        return failure.stage
    assert isinstance(found, BackendFailure)
    return found.stage


async def test_versions_pinned_deleted_and_destroyed(server: VaultServer) -> None:
    engine = server.mounts["secret"]
    assert isinstance(engine, Kv2)
    with served(server) as url:
        backend = opened(url, {"token": server.token("reader")}, auth="token")
        assert await read(backend) == b'{"password": "one", "port": 1.1}'
        engine.put("db", password="two")
        assert (await read(backend), await read(backend, "db@1")) == (b'{"password": "two"}', b'{"password": "one", "port": 1.1}')
        engine.versions["db"][1].deleted = "2026-01-01T00:00:00Z"
        deleted = await read(backend)
        assert isinstance(deleted, BackendFailure)
        assert (deleted.stage, "was deleted" in deleted.why) == (Stage.PATH, True)
        engine.versions["db"][1].destroyed = True
        destroyed = await read(backend, "db@2")
        assert isinstance(destroyed, BackendFailure)
        assert "was destroyed" in destroyed.why
        assert [await stage(backend, ref) for ref in ("db@9", "db@x", "none")] == [Stage.PATH] * 3


async def test_jwt(server: VaultServer) -> None:
    server.auth["jwt"] = Jwt({"overseer": ("reader",)}, {"signed": "overseer"})
    with served(server) as url:
        backend = opened(url, {"jwt": "signed"}, auth="jwt", role="overseer")
        assert await read(backend) == b'{"password": "one", "port": 1.1}'
        assert await stage(opened(url, {"jwt": "forged"}, auth="jwt", role="overseer")) is Stage.AUTH
        assert await stage(opened(url, {}, auth="jwt", role="overseer")) is Stage.AUTH


async def test_a_client_certificate(server: VaultServer, tmp_path: Path) -> None:
    for name in ("server", "client", "other"):
        (tmp_path / name).mkdir()
    certificate, client, other = (self_signed(tmp_path / name) for name in ("server", "client", "other"))
    server.auth["cert"] = Cert(("reader",))
    pem = client[0].read_text() + client[1].read_text()
    wrong = other[0].read_text() + other[1].read_text()
    with served(server, certificate, client[0]) as url:
        ca = certificate[0].read_text()
        assert await read(opened(url, {"client_pem": pem}, auth="cert", ca_pem=ca)) == b'{"password": "one", "port": 1.1}'
        assert await stage(opened(url, {"client_pem": pem}, auth="cert", ca_pem=ca, role="another")) is Stage.AUTH
        assert await stage(opened(url, {"client_pem": wrong}, auth="cert", ca_pem=ca)) in (Stage.TLS, Stage.CONNECT)
        assert await stage(opened(url, {"client_pem": pem}, auth="cert", ca_pem=other[0].read_text())) is Stage.TLS
        assert await stage(opened(url, {"client_pem": "no pem"}, auth="cert", ca_pem=ca)) is Stage.TLS


async def test_a_lease_is_renewed_at_two_thirds_and_a_dead_token_is_got_anew(server: VaultServer) -> None:
    server.auth["jwt"] = Jwt({"overseer": ("reader",)}, {"signed": "overseer"})
    server.lease = 300
    clock = [0.0]

    def later(seconds: float) -> list[str]:
        clock[0] += seconds
        server.later += seconds
        server.requests.clear()
        return []

    def asked() -> list[str]:
        return [path.removeprefix("/v1/") for _, path, _ in server.requests]

    with served(server) as url:
        backend = opened(url, {"jwt": "signed"}, lambda: clock[0], auth="jwt", role="overseer")
        await read(backend)
        assert asked()[0] == "auth/jwt/login"
        later(199)
        await read(backend)
        assert asked() == ["secret/data/db"]
        later(10)
        await read(backend)
        assert asked() == ["auth/token/renew-self", "secret/data/db"]
        later(301)
        await read(backend)
        assert asked() == ["auth/jwt/login", "secret/data/db"], "a lease that is over cannot be renewed"


async def test_a_refusal_by_policy_signs_nobody_in_again(server: VaultServer) -> None:
    server.auth["jwt"] = Jwt({"overseer": ("reader",)}, {"signed": "overseer"})
    server.allow("reader", "secret/data/closed", "list")
    with served(server) as url:
        backend = opened(url, {"jwt": "signed"}, auth="jwt", role="overseer")
        assert await stage(backend, "closed") is Stage.PERMISSION
        assert sum(path.endswith("/login") for _, path, _ in server.requests) == 1


async def test_without_a_look_at_the_mount_version_2_is_assumed_and_the_setting_decides(server: VaultServer) -> None:
    server.hide_mounts = True
    with served(server) as url:
        assert await read(opened(url, {"token": server.token("reader")}, auth="token")) == b'{"password": "one", "port": 1.1}'
        as_v1 = opened(url, {"token": server.root_token}, auth="token", kv_version="1")
        assert await stage(as_v1) is Stage.PATH, "KV 2 answers 404 with a warning to such a path"


async def test_namespace_header_request_header_and_seal(server: VaultServer) -> None:
    with _listening(server) as (url, headers):
        backend = opened(url, {"token": server.root_token}, auth="token", namespace="team/a")
        await stage(backend)
        assert {one.get("x-vault-request") for one in headers} == {"true"}
        assert {one.get("x-vault-namespace") for one in headers} == {"team/a"}
        server.sealed = True
        assert await stage(opened(url, {"token": server.root_token}, auth="token")) is Stage.UNAVAILABLE


@contextmanager
def _listening(server: VaultServer) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """The server, and the headers of what it is asked."""
    seen: list[dict[str, str]] = []
    answer = server.answer

    def noting(method: str, target: str, headers: dict[str, str], content: bytes) -> tuple[int, bytes]:
        seen.append(headers)
        return answer(method, target, headers, content)

    server.answer = noting  # type: ignore[method-assign]
    with served(server) as url:
        yield url, seen

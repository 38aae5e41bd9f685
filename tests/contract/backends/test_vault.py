"""What is Vault's alone: versions that are gone, the four ways to sign in, leases, namespaces, mounts, seals.

Each holds for the double and for a real OpenBao; where only one of them can be brought into a state, the test says which.
"""

from __future__ import annotations

import time
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
from tests.doubles.vault_kv import Cert, Kv2
from tests.doubles.vault_server import VaultServer, served
from tests.doubles.vault_system import DoubleVault
from tests.openbao_server import OpenBao
from tests.unit.server.certificate import self_signed
from tests.vault_administration import READY_SECONDS, VaultAdministrator

pytestmark = pytest.mark.anyio

ONE = b'{"password":"one","port":1.1}'


@pytest.fixture
def server(any_vault: VaultAdministrator) -> VaultAdministrator:
    any_vault.kv("secret")
    any_vault.put("secret", "db", password="one", port=1.10)
    any_vault.allow("reader", "secret/data/*", "read")
    return any_vault


def opened(
    server: VaultAdministrator, credentials: dict[str, str], clock: Any = None, seconds: float = 60.0, **settings: str
) -> Vault:
    given = {"address": server.url, "ca_pem": server.ca_pem, "namespace": server.namespace, **settings}
    setup = Setup("it", check_settings(KINDS["vault"], given), credentials, RULES, seconds)
    return Vault(setup) if clock is None else Vault(setup, clock)


async def read(backend: Vault, ref: str = "db") -> bytes | BackendFailure:
    """The value without the white space of its JSON, which the double writes."""
    reference = BackendReference.parse(ref)
    found = (await backend.fetch_many([reference]))[reference]
    return found.reveal().replace(b": ", b":").replace(b", ", b",") if isinstance(found, SecretValue) else found


async def stage(backend: Vault, ref: str = "db") -> Stage:
    try:
        found = await read(backend, ref)
    except BackendFailure as failure:
        return failure.stage
    assert isinstance(found, BackendFailure)
    return found.stage


async def told(backend: Vault) -> tuple[Stage, str]:
    """What ``backend test`` says."""
    with pytest.raises(BackendFailure) as caught:
        await backend.check()
    return caught.value.stage, caught.value.why


async def test_versions_pinned_deleted_and_destroyed(server: VaultAdministrator) -> None:
    backend = opened(server, {"token": server.token("reader")}, auth="token")
    assert await read(backend) == ONE
    server.put("secret", "db", password="two")
    assert (await read(backend), await read(backend, "db@1")) == (b'{"password":"two"}', ONE)
    server.mark("secret", "db", "delete", 2)
    deleted = await read(backend)
    assert isinstance(deleted, BackendFailure)
    assert (deleted.stage, "was deleted" in deleted.why) == (Stage.PATH, True)
    assert await read(backend, "db@1") == ONE
    server.mark("secret", "db", "undelete", 2)
    assert await read(backend) == b'{"password":"two"}'
    server.mark("secret", "db", "destroy", 2)
    destroyed = await read(backend, "db@2")
    assert isinstance(destroyed, BackendFailure)
    assert (destroyed.stage, "was destroyed" in destroyed.why) == (Stage.PATH, True)
    assert [await stage(backend, ref) for ref in ("db@9", "db@x", "none")] == [Stage.PATH] * 3


async def test_lists_need_their_capability(server: VaultAdministrator) -> None:
    server.put("secret", "apps/shop/db", password="two")
    backend = opened(server, {"token": server.token("reader")}, auth="token")
    with pytest.raises(BackendFailure) as caught:
        await backend.list("")
    assert caught.value.stage is Stage.PERMISSION
    server.allow("reader", "secret/metadata/*", "list")
    assert list(await backend.list("")) == ["apps/", "db"]
    assert list(await backend.list("apps/shop")) == ["apps/shop/db"]
    assert list(await backend.list("nothing")) == []


async def test_jwt(server: VaultAdministrator) -> None:
    signed = server.jwt_role("overseer", "reader")
    backend = opened(server, {"jwt": signed}, auth="jwt", role="overseer")
    await backend.check()
    assert await read(backend) == ONE
    for credentials, role in (({"jwt": f"{signed[:-8]}AAAAAAAA"}, "overseer"), ({}, "overseer"), ({"jwt": signed}, "none")):
        assert await stage(opened(server, credentials, auth="jwt", role=role)) is Stage.AUTH


async def test_an_approle_and_what_is_missing_for_it(server: VaultAdministrator) -> None:
    role_id, secret_id = server.approle("overseer", "reader")
    backend = opened(server, {"secret_id": secret_id}, auth="approle", role_id=role_id)
    await backend.check()
    assert await read(backend) == ONE
    stranger = "00000000-0000-0000-0000-000000000000"
    for credentials, role in (({"secret_id": stranger}, role_id), ({"secret_id": secret_id}, stranger), ({}, role_id)):
        assert await stage(opened(server, credentials, auth="approle", role_id=role)) is Stage.AUTH
    # A server says 500 to a login without a role id: what is wrong is known before it is asked.
    where, why = await told(opened(server, {"secret_id": secret_id}, auth="approle"))
    assert (where, "role_id" in why) == (Stage.AUTH, True)
    elsewhere = opened(server, {"secret_id": secret_id}, auth="approle", role_id=role_id, auth_mount="elsewhere")
    where, why = await told(elsewhere)
    assert (where, "auth_mount" in why) == (Stage.AUTH, True)


async def test_a_client_certificate_of_the_double(tmp_path: Path) -> None:
    """The double asks for a certificate of one CA, as a proxy before a server may."""
    for name in ("server", "client", "other"):
        (tmp_path / name).mkdir()
    certificate, client, other = (self_signed(tmp_path / name) for name in ("server", "client", "other"))
    state, engine = VaultServer(), Kv2()
    state.mounts["secret"] = engine
    engine.put("db", password="one", port=1.10)
    state.allow("reader", "secret/data/*", "read")
    state.auth["cert"] = Cert(("reader",))
    pem, wrong = (one[0].read_text() + one[1].read_text() for one in (client, other))
    with served(state, certificate, client[0]) as url:
        server = DoubleVault(state, url)
        server.ca_pem = certificate[0].read_text()
        assert await read(opened(server, {"client_pem": pem}, auth="cert")) == ONE
        assert await stage(opened(server, {"client_pem": pem}, auth="cert", role="another")) is Stage.AUTH
        assert await stage(opened(server, {"client_pem": wrong}, auth="cert")) in (Stage.TLS, Stage.CONNECT)
        server.ca_pem = other[0].read_text()
        assert await stage(opened(server, {"client_pem": pem}, auth="cert")) is Stage.TLS
        server.close()


async def test_a_client_certificate_and_the_ca_of_a_real_server(openbao: OpenBao, tmp_path: Path) -> None:
    for name in ("client", "other"):
        (tmp_path / name).mkdir()
    client, other = (self_signed(tmp_path / name) for name in ("client", "other"))
    openbao.kv("secret")
    openbao.put("secret", "db", password="one", port=1.10)
    openbao.allow("reader", "secret/data/*", "read")
    openbao.enable("cert")
    openbao.call("POST", "auth/cert/certs/shop", {"certificate": client[0].read_text(), "token_policies": ["reader"]})
    pem, wrong = (one[0].read_text() + one[1].read_text() for one in (client, other))
    backend = opened(openbao, {"client_pem": pem}, auth="cert")
    await backend.check()
    assert await read(backend) == ONE
    assert await read(opened(openbao, {"client_pem": pem}, auth="cert", role="shop")) == ONE
    assert await stage(opened(openbao, {"client_pem": pem}, auth="cert", role="another")) is Stage.AUTH
    assert await stage(opened(openbao, {"client_pem": wrong}, auth="cert")) is Stage.AUTH
    assert await stage(opened(openbao, {}, auth="cert")) is Stage.AUTH
    assert await stage(opened(openbao, {"client_pem": "no pem"}, auth="cert")) is Stage.TLS
    where, why = await told(opened(openbao, {"client_pem": pem}, auth="cert", ca_pem=other[0].read_text()))
    assert (where, "does not verify" in why) == (Stage.TLS, True)
    where, _ = await told(opened(openbao, {"client_pem": pem}, auth="cert", ca_pem=""))
    assert where is Stage.TLS, "a CA that the system does not know has to be given"


async def test_a_lease_is_renewed_at_two_thirds_and_a_dead_token_is_got_anew(server: VaultAdministrator) -> None:
    signed, clock = server.jwt_role("overseer", "reader", seconds=300), [0.0]

    def later(seconds: float) -> None:
        """By the adapter's clock, and by the double's; on the real server the lease goes on."""
        clock[0] += seconds
        if isinstance(server, DoubleVault):
            server.server.later += seconds
        asked(server)

    backend = opened(server, {"jwt": signed}, lambda: clock[0], auth="jwt", role="overseer")
    await read(backend)
    assert "auth/jwt/login" in asked(server)
    later(199)
    await read(backend)
    assert asked(server) == ["secret/data/db"]
    later(10)
    await read(backend)
    assert asked(server) == ["auth/token/renew-self", "secret/data/db"]
    later(199)
    await read(backend)
    assert asked(server) == ["secret/data/db"], "the lease begins again with its renewal"
    later(102)
    await read(backend)
    assert asked(server) == ["auth/jwt/login", "secret/data/db"], "a lease that is over cannot be renewed"


async def test_a_lease_that_the_server_ended_is_noticed(openbao: OpenBao) -> None:
    """The adapter's clock stands still: that the token is over it learns from the refusal alone."""
    openbao.kv("secret")
    openbao.put("secret", "db", password="one", port=1.10)
    openbao.allow("reader", "secret/data/*", "read")
    role_id, secret_id = openbao.approle("overseer", "reader", seconds=1)
    backend = opened(openbao, {"secret_id": secret_id}, lambda: 0.0, auth="approle", role_id=role_id)
    logins, deadline = 0, time.monotonic() + READY_SECONDS
    while logins < 2:
        assert await read(backend) == ONE
        logins += asked(openbao).count("auth/approle/login")
        assert time.monotonic() < deadline


async def test_a_given_token_that_ended_cannot_be_got_anew(server: VaultAdministrator) -> None:
    backend = opened(server, {"token": server.token("reader")}, auth="token")
    assert await read(backend) == ONE
    server.forget()
    where, _ = await told(opened(server, {"token": server.token("reader") + "x"}, auth="token"))
    assert where is Stage.AUTH
    assert await stage(backend) in (Stage.AUTH, Stage.PERMISSION)
    assert (await told(backend))[0] in (Stage.AUTH, Stage.PERMISSION)


async def test_a_refusal_by_policy_signs_nobody_in_again(server: VaultAdministrator) -> None:
    signed = server.jwt_role("overseer", "reader")
    server.allow("reader", "secret/data/closed", "list")
    backend = opened(server, {"jwt": signed}, auth="jwt", role="overseer")
    asked(server)
    assert await stage(backend, "closed") is Stage.PERMISSION
    assert asked(server).count("auth/jwt/login") == 1


async def test_the_version_of_the_engine_is_found_or_set(server: VaultAdministrator) -> None:
    token = server.token("reader", "old")
    server.kv("old", 1)
    server.put("old", "db", password="one", port=1.10)
    server.allow("old", "old/*", "read")
    assert await read(opened(server, {"token": token}, auth="token", mount="old")) == ONE
    assert await stage(opened(server, {"token": token}, auth="token", mount="old"), "db@1") is Stage.PATH
    assert await read(opened(server, {"token": token}, auth="token", mount="old", kv_version="1")) == ONE
    as_v1 = opened(server, {"token": server.root_token}, auth="token", kv_version="1")
    assert await stage(as_v1) is Stage.PATH, "KV 2 answers 404 with a warning to such a path"
    where, why = await told(as_v1)
    assert (where, "kv_version" in why) == (Stage.PATH, True)
    assert await read(opened(server, {"token": server.root_token}, auth="token", mount="/secret/")) == ONE
    elsewhere = opened(server, {"token": server.root_token}, auth="token", address=f"{server.url}/v1")
    where, why = await told(elsewhere)
    assert (where, "no Vault at this address" in why) == (Stage.PATH, True)
    server.mount("transit")
    where, why = await told(opened(server, {"token": server.root_token}, auth="token", mount="transit"))
    assert (where, "no KV engine" in why) == (Stage.PATH, True)


async def test_a_mount_that_is_not_there_is_said_by_the_test(server: VaultAdministrator) -> None:
    """A server says 403 to whoever may do nothing below a mount, as to one that asks for a mount that is not there."""
    for token in (server.root_token, server.token("reader")):
        backend = opened(server, {"token": token}, auth="token", mount="nowhere")
        where, why = await told(backend)
        assert (where, "mount" in why) == (Stage.PERMISSION, True)
    assert await stage(backend) is Stage.PERMISSION
    as_root = opened(server, {"token": server.root_token}, auth="token", mount="nowhere")
    assert await stage(as_root) is Stage.PATH


async def test_without_a_look_at_the_mount_version_2_is_assumed(any_vault: VaultAdministrator) -> None:
    if isinstance(any_vault, DoubleVault):  # a real one shows a mount to whoever may read below it
        any_vault.server.hide_mounts = True
    any_vault.kv("secret")
    any_vault.put("secret", "db", password="one", port=1.10)
    assert await read(opened(any_vault, {"token": any_vault.root_token}, auth="token")) == ONE


async def test_a_namespace_and_one_that_is_not_there(any_vault: VaultAdministrator) -> None:
    any_vault.enter("team")
    any_vault.kv("secret")
    any_vault.put("secret", "db", password="one", port=1.10)
    any_vault.allow("reader", "secret/data/*", "read")
    role_id, secret_id = any_vault.approle("overseer", "reader")
    backend = opened(any_vault, {"secret_id": secret_id}, auth="approle", role_id=role_id)
    await backend.check()
    assert await read(backend) == ONE
    elsewhere = opened(any_vault, {"secret_id": secret_id}, auth="approle", role_id=role_id, namespace="nowhere")
    assert (await told(elsewhere))[0] is Stage.AUTH
    outside = opened(any_vault, {"token": any_vault.root_token}, auth="token", namespace="nowhere")
    where, why = await told(outside)
    assert (where, "namespace" in why) == (Stage.PATH, True)


async def test_every_request_has_the_two_headers() -> None:
    state = VaultServer()
    with _listening(state) as (url, headers):
        server = DoubleVault(state, url)
        await stage(opened(server, {"token": state.root_token}, auth="token", namespace="team/a"))
        server.close()
    assert {one.get("x-vault-request") for one in headers} == {"true"}
    assert {one.get("x-vault-namespace") for one in headers} == {"team/a"}


async def test_a_sealed_server_is_away(server: VaultAdministrator) -> None:
    backend = opened(server, {"token": server.root_token}, auth="token")
    assert await read(backend) == ONE
    server.seal()
    try:
        assert await stage(backend) is Stage.UNAVAILABLE
        assert (await told(opened(server, {"token": server.root_token}, auth="token")))[0] is Stage.UNAVAILABLE
    finally:
        server.unseal(server.share)
    assert await read(backend) == ONE


def asked(server: VaultAdministrator) -> list[str]:
    """The paths of requests since the last look."""
    assert isinstance(server, DoubleVault | OpenBao)
    return server.asked()


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

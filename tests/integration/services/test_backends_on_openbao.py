"""Secrets that come from a real OpenBao: fresh after a change, never stale where it refuses, told to be stale when it is away."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest

from overseer.core.errors import BackendRefused, BackendUnavailable
from overseer.server.services.backend_service import BackendService
from overseer.server.services.secret_sourcing import SecretSourcing
from overseer.wire.backends import BackendCreate, BackendPatch
from overseer.wire.secrets import ResolveRequest
from tests.integration.services.test_backends import Behind
from tests.integration.services.world import World, text, together
from tests.openbao_server import OpenBao, openbao_server

pytestmark = pytest.mark.anyio


@dataclass
class OnOpenBao(Behind):
    """The backend is a real OpenBao, asked by an AppRole."""

    bao: OpenBao

    def asked(self) -> list[str]:
        """The paths of values that it was asked for since the last look."""
        return [path for path in self.bao.asked() if "/data/" in path]

    async def tested(self) -> str:
        """The stage at which ``backend test`` ends, '' where all is well."""
        return (await self.backends.test_backend(self.world.owner, UUID(self.corp.id))).stage


async def on(world: World, bao: OpenBao) -> OnOpenBao:
    bao.kv("secret")
    bao.allow("reader", "secret/data/*", "read")
    bao.put("secret", "apps/shop/db", password="one")
    bao.put("secret", "apps/shop/smtp", password="mail")
    role_id, secret_id = bao.approle("overseer", "reader")
    settings = {"address": bao.url, "ca_pem": bao.ca_pem, "auth": "approle", "role_id": role_id}
    backends = BackendService(world.gate, world.keys, world.idempotency, world.calls)
    times = {"ttl": 60, "stale_if_error": 600, "max_age": 3600, "timeout": 5}
    body = BackendCreate(name="corp", kind="vault", settings=settings, credentials={"secret_id": secret_id}, **times)
    corp = (await backends.create_backend(world.owner, body)).view
    sourcing = SecretSourcing(world.gate, world.keys, world.idempotency, world.calls, world.sources)
    return OnOpenBao(world, backends, sourcing, corp, bao)


async def test_a_change_is_seen_after_the_ttl_and_many_askers_ask_once(world: World, openbao: OpenBao) -> None:
    made = await on(world, openbao)
    assert await made.tested() == ""
    db = await made.tie("db", "apps/shop/db")
    await made.tie("smtp", "apps/shop/smtp")
    openbao.put("secret", "apps/shop/db", password="two")
    made.asked()
    assert await made.reveal(db) == ("one", False)
    assert made.asked() == []
    await made.age(61)
    body = ResolveRequest(names=["db", "smtp"], app="shop")
    answers = await together(*(world.resolver.resolve(world.owner, body) for _ in range(20)))
    assert [[(text(one.value), one.stale) for one in answer] for answer in answers] == [[("two", False), ("mail", False)]] * 20
    assert sorted(made.asked()) == ["secret/data/apps/shop/db", "secret/data/apps/shop/smtp"]


@pytest.mark.parametrize("how", ["forbidden", "gone", "deleted", "destroyed", "field"])
async def test_what_it_refuses_is_never_stale(world: World, openbao: OpenBao, how: str) -> None:
    made = await on(world, openbao)
    secret = await made.tie("db", "apps/shop/db")
    if how == "forbidden":
        openbao.allow("reader", "secret/data/apps/shop/db", "list")
    elif how == "gone":
        openbao.call("DELETE", "secret/metadata/apps/shop/db")
    elif how in ("deleted", "destroyed"):
        openbao.mark("secret", "apps/shop/db", how.removesuffix("ed").replace("delet", "delete"), 1)
    else:
        openbao.put("secret", "apps/shop/db", other="x")
    await made.age(61)
    for _ in range(2):  # the second time nobody is asked, and nothing leaves either
        with pytest.raises(BackendRefused):
            await made.reveal(secret)
    if how in ("gone", "deleted"):
        openbao.put("secret", "apps/shop/db", password="back")
        await made.age(10)
        assert await made.reveal(secret) == ("back", False)


async def test_it_is_sealed_stopped_and_another_one_after_that(world: World, tmp_path: Path) -> None:
    with openbao_server(tmp_path) as bao:
        made = await on(world, bao)
        secret = await made.tie("db", "apps/shop/db")
        bao.seal()
        await made.age(61)
        assert await made.reveal(secret) == ("one", True)
        assert await made.tested() == "unavailable"
        bao.unseal(bao.share)
        await made.age(10)
        assert await made.reveal(secret) == ("one", False)
        bao.stop()
        await made.age(61)
        assert await made.reveal(secret) == ("one", True)
        assert await made.tested() == "connect"
        caller = world.caller(world.owner.token_hash)
        await made.age(10)
        assert await made.reveal(secret, caller) == ("one", True)
        [row] = [one for one in await world.audit(caller) if one["action"] == "secret:reveal"]
        assert (row["outcome"], row["code"]) == ("allowed", "stale")
        await made.age(600)
        with pytest.raises(BackendUnavailable):
            await made.reveal(secret)
        bao.start()  # and it has forgotten all: what answers is not the vault that the value came from
        assert await made.tested() == "auth"
        await made.age(10)
        with pytest.raises(BackendRefused, match=r"\(auth\)"):
            await made.reveal(secret)


async def test_each_stage_is_told(world: World, openbao: OpenBao) -> None:
    made = await on(world, openbao)
    settings, credentials = dict(made.corp.settings), {"secret_id": openbao.secret_id("overseer")}

    async def tested(**changed: str) -> str:
        patch = BackendPatch(settings={**settings, **changed}, credentials=credentials)
        await made.backends.patch_backend(world.owner, UUID(made.corp.id), patch)
        return await made.tested()

    assert await tested() == ""
    assert await tested(address="https://no-such-host.invalid") == "dns"
    assert await tested(address="https://127.0.0.1:1") == "connect"
    assert await tested(address="https://169.254.169.254") == "address"
    assert await tested(ca_pem="") == "tls"
    assert await tested(address=openbao.url.replace("https:", "http:")) in ("answer", "auth", "connect")
    assert await tested(role_id="00000000-0000-0000-0000-000000000000") == "auth"
    assert await tested(auth_mount="elsewhere") == "auth"
    assert await tested(namespace="nowhere") == "auth"
    assert await tested(mount="nowhere") == "permission"
    assert await tested(kv_version="1") == "path"
    openbao.mount("transit")
    openbao.allow("reader", "transit/keys", "list")
    assert await tested(mount="transit") == "path"

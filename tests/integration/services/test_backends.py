"""Secrets whose values come from a backend: fresh, stale, refused; who may tie what; what never leaves and is never written."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest

from overseer.core.audit_events import AuditAction
from overseer.core.backend_references import BackendReference
from overseer.core.errors import (
    AlreadyExists,
    BackendRefused,
    BackendUnavailable,
    Conflict,
    DecryptionFailed,
    Denied,
    InvalidInput,
    OverseerError,
    Unavailable,
)
from overseer.core.permissions import Permission
from overseer.core.principals import Caller
from overseer.core.secret_value import SecretValue
from overseer.server.backend_settings import AddressRules
from overseer.server.services.backend_calls import BackendCalls
from overseer.server.services.backend_service import BackendService
from overseer.server.services.circuit import PAUSE_SECONDS, Circuit
from overseer.server.services.export_service import ExportService
from overseer.server.services.rollout_driver import RolloutDriver
from overseer.server.services.secret_sourcing import SecretSourcing
from overseer.server.services.source_refresh import SourceRefresh
from overseer.server.storage.backend_rows import backend_by_name, sources_of
from overseer.server.storage.scope_rows import Part
from overseer.server.storage.secret_rows import lock_secrets
from overseer.wire.backends import BackendCreate, BackendPatch, BackendView, SecretSource, SourcedSecretCreate
from overseer.wire.deployments import DeploymentCreate
from overseer.wire.imports import ExportRequest
from overseer.wire.rotations import RotationSet
from overseer.wire.secret_batches import BatchUpdate, ScopeTarget, SecretBatch, SecretMove
from overseer.wire.secrets import ResolveRequest, SecretActivate, SecretPatch, SecretRotate, SecretUpdate, ValueRequest
from tests.doubles.vault_kv import Kv2
from tests.doubles.vault_server import VaultServer, served
from tests.integration.services.delivery import Delivery
from tests.integration.services.test_rotations import Schedules
from tests.integration.services.world import World, text, together

pytestmark = pytest.mark.anyio

USE = frozenset({Permission.BACKEND_USE})
COMPOSE = "services: {web: {image: x, environment: {A: '${SECRET:db}', B: '${SECRET:smtp}'}}}\n"


@dataclass
class Behind:
    """A world with a backend behind it, which is ``corp``."""

    world: World
    backends: BackendService
    sourcing: SecretSourcing
    corp: BackendView

    async def tie(self, name: str, ref: str, caller: Caller | None = None, **fields: Any) -> UUID:
        body = SourcedSecretCreate(name=name, backend="corp", ref=ref, **{"field": "password", "app": "shop", **fields})
        return UUID((await self.sourcing.create_sourced(caller or self.world.owner, body)).view.id)

    async def reveal(self, secret_id: UUID, caller: Caller | None = None) -> tuple[str, bool]:
        revealed = await self.world.secrets.reveal(caller or self.world.owner, secret_id, ValueRequest())
        return text(revealed.value), revealed.stale

    async def times(self, **times: int) -> None:
        await self.backends.patch_backend(self.world.owner, UUID(self.corp.id), BackendPatch(**times))

    async def age(self, seconds: int) -> None:
        """Let the last fetch and the last try be so long ago."""
        await self.world.sql("UPDATE secret_source SET fetched_at = fetched_at - make_interval(secs => $1)", seconds)
        await self.world.sql("UPDATE secret_source SET tried_at = tried_at - make_interval(secs => $1)", seconds)


@dataclass
class Vaulted(Behind):
    """The backend is a double of Vault."""

    vault: VaultServer
    engine: Kv2

    def asked(self) -> list[str]:
        """The paths of values that the vault was asked for since the last look."""
        paths = [path for _, path, _ in self.vault.requests if "/data/" in path]
        self.vault.requests.clear()
        return paths


@pytest.fixture
async def vaulted(world: World) -> AsyncIterator[Vaulted]:
    vault, engine = VaultServer(), Kv2()
    vault.mounts["secret"] = engine
    vault.allow("reader", "secret/data/*", "read")
    vault.allow("reader", "secret/metadata/*", "list")
    engine.put("apps/shop/db", password="one")
    engine.put("apps/shop/smtp", password="mail")
    engine.put("apps/bank/db", password="foreign")
    await world.add(Part.APP, "bank")
    backends = BackendService(world.gate, world.keys, world.idempotency, world.calls)
    sourcing = SecretSourcing(world.gate, world.keys, world.idempotency, world.calls, world.sources)
    with served(vault) as url:
        body = BackendCreate(
            name="corp",
            kind="vault",
            settings={"address": url, "auth": "token"},
            credentials={"token": vault.token("reader")},
            ttl=60,
            stale_if_error=600,
            max_age=3600,
            timeout=30,
        )
        corp = (await backends.create_backend(world.owner, body)).view
        yield Vaulted(world, backends, sourcing, corp, vault, engine)


async def test_a_value_is_asked_for_when_it_is_older_than_its_ttl(vaulted: Vaulted) -> None:
    secret = await vaulted.tie("db", "apps/shop/db")
    assert await vaulted.reveal(secret) == ("one", False)
    vaulted.engine.put("apps/shop/db", password="two")
    vaulted.asked()
    assert await vaulted.reveal(secret) == ("one", False)
    assert vaulted.asked() == []
    await vaulted.age(61)
    assert await vaulted.reveal(secret) == ("two", False)
    assert vaulted.asked() == ["/v1/secret/data/apps/shop/db"]
    view = (await vaulted.world.secrets.get(vaulted.world.owner, secret)).view
    assert (view.version, view.active_version) == (2, 2)
    assert view.source == {"backend": "corp", "ref": "apps/shop/db", "field": "password", "mode": "pull"}
    await vaulted.age(61)
    await vaulted.reveal(secret)
    assert (await vaulted.world.secrets.get(vaulted.world.owner, secret)).view.version == 2, "the same value makes no version"
    pulls = [row for row in await vaulted.world.audit() if row["action"] == "secret:pull"]
    assert [(row["outcome"], row["version"]) for row in pulls] == [("allowed", 2)]


async def test_while_the_backend_is_away_a_value_is_stale_flagged_and_ends(vaulted: Vaulted) -> None:
    secret = await vaulted.tie("db", "apps/shop/db")
    vaulted.vault.sealed = True
    await vaulted.age(61)
    caller = vaulted.world.caller(vaulted.world.owner.token_hash)
    assert await vaulted.reveal(secret, caller) == ("one", True)
    [row] = [one for one in await vaulted.world.audit(caller) if one["action"] == "secret:reveal"]
    assert (row["outcome"], row["code"]) == ("allowed", "stale")
    [failed] = [one for one in await vaulted.world.audit() if one["action"] == "secret:pull"]
    assert (failed["outcome"], failed["code"]) == ("failed", "unavailable")
    await vaulted.age(600)
    caller = vaulted.world.caller(vaulted.world.owner.token_hash)
    with pytest.raises(BackendUnavailable):
        await vaulted.reveal(secret, caller)
    [row] = [one for one in await vaulted.world.audit(caller) if one["action"] == "secret:reveal"]
    assert (row["outcome"], row["code"]) == ("failed", "backend_unavailable")
    vaulted.vault.sealed = False
    await vaulted.age(10)
    assert await vaulted.reveal(secret) == ("one", False)


async def test_max_age_is_the_end_whatever_stale_if_error_says(vaulted: Vaulted) -> None:
    secret = await vaulted.tie("db", "apps/shop/db")
    await vaulted.times(stale_if_error=100_000, max_age=100)
    vaulted.vault.sealed = True
    await vaulted.age(90)
    assert (await vaulted.reveal(secret))[1] is True
    await vaulted.age(20)
    with pytest.raises(BackendUnavailable):
        await vaulted.reveal(secret)


@pytest.mark.parametrize("how", ["forbidden", "gone", "deleted", "field"])
async def test_what_the_backend_refuses_is_never_stale(vaulted: Vaulted, how: str) -> None:
    secret = await vaulted.tie("db", "apps/shop/db")
    before = dict(vaulted.engine.versions)
    if how == "forbidden":
        vaulted.vault.allow("reader", "secret/data/apps/shop/db", "list")
    elif how == "gone":
        del vaulted.engine.versions["apps/shop/db"]
    elif how == "deleted":
        vaulted.engine.versions["apps/shop/db"][-1].deleted = "2026-01-01T00:00:00Z"
    else:
        vaulted.engine.put("apps/shop/db", other="x")
    await vaulted.age(61)
    for _ in range(2):  # the second time nobody is asked, and nothing leaves either
        with pytest.raises(BackendRefused):
            await vaulted.reveal(secret)
    if how == "gone":
        vaulted.engine.versions = before
        vaulted.engine.put("apps/shop/db", password="back")
        await vaulted.age(10)
        assert await vaulted.reveal(secret) == ("back", False)


async def test_an_export_asks_and_gives_nothing_that_the_backend_refuses(vaulted: Vaulted) -> None:
    world = vaulted.world
    service = ExportService(world.gate, world.keys, world.opener, world.sources)
    body = ExportRequest(format="json", app="shop", plaintext=True)
    await vaulted.tie("db", "apps/shop/db")
    await world.secret("plain", "kept here", app="shop")
    vaulted.engine.put("apps/shop/db", password="two")
    await vaulted.age(61)
    assert json.loads((await service.export(world.owner, body)).content.reveal()) == {"db": "two", "plain": "kept here"}
    vaulted.vault.sealed = True
    await vaulted.age(61)
    caller = world.caller(world.owner.token_hash)
    assert json.loads((await service.export(caller, body)).content.reveal())["db"] == "two"
    codes = {row["resource_name"]: row["code"] for row in await world.audit(caller) if row["action"] == "secret:export"}
    assert codes == {"db": "plaintext:stale", "plain": "plaintext"}
    vaulted.vault.sealed = False
    vaulted.vault.allow("reader", "secret/data/apps/shop/db", "list")
    await vaulted.age(61)
    caller = world.caller(world.owner.token_hash)
    for _ in range(2):  # the second time nobody is asked, and nothing leaves either
        with pytest.raises(BackendRefused):
            await service.export(caller, body)
    rows = [row for row in await world.audit(caller) if row["action"] == "secret:export"]
    assert {row["outcome"] for row in rows} == {"failed"}


async def test_what_comes_from_a_backend_is_not_rotated_and_what_is_rotated_is_not_tied(vaulted: Vaulted) -> None:
    world = vaulted.world
    schedules = Schedules(world)
    secret = await vaulted.tie("db", "apps/shop/db")
    admin = await world.secret("source-admin", "x", app="shop")
    fields = {"kind": "redis", "url": "rediss://source.example", "users": ["app"], "admin": admin.id}
    for body in (RotationSet(policy={"interval_days": 1}), RotationSet(rotator=fields)):
        with pytest.raises(Conflict, match="backend"):
            await schedules.service.set_rotation(world.owner, secret, body)
    with pytest.raises(Conflict, match="backend"):
        await schedules.service.run_rotation(world.owner, secret)
    await world.secrets.patch(world.owner, secret, SecretPatch(rotation={"interval_days": 1}))  # metadata, by another way
    await schedules.driver().run()
    await schedules.past(3)
    await schedules.driver().run()
    assert (await schedules.service.list_runs(world.owner, secret)).items == []
    assert (await world.secrets.get(world.owner, secret)).view.version == 1
    own = await world.secret("own", "v1", app="shop")
    await schedules.service.set_rotation(world.owner, UUID(own.id), RotationSet(rotator=fields))
    source = SecretSource(backend="corp", ref="apps/shop/smtp", field="password")
    with pytest.raises(Conflict, match="rotator"):
        await vaulted.sourcing.set_source(world.owner, UUID(own.id), source)
    await schedules.service.set_rotation(world.owner, UUID(own.id), RotationSet(rotator=None))
    await schedules.service.run_rotation(world.owner, UUID(own.id))
    with pytest.raises(Conflict, match="on its way"):
        await vaulted.sourcing.set_source(world.owner, UUID(own.id), source)


async def test_all_references_of_a_resolve_are_one_round_and_a_thousand_askers_ask_once(vaulted: Vaulted) -> None:
    await vaulted.tie("db", "apps/shop/db")
    await vaulted.tie("smtp", "apps/shop/smtp")
    await vaulted.world.secret("plain", "kept here", app="shop")
    await vaulted.age(61)
    vaulted.asked()
    body = ResolveRequest(names=["db", "plain", "smtp"], app="shop")
    owner = vaulted.world.owner
    answers = await together(*(vaulted.world.resolver.resolve(owner, body) for _ in range(20)))
    assert [[text(one.value) for one in answer] for answer in answers] == [["one", "kept here", "mail"]] * 20
    assert sorted(vaulted.asked()) == ["/v1/secret/data/apps/shop/db", "/v1/secret/data/apps/shop/smtp"]


async def test_a_row_read_before_anothers_answer_was_stored_is_read_anew_and_nobody_is_asked(vaulted: Vaulted) -> None:
    """The source is fresh by then, but the version that the row names is the one before: it does not leave as a fresh value."""
    world, secret = vaulted.world, await vaulted.tie("db", "apps/shop/db")
    async with world.gate.own_work() as (session, _):
        before = (await lock_secrets(session, [secret]))[secret]
    vaulted.engine.put("apps/shop/db", password="two")
    await vaulted.age(61)
    assert await vaulted.reveal(secret) == ("two", False)
    vaulted.asked()
    async with world.gate.enter(world.owner, AuditAction.SECRET_RESOLVE) as entry:
        entry.authorise(Permission.SECRET_REVEAL, before.resource())
        due = await world.sources.due(entry, [before])
    assert [one.secret_id for one in due] == [secret]
    await world.sources.refresh(due, "r")
    assert vaulted.asked() == []


async def test_two_replicas_at_once_make_one_version(vaulted: Vaulted) -> None:
    world = vaulted.world
    secret = await vaulted.tie("db", "apps/shop/db")
    vaulted.engine.put("apps/shop/db", password="two")
    await vaulted.age(61)
    others = [
        SourceRefresh(
            world.gate,
            world.keys,
            BackendCalls(world.keys, AddressRules(private_allowed=lambda _: True)),
            RolloutDriver(world.gate, world.signal),
        )
        for _ in range(3)
    ]
    async with world.gate.own_work() as (session, _):
        found = list((await sources_of(session, [secret])).values())
    await together(*(one.refresh(found, "replica") for one in others))
    assert (await world.secrets.get(world.owner, secret)).view.version == 2
    assert await vaulted.reveal(secret) == ("two", False)


async def test_a_deployment_gets_the_value_of_now_and_fails_closed(world: World, vaulted: Vaulted) -> None:
    delivery = Delivery(world)
    await world.sql("UPDATE node SET state = 'active'")
    secret = await vaulted.tie("db", "apps/shop/db")
    await vaulted.tie("smtp", "apps/shop/smtp")
    bundle = await delivery.bundle(COMPOSE)
    vaulted.engine.put("apps/shop/db", password="two")
    await vaulted.age(61)
    vaulted.asked()
    order = DeploymentCreate(app="shop", node="n1", bundle=bundle.digest, allow_persisting=True)
    made = await delivery.deployments.create_deployment(world.owner, order)
    assert len(vaulted.asked()) == 2
    versions = {row["secret_id"]: row["version"] for row in await world.sql("SELECT * FROM deployment_secret")}
    assert versions[secret] == 2
    vaulted.vault.sealed = True
    await vaulted.age(61)
    caller = world.caller(world.owner.token_hash)
    await delivery.deployments.create_deployment(caller, order)
    codes = {row["resource_name"]: row["code"] for row in await world.audit(caller) if row["action"] == "secret:use"}
    assert codes == {"db": "stale", "smtp": "stale"}
    vaulted.vault.sealed = False
    del vaulted.engine.versions["apps/shop/db"]
    await vaulted.age(61)
    count = len(await world.sql("SELECT id FROM deployment"))
    with pytest.raises(BackendRefused) as refused:
        await delivery.deployments.create_deployment(world.owner, order)
    assert [problem.place for problem in refused.value.problems] == ["db"]
    assert len(await world.sql("SELECT id FROM deployment")) == count
    assert made.state in ("queued", "superseded")


async def test_sync_compares_by_itself_and_makes_a_version(vaulted: Vaulted) -> None:
    secret = await vaulted.tie("db", "apps/shop/db", mode="sync")
    vaulted.engine.put("apps/shop/db", password="two")
    await vaulted.world.sources.run()
    assert await vaulted.reveal(secret) == ("one", False)
    await vaulted.age(61)
    vaulted.asked()
    await vaulted.world.sources.run()
    assert vaulted.asked() == ["/v1/secret/data/apps/shop/db"]
    assert await vaulted.reveal(secret) == ("two", False)
    assert vaulted.asked() == [], "a reveal does not ask for what the leader keeps up to date"
    del vaulted.engine.versions["apps/shop/db"]
    await vaulted.age(61)
    await vaulted.world.sources.run()
    with pytest.raises(BackendRefused):
        await vaulted.reveal(secret)


async def test_a_tied_secret_takes_no_value_by_hand_and_stays_where_it_is(vaulted: Vaulted) -> None:
    world, secret = vaulted.world, await vaulted.tie("db", "apps/shop/db")
    batch = SecretBatch(operations=[BatchUpdate(id=secret, value="mine")])
    for call in (
        world.secrets.update(world.owner, secret, SecretUpdate(value="mine")),
        world.secrets.rotate(world.owner, secret, SecretRotate()),
        world.secrets.activate(world.owner, secret, SecretActivate(version=1)),
        world.secrets.move(world.owner, secret, SecretMove(scope=ScopeTarget(app="bank", environment=None, node=None))),
        world.secrets.batch(world.owner, batch),
    ):
        with pytest.raises(Conflict):
            await call
    with pytest.raises(Conflict):
        await vaulted.backends.delete_backend(world.owner, UUID(vaulted.corp.id))
    await vaulted.sourcing.remove_source(world.owner, secret)
    await world.secrets.update(world.owner, secret, SecretUpdate(value="mine"))
    assert await vaulted.reveal(secret) == ("mine", False)
    tied = await vaulted.sourcing.set_source(
        world.owner, secret, SecretSource(backend="corp", ref="apps/shop/smtp", field="password")
    )
    assert (tied.view.version, await vaulted.reveal(secret)) == (3, ("mail", False))
    with pytest.raises(AlreadyExists):
        await vaulted.tie("db", "apps/shop/db")


async def shop_writer(world: World, pattern: str = "corp:apps/shop/*") -> Caller:
    """Somebody who writes secrets of one app, and may use one part of the vault for them."""
    caller = await world.service_account("developer", app="shop")
    await world.bind(caller, USE, app="shop", name=pattern)
    return caller


@pytest.mark.parametrize(
    "ref",
    [
        "apps/bank/db",
        "apps/shop/../bank/db",
        "apps/shop/%2e%2e/bank/db",
        "apps/shop/..%2fbank/db",
        "apps/shop//../bank/db",
        "/apps/bank/db",
        "apps/bank/db/",
        "apps/Shop/db",
        "APPS/SHOP/db",
        "apps/shop",
        "apps/shopping/db",
        "apps/shop/./db",
        "apps/shop/db?version=1",
        "apps/shop/db#password",
        "apps/shop/db\\..\\bank",
        "apps/shop/\u2025/bank/db",
        "apps/shop/db\n",
        "apps/shop/{{app}}",
        "${SECRET:x}",
        "apps/bank/db@1",
        "apps/shop@/../bank",
        "corp:apps/shop/db",
        "",
    ],
)
async def test_who_writes_one_app_cannot_read_another_apps_path(vaulted: Vaulted, ref: str) -> None:
    attacker = await shop_writer(vaulted.world)
    vaulted.asked()
    with pytest.raises((Denied, InvalidInput)):
        await vaulted.tie("mine", ref, attacker)
    own = await vaulted.tie("own", "apps/shop/db", attacker)
    vaulted.asked()
    with pytest.raises((Denied, InvalidInput)):
        await vaulted.sourcing.set_source(attacker, own, SecretSource(backend="corp", ref=ref, field="password"))
    assert vaulted.asked() == [], "the vault was asked for something that was refused"
    assert await vaulted.reveal(own, attacker) == ("one", False)


async def test_the_right_to_use_a_path_is_one_for_the_secrets_of_a_scope(vaulted: Vaulted) -> None:
    world = vaulted.world
    attacker = await shop_writer(world)
    await world.bind(attacker, "developer", app="bank")
    with pytest.raises(Denied):
        await vaulted.tie("mine", "apps/shop/db", attacker, app="bank")
    without = await world.service_account("developer", app="shop")
    for backend in ("corp", "no-such-backend"):
        body = SourcedSecretCreate(name="x", backend=backend, ref="apps/shop/db", app="shop")
        with pytest.raises(Denied) as denied:
            await vaulted.sourcing.create_sourced(without, body)
        assert denied.value.message == "you lack backend:use for this backend; ask an owner for a role that holds it"
    only_uses = await world.service_account(USE, app="shop", name="corp:*")
    with pytest.raises((Denied, Unavailable)):
        await vaulted.tie("mine", "apps/shop/db", only_uses)
    lister = await shop_writer(world)
    listed = await vaulted.backends.list_refs(lister, UUID(vaulted.corp.id), folder="apps/shop", app="shop")
    assert listed.refs == ["apps/shop/db", "apps/shop/smtp"]
    for folder, app in (("apps", "shop"), ("apps/bank", "shop"), ("apps/shop", "bank"), ("", "shop")):
        with pytest.raises((Denied, Unavailable)):
            await vaulted.backends.list_refs(lister, UUID(vaulted.corp.id), folder=folder, app=app)


async def test_a_field_of_what_may_be_used_is_the_limit_of_a_field(vaulted: Vaulted) -> None:
    attacker = await shop_writer(vaulted.world)
    for field in ("../../bank/db", "password.x", "data.data", "metadata"):
        with pytest.raises(BackendRefused):
            await vaulted.tie("mine", "apps/shop/db", attacker, field=field)


async def test_credentials_are_sealed_bound_to_the_address_and_never_shown(vaulted: Vaulted) -> None:
    world, backend_id = vaulted.world, UUID(vaulted.corp.id)
    [token] = [one for one in vaulted.vault.tokens if one != vaulted.vault.root_token]
    rows = await world.sql("SELECT * FROM backend")
    assert token.encode() not in b"".join(value for value in rows[0].values() if isinstance(value, bytes))
    assert token not in str(rows) + str(await world.audit()) + str(
        (await vaulted.backends.get_backend(world.owner, backend_id)).view
    )
    with pytest.raises(InvalidInput, match="credentials"):
        await vaulted.backends.patch_backend(
            world.owner, backend_id, BackendPatch(settings={"address": "https://attacker.example", "auth": "token"})
        )
    await world.sql("""UPDATE backend SET settings = jsonb_set(settings, '{address}', '"http://127.0.0.1:1"'), revision = 99""")
    with pytest.raises(DecryptionFailed):
        await vaulted.backends.test_backend(world.owner, backend_id)


async def test_the_test_says_what_is_wrong_and_holds_no_credential(vaulted: Vaulted) -> None:
    world, backend_id = vaulted.world, UUID(vaulted.corp.id)
    settings = dict(vaulted.corp.settings)

    async def tested(credential: str = "hvs.wrong-credential", **changed: str) -> str:
        patch = BackendPatch(settings=settings | changed, credentials={"token": credential})
        await vaulted.backends.patch_backend(world.owner, backend_id, patch)
        found = await vaulted.backends.test_backend(world.owner, backend_id)
        assert credential not in found.message
        assert found.ok is (found.stage == "")
        return found.stage

    assert (await vaulted.backends.test_backend(world.owner, backend_id)).ok
    good = vaulted.vault.token("reader")
    assert await tested() == "auth"
    assert await tested(good) == ""
    assert await tested(address="https://no-such-host.invalid") == "dns"
    assert await tested(address="http://127.0.0.1:1") == "connect"
    assert await tested(address=settings["address"].replace("http:", "https:")) == "tls"
    assert await tested(address="http://169.254.169.254") == "address"
    assert await tested(good, mount="cubbyhole") in ("permission", "path", "")
    vaulted.vault.sealed = True
    assert await tested(good) == "unavailable"
    codes = [row["code"] for row in await world.audit() if row["action"] == "backend:test"]
    assert codes[:3] == ["", "auth", ""]


async def test_what_comes_from_a_backend_is_shown_with_its_age_to_those_who_may_list_it(vaulted: Vaulted) -> None:
    world, corp = vaulted.world, UUID(vaulted.corp.id)
    db, mine = await vaulted.tie("db", "apps/shop/db"), await vaulted.tie("foreign", "apps/bank/db", app="bank")

    async def state() -> tuple[str, str]:
        shown = await vaulted.sourcing.get_source(world.owner, db)
        assert (shown.backend, shown.ref, shown.field, shown.mode) == ("corp", "apps/shop/db", "password", "pull")
        return shown.state, shown.failure

    assert await state() == ("fresh", "")
    await vaulted.age(61)
    assert await state() == ("due", "")
    vaulted.vault.sealed = True
    await vaulted.reveal(db)
    assert await state() == ("stale", "unavailable")
    await vaulted.age(600)
    assert await state() == ("too_old", "unavailable")
    vaulted.vault.sealed = False
    vaulted.vault.policies.clear()
    with pytest.raises(BackendRefused):
        await vaulted.reveal(db)
    assert await state() == ("refused", "permission")
    view = (await vaulted.backends.get_backend(world.owner, corp)).view
    kept = (await vaulted.sourcing.get_source(world.owner, mine)).fetched_at
    assert (view.secrets, view.failing, view.last_success, view.resting) == (2, 1, kept, False)

    walked: list[str] = []
    cursor = None
    while not walked or cursor:
        page = await vaulted.backends.list_sources(world.owner, corp, cursor=cursor, limit=1)
        walked, cursor = walked + [one.name for one in page.items], page.next_cursor
    assert walked == ["db", "foreign"]
    operator = await world.service_account(frozenset({Permission.BACKEND_LIST}))
    assert (await vaulted.backends.list_sources(operator, corp)).items == []
    await world.bind(operator, "viewer", app="bank")
    assert [one.name for one in (await vaulted.backends.list_sources(operator, corp)).items] == ["foreign"]
    with pytest.raises(Unavailable):
        await vaulted.sourcing.get_source(operator, db)
    plain = UUID((await world.secret("plain", "v")).id)
    with pytest.raises(Conflict):
        await vaulted.sourcing.get_source(world.owner, plain)


async def test_a_backend_that_is_left_alone_is_shown_so(vaulted: Vaulted) -> None:
    secret = await vaulted.tie("db", "apps/shop/db")
    vaulted.vault.sealed = True
    for _ in range(3):
        await vaulted.age(61)
        assert (await vaulted.backends.get_backend(vaulted.world.owner, UUID(vaulted.corp.id))).view.resting is False
        await vaulted.reveal(secret)
    assert (await vaulted.backends.get_backend(vaulted.world.owner, UUID(vaulted.corp.id))).view.resting is True


async def test_a_circuit_opens_and_closes(vaulted: Vaulted) -> None:
    clock = [0.0]
    calls = BackendCalls(vaulted.world.keys, AddressRules(private_allowed=lambda _: True), lambda: Circuit(lambda: clock[0]))
    async with vaulted.world.gate.own_work() as (session, _):
        row = await backend_by_name(session, "corp")
    assert row is not None
    reference = BackendReference("apps/shop/db")

    async def tried() -> tuple[bool, int]:
        """Whether a value came, and how often the vault was asked."""
        vaulted.vault.requests.clear()
        value = (await calls.fetch(row, [reference]))[reference]
        return isinstance(value, SecretValue), len(vaulted.asked())

    assert await tried() == (True, 1)
    vaulted.vault.sealed = True
    assert [await tried() for _ in range(5)] == [(False, 1)] * 3 + [(False, 0)] * 2
    clock[0] += PAUSE_SECONDS
    assert [await tried() for _ in range(2)] == [(False, 1), (False, 0)]
    vaulted.vault.sealed = False
    assert await tried() == (False, 0)
    clock[0] += PAUSE_SECONDS
    assert [await tried() for _ in range(2)] == [(True, 1)] * 2


async def test_rows_that_name_a_refused_backend_change_nothing(vaulted: Vaulted) -> None:
    world = vaulted.world
    before = len(await world.sql("SELECT id FROM secret"))
    for ref, error in (("apps/shop/none", BackendRefused), ("apps/shop/db@7", BackendRefused)):
        with pytest.raises(error):
            await vaulted.tie("x", ref)
    vaulted.vault.sealed = True
    with pytest.raises(OverseerError) as caught:
        await vaulted.tie("x", "apps/shop/db")
    assert isinstance(caught.value, BackendUnavailable)
    assert len(await world.sql("SELECT id FROM secret")) == before

"""First invariant: a powerless caller is denied by every public service method, and leaves exactly one audit row."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any
from uuid import UUID

import pytest

from overseer.core.errors import Denied, OverseerError, Unauthenticated, Unavailable
from overseer.core.principals import Caller
from overseer.server.services.catalogue import Services
from overseer.wire.access import BindingCreate, GroupCreate, RoleCreate, ServiceAccountCreate, TokenCreate
from overseer.wire.approvals import ApprovalCreate, ApprovalPolicyCreate
from overseer.wire.backends import BackendCreate
from overseer.wire.deployments import BundleCreate, BundleFile, DeploymentCreate
from overseer.wire.imports import ImportEntry, ImportRequest
from overseer.wire.people import UserCreate, UserReset
from overseer.wire.secret_batches import BatchUpdate, ScopeTarget
from overseer.wire.secrets import SecretUpdate
from tests.integration.invariants.service_methods import INTERNAL, OPEN, SELF, Method, arguments, every_method
from tests.integration.services.world import World

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

COMPOSE = "services: {a: {image: x, environment: {T: '${SECRET:db-password}'}}}\n"


@pytest.fixture
async def samples(world: World, services: Services) -> dict[str, Any]:
    """The ids and names of things that exist, so that a refusal is a refusal and not a missing row."""
    owner = world.owner
    secret = await world.secret("db-password", "v")
    account = await services.identity.create_service_account(owner, ServiceAccountCreate(name="ci"))
    token = await services.identity.create_token(owner, TokenCreate(principal="ci"))
    binding = await services.identity.create_binding(
        owner, BindingCreate(principal="ci", role="viewer", app="shop", environment="*", node="*", name="*")
    )
    role = await services.identity.create_role(owner, RoleCreate(name="reader", permissions=["secret:list"]))
    people = await services.identity.create_group(owner, GroupCreate(name="people"))
    files = [BundleFile(path="compose.yaml", content=COMPOSE)]
    bundle = await services.bundles.create_bundle(owner, "shop", BundleCreate(files=files))
    deployment = await services.deployments.create_deployment(
        owner, DeploymentCreate(app="shop", nodes=["n1"], bundle=bundle.digest)
    )
    # It runs, and another version is on its way to it.
    await world.sql("UPDATE deployment SET state = 'succeeded', finished_at = now()")
    await world.sql("UPDATE node SET state = 'active'")
    rotated = await services.secrets.update(owner, UUID(secret.id), SecretUpdate(value="v2"))
    assert rotated.view.rollout is not None
    settings = {"address": "https://127.0.0.1:1", "auth": "token"}
    corp = BackendCreate(name="corp", kind="vault", settings=settings, credentials={"token": "t"})
    backend = (await services.backends.create_backend(owner, corp)).view
    user = await services.users.create_user(owner, UserCreate(name="ann"))
    await services.users.reset_user(owner, UUID(user.id), UserReset())
    await world.sql(
        "INSERT INTO token (hash, id, principal_id, expires_at, kind, idle_seconds) "
        "VALUES (sha256('ann'), $1, $2, now() + interval '1 hour', 'session', 600)",
        UUID(int=77),
        UUID(user.id),
    )
    entries = [ImportEntry(name="imported", value="v")]
    imported = await services.imports.import_secrets(owner, ImportRequest(entries=entries))
    whole = {"app": "*", "environment": "*", "node": "*"}
    policy = ApprovalPolicyCreate(title="four-eyes", actions=["delete"], name="guarded", **whole)
    four_eyes = (await services.approvals.create_policy(owner, policy)).view
    guarded = UUID((await world.secret("guarded", "v")).id)
    asked = await services.approvals.ask(owner, ApprovalCreate(action="delete", secret_id=guarded, reason="not used any more"))
    return {
        "action": "deploy",
        "actions": ["reveal"],
        "approval_id": UUID(asked.id),
        "app": "shop",
        "archive_base64": "e30K",
        "assertion": "a.b.c",
        "binding_id": UUID(binding.id),
        "bundle": bundle.digest,
        "code": "123456",
        "current": "not the password of now",
        "decision": "approve",
        "description": "somebody",
        "deployment_id": UUID(deployment.id),
        "entries": entries,
        "environment": "*",
        "group_id": UUID(deployment.group or ""),
        "filter": "unused",
        "holdings": [],
        "name": "shop",
        "names": ["db-password"],
        "import_id": UUID(imported.id or ""),
        "invitation": "ovsi_x",
        "issuer": "https://id.example",
        "node": "n1",
        "old_size": 1,
        "operations": [BatchUpdate(id=UUID(secret.id), value="new-value")],
        "passphrase": "not the passphrase",
        "password": "not a known password",
        "permission": "secret:reveal",
        "policy_id": UUID(four_eyes.id),
        "permissions": ["secret:list"],
        "backup_id": UUID(int=78),
        "target": "nightly",
        "principal": "ci",
        "principal_group": UUID(people.id),
        "principal_id": UUID(account.id),
        "reason": "nobody answers the telephone",
        "role": "viewer",
        "role_id": UUID(role.id),
        "rollout_id": UUID(rotated.view.rollout),
        "row": "1.1.1",
        "scope": ScopeTarget(app="shop", environment=None, node=None),
        "secret_id": UUID(secret.id),
        "session_id": UUID(int=77),
        "state": "applying",
        "subject": "ann-at-id.example",
        "term": "1",
        "ticket": "not a ticket",
        "title": "two-keys",
        "token": "a.b.c",
        "token_id": UUID(token.id),
        "backend_id": UUID(backend.id),
        "backend": "corp",
        "kind": "vault",
        "settings": {},
        "ref": "apps/shop/db",
        "user_id": UUID(user.id),
        "value": "new-value",
        "version": 1,
    }


def spelled_for(method: Method, samples: dict[str, Any]) -> dict[str, Any]:
    """Names mean an app in most methods, a node or an environment in some."""
    if method.name.startswith("identity."):
        return {**samples, "group_id": samples["principal_group"]}
    if method.name.startswith("nodes."):
        return {**samples, "name": "n1"}
    return {**samples, "name": "prod"} if method.name.endswith("_environment") else samples


async def outcome_of(call: Awaitable[Any]) -> object:
    """The error of a call, or its answer where there is none."""
    try:
        return await call
    except OverseerError as error:
        return error


async def rows(world: World, caller: Caller) -> list[tuple[str, str]]:
    return [(row["outcome"], row["code"]) for row in await world.audit(caller)]


async def test_every_method_takes_the_caller(services: Services) -> None:
    without = {method.name for method in every_method(services) if not method.takes_caller}
    assert without == INTERNAL


async def test_the_enumeration_sees_the_services(services: Services) -> None:
    names = {method.name for method in every_method(services)}
    assert {"secrets.reveal", "resolve.resolve", "agents.release", "identity.create_binding", "keys.state"} <= names
    assert names >= OPEN | SELF


async def test_a_powerless_caller_is_denied_with_one_row(world: World, services: Services, samples: dict[str, Any]) -> None:
    powerless = await world.service_account()
    for method in every_method(services):
        if not method.takes_caller or method.name in OPEN | SELF:
            continue
        caller = world.caller(powerless.token_hash)
        refusal = await outcome_of(method.call(caller, **arguments(method, spelled_for(method, samples))))
        assert isinstance(refusal, Denied | Unavailable), f"{method.name} gave a powerless caller {refusal!r}"
        found = await rows(world, caller)
        assert [outcome for outcome, _ in found] == ["denied"], f"{method.name} left {found}"
        [row] = await world.audit(caller)
        assert (row["actor_kind"], row["peer"]) == ("service_account", caller.peer), method.name
        assert None not in (row["actor_id"], row["token_id"]), f"{method.name} does not say who was refused"


async def test_a_caller_without_a_token_is_refused_with_one_row(
    world: World, services: Services, samples: dict[str, Any]
) -> None:
    for number, method in enumerate(every_method(services)):
        if not method.takes_caller or method.name in OPEN:
            continue
        caller = Caller(None, f"stranger-{number}", f"192.0.2.{number}", "test")
        refusal = await outcome_of(method.call(caller, **arguments(method, spelled_for(method, samples))))
        assert isinstance(refusal, Unauthenticated), f"{method.name} gave a stranger {refusal!r}"
        assert await rows(world, caller) == [("denied", "unauthenticated")], method.name


async def test_open_methods_refuse_a_wrong_credential_with_one_row(
    world: World, services: Services, samples: dict[str, Any]
) -> None:
    for number, name in enumerate(sorted(OPEN - {"seal.unseal"})):
        [method] = [found for found in every_method(services) if found.name == name]
        caller = Caller(None, f"open-{number}", f"192.0.2.{number}", "test")
        with pytest.raises(OverseerError):
            await method.call(caller, **arguments(method, samples))
        found = await rows(world, caller)
        assert [outcome for outcome, _ in found] in (["denied"], ["failed"]), f"{name} left {found}"


async def test_unsealing_what_is_unsealed_changes_and_tells_nothing(
    world: World, services: Services, samples: dict[str, Any]
) -> None:
    """A sealed server refuses a wrong passphrase with one row: see ``tests/integration/services``."""
    [method] = [found for found in every_method(services) if found.name == "seal.unseal"]
    before = await world.audit()
    assert await method.call(world.caller(None), **arguments(method, samples)) == await services.seal.status()
    assert await world.audit() == before


async def test_whoever_asks_who_they_are_is_answered_with_one_row(world: World, services: Services) -> None:
    powerless = await world.service_account()
    assert (await services.identity.me(powerless)).bindings == []
    assert await rows(world, powerless) == [("allowed", "")]


async def test_nothing_changed_while_everything_was_refused(world: World, services: Services, samples: dict[str, Any]) -> None:
    tables = ("secret", "secret_version", "binding", "principal", "token", "app", "environment", "node", "bundle")
    tables += ("deployment", "rollout", "rollout_node", "role", "principal_group", "group_member")
    tables += ("approval_policy", "approval", "approval_decision", "user_password", "user_totp", "invitation")
    tables += ("external_identity",)
    powerless = await world.service_account()
    before = [await world.sql(f"SELECT * FROM {table} ORDER BY 1") for table in tables]
    for method in every_method(services):
        if method.takes_caller and method.name not in OPEN | SELF:
            with pytest.raises((Denied, Unavailable)):
                await method.call(world.caller(powerless.token_hash), **arguments(method, spelled_for(method, samples)))
    assert [await world.sql(f"SELECT * FROM {table} ORDER BY 1") for table in tables] == before

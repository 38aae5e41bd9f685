"""Fourth invariant: what a policy guards is not done without an approval, by whatever method and whoever calls it.

Every public method is called by an owner under a policy that guards everything; afterwards no value was shown, and secrets,
versions in use and deployments are as they were. Then the ways round that an attacker would try, one by one.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from overseer.core.errors import ApprovalRequired, Denied, OverseerError
from overseer.core.permissions import Permission
from overseer.core.secret_value import SecretValue
from overseer.server.services.catalogue import Services
from overseer.wire.approvals import ApprovalPolicyCreate
from overseer.wire.deployments import DeploymentCreate, DeploymentRollback
from overseer.wire.secret_batches import (
    BatchActivate,
    BatchCreate,
    BatchDelete,
    BatchPatch,
    BatchRotate,
    BatchSet,
    BatchUpdate,
    ScopeTarget,
    SecretBatch,
    SecretMove,
)
from overseer.wire.secrets import (
    ResolveRequest,
    SecretActivate,
    SecretCreate,
    SecretPatch,
    SecretRotate,
    SecretUpdate,
    ValueRequest,
)
from tests.integration.invariants.service_methods import INTERNAL, OPEN, arguments, every_method
from tests.integration.invariants.test_denial import outcome_of, samples, spelled_for
from tests.integration.services.world import World

__all__ = ["samples"]
pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

ANYWHERE = {"app": "*", "environment": "*", "node": "*", "name": "*"}
#: What decides about the guard itself, and what takes a version back that was not yet the active one.
EXCEPT = {"approvals.delete_policy", "approvals.patch_policy", "approvals.decide", "rollouts.withdraw_rollout"}


async def guard_all(services: Services, owner: Any, *actions: str, **fields: Any) -> None:
    policy = ApprovalPolicyCreate(
        title=fields.pop("title", "everything"), actions=list(actions) or ["reveal", "activate", "delete", "deploy"],
        **{**ANYWHERE, **fields},
    )  # fmt: skip
    await services.approvals.create_policy(owner, policy)


async def state_of(world: World) -> list[Any]:
    """All that a policy guards: which secrets there are and where, which version of each is in use, and what is deployed."""
    secrets = await world.sql("SELECT id, name, scope_id, active_version FROM secret ORDER BY id")
    return [secrets, *[await world.sql(f"SELECT id FROM {table} ORDER BY id") for table in ("deployment", "rollout")]]


def values_in(answer: Any) -> list[SecretValue]:
    """Every value in an answer, however deep."""
    if isinstance(answer, SecretValue):
        return [answer]
    if isinstance(answer, list | tuple):
        return [value for one in answer for value in values_in(one)]
    fields = getattr(answer, "__slots__", None) or getattr(answer, "__struct_fields__", ()) or ()
    return [value for name in fields if not name.startswith("_") for value in values_in(getattr(answer, name, None))]


async def test_no_method_does_what_is_guarded(world: World, services: Services, samples: dict[str, Any]) -> None:
    await guard_all(services, world.owner)
    asked = [method for method in every_method(services) if method.takes_caller and method.name not in OPEN | INTERNAL | EXCEPT]
    assert {"secrets.reveal", "secrets.delete", "secrets.batch", "deployments.create_deployment", "resolve.resolve"} <= {
        method.name for method in asked
    }
    refused = set()
    for method in asked:
        before = await state_of(world)
        try:
            answer = await method.call(world.caller(world.owner.token_hash), **arguments(method, spelled_for(method, samples)))
        except ApprovalRequired:
            refused.add(method.name)
        except OverseerError:
            pass
        else:
            assert values_in(answer) == [], method.name
        assert await state_of(world) == before, method.name
    # The policy was there for these, or nothing was asked at all.
    assert refused >= {"secrets.reveal", "secrets.update", "secrets.create", "resolve.resolve", "migration_exports.export"}


@pytest.fixture
async def running(world: World, services: Services, samples: dict[str, Any]) -> dict[str, Any]:
    """The samples, with the rollout over and what runs succeeded; a second version is stored and a policy guards everything."""
    await world.sql("DELETE FROM rollout")
    await world.sql("UPDATE deployment SET state = 'succeeded', finished_at = now()")
    await guard_all(services, world.owner)
    return samples


def attacks(services: Services, samples: dict[str, Any]) -> dict[str, Any]:
    """Every way to a value, another version, an end, or a deployment."""
    secret, secrets = samples["secret_id"], services.secrets
    here = ScopeTarget(app="blog", environment=None, node=None)

    def batch(*operations: Any) -> Any:
        return lambda who: secrets.batch(who, SecretBatch(operations=list(operations)))

    return {
        "reveal": lambda who: secrets.reveal(who, secret, ValueRequest()),
        "an older version": lambda who: secrets.reveal(who, secret, ValueRequest(version=1)),
        "a newer version": lambda who: secrets.reveal(who, secret, ValueRequest(version=2)),
        "resolve": lambda who: services.resolve.resolve(who, ResolveRequest(app="shop", names=["db-password"])),
        "update": lambda who: secrets.update(who, secret, SecretUpdate(value="mine")),
        "immediate update": lambda who: secrets.update(who, secret, SecretUpdate(value="mine", immediate=True)),
        "rotate": lambda who: secrets.rotate(who, secret, SecretRotate(immediate=True)),
        "rotate to a value": lambda who: secrets.rotate(who, secret, SecretRotate(value="mine", immediate=True)),
        "activate": lambda who: secrets.activate(who, secret, SecretActivate(version=2)),
        "immediate activate": lambda who: secrets.activate(who, secret, SecretActivate(version=2, immediate=True)),
        "delete": lambda who: secrets.delete(who, secret, force=True),
        "move": lambda who: secrets.move(who, secret, SecretMove(scope=here, force=True)),
        "rename": lambda who: secrets.move(
            who, secret, SecretMove(scope=ScopeTarget(app=None, environment=None, node=None), name="x", force=True)
        ),
        "shadow it": lambda who: secrets.create(who, SecretCreate(name="db-password", app="shop", node="n1", value="mine")),
        "batch: update": batch(BatchUpdate(id=secret, value="mine", immediate=True)),
        "batch: rotate": batch(BatchRotate(id=secret, immediate=True)),
        "batch: activate": batch(BatchActivate(id=secret, version=2, immediate=True)),
        "batch: delete": batch(BatchDelete(id=secret, force=True)),
        "batch: set": batch(BatchSet(name="db-password", app=None, environment=None, node=None, value="mine", immediate=True)),
        "batch: create": batch(BatchCreate(name="new", app="shop", environment=None, node=None, value="mine")),
        "batch: set what is new": batch(BatchSet(name="new", app="shop", environment=None, node=None, value="mine")),
        "deploy": lambda who: services.deployments.create_deployment(
            who, DeploymentCreate(app="shop", node="n1", bundle=samples["bundle"])
        ),
        "deploy to many": lambda who: services.deployments.create_deployment(
            who, DeploymentCreate(app="shop", nodes=["n1", "n2"], bundle=samples["bundle"])
        ),
        "deploy for swarm": lambda who: services.deployments.create_deployment(
            who, DeploymentCreate(app="shop", node="n1", bundle=samples["bundle"], target="swarm")
        ),
        "undeploy": lambda who: services.deployments.create_deployment(
            who, DeploymentCreate(app="shop", node="n1", action="undeploy")
        ),
        "rollback": lambda who: services.deployments.rollback(who, samples["deployment_id"], DeploymentRollback()),
    }  # fmt: skip


async def test_every_way_round_is_refused_with_one_denial(world: World, services: Services, running: dict[str, Any]) -> None:
    before = await state_of(world)
    for name, attack in attacks(services, running).items():
        caller = world.caller(world.owner.token_hash)
        assert isinstance(await outcome_of(attack(caller)), ApprovalRequired), name
        assert await state_of(world) == before, name
        rows = [(row["outcome"], row["code"]) for row in await world.audit(caller)]
        assert ("denied", "approval_required") in rows, (name, rows)
        assert "allowed" not in {outcome for outcome, _ in rows}, (name, rows)


async def test_the_cascade_of_an_app_takes_no_guarded_secret_with_it(world: World, services: Services) -> None:
    await world.secret("theirs", app="blog")
    await world.secret("free", app="blog")
    await guard_all(services, world.owner, "delete", name="theirs")
    for cascade in (True, False):
        with pytest.raises(OverseerError) as error:
            await services.scopes.delete_app(world.caller(world.owner.token_hash), "blog", cascade=cascade)
        assert isinstance(error.value, ApprovalRequired) is cascade
    assert len(await world.sql("SELECT FROM secret WHERE name IN ('theirs', 'free')")) == 2


async def test_resolving_all_leaves_out_what_is_guarded(world: World, services: Services) -> None:
    await world.secret("open", "x", app="shop")
    await world.secret("closed", "hush", app="shop")
    await guard_all(services, world.owner, "reveal", name="closed")
    found = await services.resolve.resolve(world.owner, ResolveRequest(app="shop"))
    assert [one.name for one in found] == ["open"]
    caller = world.caller(world.owner.token_hash)
    with pytest.raises(ApprovalRequired) as error:
        await services.resolve.resolve(caller, ResolveRequest(app="shop", names=["closed", "open"]))
    assert [(p.place, p.code) for p in error.value.problems] == [("closed", "approval_required")]
    with pytest.raises(OverseerError) as mixed:
        await services.resolve.resolve(caller, ResolveRequest(app="shop", names=["closed", "open", "nothing"]))
    assert [(p.place, p.code) for p in mixed.value.problems] == [("closed", "approval_required"), ("nothing", "missing")]


async def test_a_label_that_guards_is_not_taken_off_by_whoever_may_write(world: World, services: Services) -> None:
    gold = UUID((await world.secret("gold", labels={"tier": "gold"})).id)
    await guard_all(services, world.owner, "reveal", label="tier=gold")
    dev = await world.service_account("developer")
    for labels in ({}, {"tier": "tin"}):
        with pytest.raises(Denied, match="approval_policy:write"):
            await services.secrets.patch(world.caller(dev.token_hash), gold, SecretPatch(labels=labels))
        for operation in (
            BatchPatch(id=gold, labels=labels),
            BatchSet(name="gold", app=None, environment=None, node=None, value="v", labels=labels),
        ):
            with pytest.raises(Denied):
                await services.secrets.batch(world.caller(dev.token_hash), SecretBatch(operations=[operation]))
    patch = SecretPatch(labels={"tier": "gold", "team": "a"}, description="changed")
    await services.secrets.patch(world.caller(dev.token_hash), gold, patch)
    await world.bind(dev, frozenset({Permission.APPROVAL_POLICY_WRITE}))
    await services.secrets.patch(world.caller(dev.token_hash), gold, SecretPatch(labels={}))


async def test_what_is_not_guarded_goes_on_under_the_policy(world: World, services: Services, samples: dict[str, Any]) -> None:
    """A version that is only stored, a deployment's use of a secret whose value nobody may see, and other secrets."""
    await world.sql("DELETE FROM rollout")
    await world.sql("UPDATE deployment SET state = 'succeeded', finished_at = now()")
    await guard_all(services, world.owner, "reveal", "activate", "delete")
    secret, owner = samples["secret_id"], world.owner
    latest = (await services.secrets.get(owner, secret)).view.version
    stored = await services.secrets.update(world.caller(owner.token_hash), secret, SecretUpdate(value="x", activate=False))
    assert (stored.view.version, stored.view.active_version) == (latest + 1, 1)
    order = DeploymentCreate(app="shop", node="n1", bundle=samples["bundle"])
    assert (await services.deployments.create_deployment(world.caller(owner.token_hash), order)).state == "queued"

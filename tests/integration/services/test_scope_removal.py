"""The end of apps, environments and nodes with what belongs to them; descriptions under entity tags; pages."""

from __future__ import annotations

from uuid import UUID

import pytest

from overseer.core.errors import Conflict, Denied, InUse, InvalidInput, PreconditionFailed, Unavailable
from overseer.core.permissions import Permission
from overseer.wire.access import BindingCreate, ServiceAccountCreate
from overseer.wire.scopes import NodePatch, ScopePartCreate, ScopePartPatch
from tests.integration.services.delivery import Delivery
from tests.integration.services.world import World

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

SHOP = "services: {web: {image: x, environment: {T: '${SECRET:token}'}}}\n"


@pytest.fixture
def delivery(world: World) -> Delivery:
    return Delivery(world)


async def deployed(delivery: Delivery) -> None:
    """A secret of the shop that runs on n1, one of another app, and a binding over the shop."""
    await delivery.world.secret("token", "v1", app="shop")
    await delivery.world.secret("key", "v1", app="shop", environment="prod", node="n1")
    await delivery.world.secret("other", "v1", app="blog", environment="prod")
    await delivery.identity.create_service_account(delivery.world.owner, ServiceAccountCreate(name="ci"))
    binding = BindingCreate(principal="ci", role="viewer", app="shop", environment="*", node="*", name="*")
    await delivery.identity.create_binding(delivery.world.owner, binding)
    agent = await delivery.enrolled()
    await delivery.deploy(SHOP)
    await agent.carry_out()


async def ended(delivery: Delivery) -> None:
    await delivery.world.sql("UPDATE deployment SET state = 'superseded'")


async def test_an_app_that_was_deployed_goes_with_all_that_is_its_own(delivery: Delivery) -> None:
    await deployed(delivery)
    owner, scopes = delivery.world.owner, delivery.scopes
    with pytest.raises(Conflict):
        await scopes.delete_app(owner, "shop")
    with pytest.raises(InUse) as refused:
        await scopes.delete_app(owner, "shop", cascade=True)
    assert [problem.place for problem in refused.value.problems] == ["app=shop env=prod node=n1"]
    await ended(delivery)
    shown = await scopes.contents_of_app(owner, "shop")
    caller = delivery.world.caller(owner.token_hash)
    went = await scopes.delete_app(caller, "shop", cascade=True)
    assert went == shown
    assert ([one.name for one in went.secrets], [one.principal for one in went.bindings]) == (["key", "token"], ["ci"])
    assert (went.deployments, went.bundles, went.hidden, went.deployed) == (1, 1, 0, [])
    rows = [(row["action"], row["resource_name"], row["code"]) for row in await delivery.world.audit(caller)]
    assert rows == [
        ("app:delete", "shop", "cascade"), ("secret:delete", "key", ""), ("secret:delete", "token", ""),
        ("binding:delete", "*", ""),
    ]  # fmt: skip
    assert [row["name"] for row in await delivery.world.sql("SELECT name FROM secret")] == ["other"]
    assert [row["name"] for row in await delivery.world.sql("SELECT name FROM app")] == ["blog"]
    for table in ("deployment", "bundle", "deployment_secret", "deployment_group"):
        assert await delivery.world.sql(f"SELECT * FROM {table}") == []


async def test_an_environment_and_a_node_go_alike_and_leave_what_is_others(delivery: Delivery) -> None:
    await deployed(delivery)
    owner = delivery.world.owner
    await ended(delivery)
    went = await delivery.scopes.delete_environment(owner, "prod", cascade=True)
    assert went is not None
    assert [(one.name, one.scope.app) for one in went.secrets] == [("key", "shop"), ("other", "blog")]
    assert len(await delivery.world.sql("SELECT * FROM bundle")) == 1
    with pytest.raises(Conflict):
        await delivery.nodes.delete_node(owner, "n1", cascade=True)
    await delivery.nodes.revoke_node(owner, "n1")
    contents = await delivery.nodes.contents_of_node(owner, "n1")
    assert await delivery.nodes.delete_node(owner, "n1", cascade=True) == contents
    assert await delivery.nodes.delete_node(owner, "n2") is None
    assert await delivery.world.sql("SELECT * FROM node") == []
    assert await delivery.world.sql("SELECT * FROM principal WHERE kind = 'node'") == []


async def test_the_cascade_takes_nothing_that_its_caller_could_not_delete(delivery: Delivery) -> None:
    await deployed(delivery)
    await ended(delivery)
    before = [await delivery.world.sql(f"SELECT * FROM {table} ORDER BY 1") for table in ("secret", "binding", "deployment")]
    caller = await delivery.world.service_account(frozenset({Permission.APP_WRITE, Permission.SECRET_DELETE}))
    shown = await delivery.scopes.contents_of_app(caller, "shop")
    assert (shown.secrets, shown.bindings, shown.hidden) == ([], [], 3)
    with pytest.raises(Denied):
        await delivery.scopes.delete_app(caller, "shop", cascade=True)
    await delivery.world.bind(caller, frozenset({Permission.BINDING_WRITE}), app="shop")
    with pytest.raises(Denied):  # it would take away what it does not hold
        await delivery.scopes.delete_app(caller, "shop", cascade=True)
    bare = await delivery.world.service_account(frozenset({Permission.APP_WRITE}))
    with pytest.raises(Denied):
        await delivery.scopes.delete_app(bare, "shop", cascade=True)
    stranger = await delivery.world.service_account(frozenset({Permission.SECRET_DELETE}))
    with pytest.raises(Unavailable):
        await delivery.scopes.contents_of_app(stranger, "shop")
    counted = [await delivery.world.sql(f"SELECT * FROM {table} ORDER BY 1") for table in ("secret", "deployment")]
    assert counted == [before[0], before[2]]


async def test_descriptions_change_under_their_tag(delivery: Delivery) -> None:
    owner, scopes = delivery.world.owner, delivery.scopes
    for get, patch in ((scopes.get_app, scopes.patch_app), (scopes.get_environment, scopes.patch_environment)):
        name = "shop" if get == scopes.get_app else "prod"
        first = await get(owner, name)
        assert first.etag == '"r1"'
        second = await patch(owner, name, ScopePartPatch(description="new"), first.etag)
        assert (second.view.description, second.etag) == ("new", '"r2"')
        assert (await patch(owner, name, ScopePartPatch())).etag == '"r2"'
        with pytest.raises(PreconditionFailed):
            await patch(owner, name, ScopePartPatch(description="late"), first.etag)
        with pytest.raises(InvalidInput):
            await patch(owner, name, ScopePartPatch(description="x" * 2001))
        stranger = await delivery.world.service_account("viewer", app="blog", environment="staging")
        for call in (get(stranger, name), patch(stranger, name, ScopePartPatch())):
            with pytest.raises(Unavailable):
                await call
    node = await delivery.nodes.get_node(owner, "n1")
    with pytest.raises(PreconditionFailed):
        await delivery.nodes.patch_node(owner, "n1", NodePatch(drained=True), '"r9"')
    assert (await delivery.nodes.patch_node(owner, "n1", NodePatch(drained=True), node.etag)).etag == '"r2"'


async def test_pages_of_parts(delivery: Delivery) -> None:
    owner, scopes = delivery.world.owner, delivery.scopes
    for number in range(7):
        await scopes.create_app(owner, ScopePartCreate(name=f"a{number}"))
    found, cursor = [], None
    while True:
        page = await scopes.list_apps(owner, cursor, 2)
        found += [item.name for item in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert found == [*(f"a{number}" for number in range(7)), "blog", "shop"]
    for bad in ("x", "WzFd", "WyJcdTAwMDAiXQ=="):
        with pytest.raises(InvalidInput):
            await scopes.list_apps(owner, bad)
    with pytest.raises(InvalidInput):
        await scopes.list_environments(owner, None, 0)
    assert UUID((await scopes.get_app(owner, "a3")).view.id)

"""Apps and environments: made by those who may, seen by those whose binding selects them, deleted only when empty."""

from __future__ import annotations

import pytest

from overseer.core.errors import AlreadyExists, Conflict, Denied, InvalidInput, Unavailable
from overseer.server.services.idempotency import Idempotency
from overseer.wire.scopes import ScopePartCreate
from overseer.wire.secrets import SecretCreate
from tests.integration.services.delivery import Delivery
from tests.integration.services.world import World

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]


@pytest.fixture
def delivery(world: World) -> Delivery:
    return Delivery(world)


async def test_lists_show_what_a_binding_selects(delivery: Delivery) -> None:
    dev = await delivery.world.service_account("developer", app="shop", environment="prod", name="db-*")
    assert [row.name for row in (await delivery.scopes.list_apps(dev)).items] == ["shop"]
    assert [row.name for row in (await delivery.scopes.list_environments(dev)).items] == ["prod"]
    assert [row.name for row in (await delivery.nodes.list_nodes(dev)).items] == ["n1", "n2"]


async def test_an_app_bound_principal_cannot_make_apps(delivery: Delivery) -> None:
    dev = await delivery.world.service_account("owner", app="shop")
    with pytest.raises(Denied):
        await delivery.scopes.create_app(dev, ScopePartCreate(name="mine"))


async def test_an_app_that_is_in_use_is_not_deleted(delivery: Delivery) -> None:
    made = await delivery.world.secrets.create(delivery.world.owner, SecretCreate(name="a", value="x", app="shop"))
    with pytest.raises(Conflict, match="still in use"):
        await delivery.scopes.delete_app(delivery.world.owner, "shop")
    [row] = await delivery.world.sql("SELECT app_id FROM scope WHERE app_id IS NOT NULL")
    assert row["app_id"] is not None, "the secret must not have become global"
    assert made.view.scope.app == "shop"


async def test_an_empty_app_is_deleted(delivery: Delivery) -> None:
    await delivery.scopes.delete_app(delivery.world.owner, "blog")
    assert [row.name for row in (await delivery.scopes.list_apps(delivery.world.owner)).items] == ["shop"]


async def test_names_obey_the_rule_and_are_taken_once(delivery: Delivery) -> None:
    for name in ("", "-a", "a b", "a/b", "a:-b", "ä", "x" * 129):
        with pytest.raises(InvalidInput, match="a name has 1 to 128"):
            await delivery.scopes.create_environment(delivery.world.owner, ScopePartCreate(name=name))
    with pytest.raises(AlreadyExists):
        await delivery.scopes.create_app(delivery.world.owner, ScopePartCreate(name="shop"))


async def test_a_repeated_creation_gives_the_first_result(delivery: Delivery) -> None:
    key = Idempotency("k", "POST /api/apps", b'{"name":"new"}')
    first = await delivery.scopes.create_app(delivery.world.owner, ScopePartCreate(name="new"), key)
    again = await delivery.scopes.create_app(delivery.world.owner, ScopePartCreate(name="new"), key)
    assert again == first


async def test_deleting_looks_the_same_for_hidden_and_missing(delivery: Delivery) -> None:
    viewer = await delivery.world.service_account("viewer")
    messages = []
    for name in ("shop", "no-such-app"):
        with pytest.raises(Unavailable) as caught:
            await delivery.scopes.delete_app(viewer, name)
        messages.append(caught.value.message)
    assert messages[0] == messages[1]

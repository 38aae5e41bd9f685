"""A refused deployment says what was perhaps meant, and only what the caller may list."""

from __future__ import annotations

import pytest

from overseer.core.errors import ReferencesRefused
from overseer.core.permissions import Permission
from overseer.core.principals import Caller
from overseer.server.storage.scope_rows import Part
from tests.integration.services.delivery import Delivery
from tests.integration.services.world import World

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

WRONG = """\
services:
  web:
    image: shop:1
    environment:
      - A=${SECRET:db_password}
      - B=${SECRET:staging-only}
      - C=${SECRET:nothing-alike}
"""


@pytest.fixture
async def delivery(world: World) -> Delivery:
    delivery = Delivery(world)
    await delivery.enrolled("n1")
    await world.add(Part.ENVIRONMENT, "test")
    await world.secret("db-password", app="shop")
    await world.secret("staging-only", app="shop", environment="test")
    await world.secret("nothing-alikes", app="shop", environment="test")  # similar, but it does not apply in prod
    return delivery


async def refused(delivery: Delivery, caller: Caller) -> dict[str, str]:
    """The rule of each problem, by its line."""
    bundle = await delivery.bundle(WRONG)
    with pytest.raises(ReferencesRefused) as caught:
        await delivery.deploy(WRONG, caller=caller, bundle=bundle.digest)
    return {problem.place.split(":")[1]: problem.rule for problem in caught.value.problems}


async def test_similar_names_and_other_scopes_are_told_to_who_may_list_them(delivery: Delivery) -> None:
    rules = await refused(delivery, delivery.world.owner)
    assert rules["5"].endswith('; did you mean "db-password"?')
    assert rules["6"].endswith("; it exists for app=shop env=test: set it for this scope, or deploy there")
    assert rules["7"].endswith("make it: overseer secret set nothing-alike --app …")


async def test_what_the_caller_may_not_list_is_never_named(delivery: Delivery) -> None:
    world = delivery.world
    caller = await world.service_account("deployer", app="shop", environment="prod")
    blind = frozenset({Permission.APP_DEPLOY, Permission.APP_BUNDLE_WRITE, Permission.DEPLOYMENT_LIST, Permission.SECRET_USE})
    stranger = await world.service_account(blind)
    for one in (caller, stranger):
        rules = await refused(delivery, one)
        assert not any("db-password" in rule or "env=test" in rule or "did you mean" in rule for rule in rules.values())


async def test_a_name_that_is_hidden_reads_like_one_that_does_not_exist(delivery: Delivery) -> None:
    """Suggestions come from what can be listed, so they do not tell the two apart."""
    world = delivery.world
    caller = await world.service_account("deployer", app="shop", environment="prod")
    await world.secret("db-passwords", app="shop", environment="prod")
    before = await refused(delivery, caller)
    await world.secret("db_password", app="shop")
    assert await refused(delivery, caller) == before
    assert before["5"].endswith('; did you mean "db-passwords"?')

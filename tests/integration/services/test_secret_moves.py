"""Moving, renaming and deleting secrets: both ends decide, versions open at the new place, and nothing that runs is forgotten."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import pytest

from overseer.core.errors import (
    AlreadyExists,
    BatchRefused,
    Conflict,
    Denied,
    InUse,
    OverseerError,
    PreconditionFailed,
    Unavailable,
)
from overseer.core.permissions import Permission
from overseer.server.services.idempotency import Idempotency
from overseer.server.storage.scope_rows import ensure_scope
from overseer.wire.secret_batches import BatchUpdate, ScopeTarget, SecretBatch, SecretMove
from overseer.wire.secrets import SecretActivate, SecretPatch, SecretRotate, SecretUpdate, ValueRequest
from tests.integration.services.delivery import Delivery
from tests.integration.services.world import World, text

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

SHOP = "services: {web: {image: x, environment: {T: '${SECRET:token}'}}}\n"
BOTH = frozenset({Permission.SECRET_DELETE, Permission.SECRET_REVEAL, Permission.SECRET_LIST})


@pytest.fixture
def delivery(world: World) -> Delivery:
    return Delivery(world)


def to(app: str | None = None, environment: str | None = None, node: str | None = None, **fields: Any) -> SecretMove:
    return SecretMove(scope=ScopeTarget(app=app, environment=environment, node=node), **fields)


async def value(world: World, secret_id: UUID, version: int | None = None) -> str:
    return text((await world.secrets.reveal(world.owner, secret_id, ValueRequest(version=version))).value)


async def batch(world: World, *operations: dict[str, Any]) -> object:
    try:
        return await world.secrets.batch(world.owner, msgspec.convert({"operations": list(operations)}, SecretBatch))
    except OverseerError as error:
        return error


async def test_a_moved_secret_keeps_its_versions_and_opens_at_its_new_place_alone(world: World) -> None:
    one = UUID((await world.secret("db", "v1", app="shop")).id)
    await world.secrets.update(world.owner, one, SecretUpdate(value="v2"))
    before = {row["version"]: row for row in await world.sql("SELECT * FROM secret_version")}
    moved = await world.secrets.move(world.owner, one, to(app="blog", environment="prod", name="database"))
    view = moved.view.secret
    assert (view.name, view.scope.app, view.scope.environment) == ("database", "blog", "prod")
    assert (view.version, view.active_version) == (2, 2)
    assert (await value(world, one), await value(world, one, 1)) == ("v2", "v1")
    after = {row["version"]: row for row in await world.sql("SELECT * FROM secret_version")}
    for version in (1, 2):
        old, new = before[version], after[version]
        assert (old["created_at"], old["created_by"], old["readable_until"]) == (
            new["created_at"], new["created_by"], new["readable_until"],
        )  # fmt: skip
        assert (old["id"], old["ciphertext"]) != (new["id"], new["ciphertext"])
    # The envelope holds to the new scope: carried back by hand it does not open.
    async with world.database.work() as session:
        back = await ensure_scope(session, UUID(int=1), (await _row(world, "shop")))
    await world.sql("UPDATE secret SET scope_id = $1", back)
    with pytest.raises(OverseerError, match="data key was changed, moved"):
        await value(world, one)


async def _row(world: World, app: str) -> Any:
    from overseer.core.scopes import Scope
    from overseer.server.storage.scope_rows import Part

    return Scope(app=world.parts[Part.APP, app])


async def test_both_ends_decide_and_both_are_audited(world: World) -> None:
    one = UUID((await world.secret("db", "v1", app="shop")).id)
    for held, fails in (
        (BOTH - {Permission.SECRET_REVEAL}, Denied),
        (BOTH - {Permission.SECRET_DELETE}, Denied),
        (frozenset({Permission.SECRET_WRITE}), Unavailable),
    ):
        caller = await world.service_account(held, app="shop")
        await world.bind(caller, frozenset({Permission.SECRET_WRITE}), app="blog")
        with pytest.raises(fails):
            await world.secrets.move(caller, one, to(app="blog"))
    caller = await world.service_account(BOTH, app="shop")
    with pytest.raises(Unavailable):
        await world.secrets.move(caller, one, to(app="blog"))
    await world.bind(caller, frozenset({Permission.SECRET_WRITE}), app="blog")
    mover = world.caller(caller.token_hash)
    await world.secrets.move(mover, one, to(app="blog"))
    rows = [(row["action"], row["outcome"], row["app"], row["resource_id"]) for row in await world.audit(mover)]
    assert rows == [("secret:move", "allowed", "shop", one), ("secret:move", "allowed", "blog", one)]


async def test_a_move_says_what_it_uncovers_and_what_it_covers(world: World) -> None:
    below = await world.secret("db", "global")
    mine = await world.secret("db", "shop", app="shop")
    other = await world.secret("db", "prod", environment="prod")
    moved = (await world.secrets.move(world.owner, UUID(mine.id), to(app="shop", environment="prod"))).view
    assert {one.id for one in moved.unshadowed} == {below.id, other.id}
    assert {one.id for one in moved.shadowed} == {below.id, other.id}
    narrow = await world.service_account(BOTH, app="shop")
    gone = await world.secrets.delete(narrow, UUID(mine.id))
    assert gone == []  # it may not list what comes to light
    again = await world.secret("db", "shop", app="shop")
    assert {one.id for one in await world.secrets.delete(world.owner, UUID(again.id))} == {below.id, other.id}


async def test_a_taken_place_an_old_tag_and_a_repetition(world: World) -> None:
    one, two = await world.secret("one", app="shop"), await world.secret("one")
    with pytest.raises(AlreadyExists):
        await world.secrets.move(world.owner, UUID(two.id), to(app="shop"))
    with pytest.raises(PreconditionFailed):
        await world.secrets.move(world.owner, UUID(two.id), to(app="blog"), if_match='"v2"')
    body = to(app="blog")
    key = Idempotency("k", "POST /api/secrets/{secret_id}/move", msgspec.json.encode(body))
    first = await world.secrets.move(world.owner, UUID(two.id), body, '"v1"', key)
    again = await world.secrets.move(world.owner, UUID(two.id), body, '"v1"', key)
    assert (first.view.secret, first.etag) == (again.view.secret, again.etag)
    assert (await world.secrets.get(world.owner, UUID(one.id))).view.scope.app == "shop"


async def test_what_is_deployed_stops_a_deletion_and_a_move_unless_forced(delivery: Delivery) -> None:
    world = delivery.world
    one = UUID((await world.secret("token", "v1")).id)
    agent = await delivery.enrolled()
    await delivery.deploy(SHOP)
    with pytest.raises(InUse) as queued:
        await world.secrets.delete(world.owner, one)
    assert queued.value.problems == ()
    await agent.carry_out()
    with pytest.raises(InUse) as refused:
        await world.secrets.delete(world.owner, one)
    assert [(p.place, p.rule) for p in refused.value.problems] == [("app=shop env=prod node=n1", "token of web")]
    blind = await world.service_account(BOTH | {Permission.SECRET_WRITE})
    with pytest.raises(InUse) as hidden:
        await world.secrets.move(blind, one, to(app="shop"))
    assert hidden.value.problems == ()
    await world.secrets.move(world.owner, one, to(app="shop", force=True))
    assert await value(world, one) == "v1"
    await world.secrets.delete(world.owner, one, force=True)


async def test_a_batch_begins_no_rollout(delivery: Delivery) -> None:
    world = delivery.world
    one = await world.secret("token", "v1")
    agent = await delivery.enrolled()
    await delivery.deploy(SHOP)
    await agent.carry_out()
    update = {"operation": "update", "id": one.id, "value": "v2"}
    refused = await batch(world, update)
    assert isinstance(refused, BatchRefused)
    assert [(p.place, p.code) for p in refused.problems] == [("body.operations[0].immediate", "needs_rollout")]
    kept = await batch(world, update | {"activate": False})
    assert not isinstance(kept, OverseerError)
    assert await value(world, UUID(one.id)) == "v1"
    at_once = await batch(world, update | {"value": "v3", "immediate": True})
    assert not isinstance(at_once, OverseerError)
    assert await value(world, UUID(one.id)) == "v3"
    refused = await batch(world, {"operation": "delete", "id": one.id})
    assert isinstance(refused, BatchRefused)
    assert [p.code for p in refused.problems] == ["in_use"]
    rolling = await world.secrets.update(world.owner, UUID(one.id), SecretUpdate(value="v4"))
    assert rolling.view.rollout is not None
    refused = await batch(world, update | {"immediate": True})
    assert isinstance(refused, Conflict)
    with pytest.raises(Conflict):
        await world.secrets.move(world.owner, UUID(one.id), to(app="shop", force=True))
    assert not isinstance(await batch(world, {"operation": "delete", "id": one.id, "force": True}), OverseerError)


@pytest.mark.parametrize("change", ["update", "rotate", "patch", "activate", "delete", "move", "batch"])
@pytest.mark.parametrize("moved", ["scope", "name"])
async def test_a_change_that_was_authorised_elsewhere_does_not_reach_a_secret_that_moved(
    world: World, change: str, moved: str
) -> None:
    """The decision is made, then the row is locked: a move or a new name that commits in between ends the change."""
    one = UUID((await world.secret("db", "v1", app="shop")).id)
    there = UUID((await world.secret("other", "v1", app="blog")).id)
    scope = (await world.sql("SELECT scope_id FROM secret WHERE id = $1", there))[0]["scope_id"]
    caller = await world.service_account(frozenset(Permission) - {Permission.NODE_SERVE}, app="shop", name="db")
    calls = {
        "update": lambda: world.secrets.update(caller, one, SecretUpdate(value="stolen", activate=False)),
        "rotate": lambda: world.secrets.rotate(caller, one, SecretRotate()),
        "patch": lambda: world.secrets.patch(caller, one, SecretPatch(description="stolen")),
        "activate": lambda: world.secrets.activate(caller, one, SecretActivate(version=1)),
        "delete": lambda: world.secrets.delete(caller, one),
        "move": lambda: world.secrets.move(caller, one, to(environment="prod", app="shop")),
        "batch": lambda: world.secrets.batch(
            caller, SecretBatch(operations=[BatchUpdate(id=one, value="stolen", activate=False)])
        ),
    }
    connection = await asyncpg.connect(world.url)
    try:
        async with connection.transaction():
            await connection.execute("SELECT FROM secret WHERE id = $1 FOR UPDATE", one)
            call = asyncio.ensure_future(calls[change]())
            await world.somebody_waits()
            assert not call.done()
            if moved == "scope":
                await connection.execute("UPDATE secret SET scope_id = $2 WHERE id = $1", one, scope)
            else:
                await connection.execute("UPDATE secret SET name = 'payroll' WHERE id = $1", one)
        with pytest.raises((Conflict, BatchRefused, Unavailable)):
            await call
    finally:
        await connection.close()
    [left] = await world.sql("SELECT * FROM secret WHERE id = $1", one)
    assert (left["latest_version"], left["description"]) == (1, "")
    assert left["name"] == "payroll" if moved == "name" else left["scope_id"] == scope

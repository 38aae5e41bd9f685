"""Changing secrets over a real database: versions, preconditions, metadata, rotation, deletion."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from msgspec import UNSET

from overseer.core.errors import AlreadyExists, Denied, InvalidInput, OverseerError, PreconditionFailed, TooLarge, Unavailable
from overseer.core.permissions import Permission
from overseer.core.secret_value import MAX_VALUE_BYTES
from overseer.wire.secrets import (
    GeneratorSpec,
    SecretActivate,
    SecretCreate,
    SecretPatch,
    SecretRotate,
    SecretUpdate,
    ValueRequest,
)
from tests.integration.services.world import World, text, together

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]


async def _value(world: World, secret_id: str, version: int | None = None) -> str:
    return text((await world.secrets.reveal(world.owner, UUID(secret_id), ValueRequest(version=version))).value)


async def test_create_and_reveal(world: World) -> None:
    body = SecretCreate(
        name="db-password",
        value="hunter2",
        app="shop",
        environment="prod",
        description="the shop's database",
        labels={"team": "a", "tier": ""},
        owner="ada",
        expires_at=datetime(2030, 1, 1, tzinfo=UTC),
        rotation={"generate": "hex", "interval_days": 30},
    )
    made = await world.secrets.create(world.owner, body)
    view = made.view
    assert made.etag == '"v1-r1"'
    assert (view.scope.app, view.scope.environment, view.scope.node) == ("shop", "prod", None)
    assert (view.version, view.active_version, view.owner, view.labels) == (1, 1, "ada", {"team": "a", "tier": ""})
    assert (view.description, view.expires_at) == (body.description, body.expires_at)
    assert view.rotation == {"generate": "hex:32", "interval_days": 30}
    assert (await world.secrets.get(world.owner, UUID(view.id))) == made
    shown = await world.secrets.reveal(world.owner, UUID(view.id), ValueRequest())
    assert (shown.id, shown.name, shown.version, text(shown.value)) == (view.id, "db-password", 1, "hunter2")
    created, _, revealed = (await world.audit())[-3:]
    for row, action in ((created, "secret:create"), (revealed, "secret:reveal")):
        assert (row["action"], row["outcome"], row["resource_id"], row["version"]) == (action, "allowed", UUID(view.id), 1)
        assert (row["resource_name"], row["app"], row["environment"], row["node"]) == ("db-password", "shop", "prod", None)


@pytest.mark.parametrize("value", [b"", b"\x00\xff binary", "«text»".encode(), b"x" * MAX_VALUE_BYTES])
async def test_any_bytes_come_back(world: World, value: bytes) -> None:
    made = await world.secrets.create(world.owner, SecretCreate(name="S", value_base64=base64.b64encode(value).decode()))
    assert (await world.secrets.reveal(world.owner, UUID(made.view.id), ValueRequest())).value.reveal() == value


CANARY = "canary-hunter2"
REFUSED: dict[str, dict[str, Any]] = {
    "no value": {},
    "two values": {"value": CANARY, "generate": "hex"},
    "two forms": {"value": CANARY, "value_base64": "aGk="},
    "bad base64": {"value_base64": CANARY + "!"},
    "no padding": {"value_base64": "aGk"},
    "not ascii base64": {"value_base64": "Ä"},
    "url-safe base64": {"value_base64": "__8="},
    "surrogate": {"value": CANARY + "\ud800"},
    "generator": {"generate": CANARY},
    "generator size": {"generate": GeneratorSpec(type="hex", length=4)},
    "name": {"value": CANARY, "name": "a:b"},
    "long name": {"value": CANARY, "name": "a" * 129},
    "NUL in app": {"value": CANARY, "app": "a\x00"},
    "control character": {"value": CANARY, "description": "a\x1b[31m"},
    "NUL": {"value": CANARY, "description": "a\x00"},
    "long description": {"value": CANARY, "description": "a" * 2001},
    "long owner": {"value": CANARY, "owner": "a" * 201},
    "label key": {"value": CANARY, "labels": {"a b": "c"}},
    "label value": {"value": CANARY, "labels": {"a": "c" * 257}},
    "label control": {"value": CANARY, "labels": {"a": "\n"}},
    "many labels": {"value": CANARY, "labels": {f"k{n}": "" for n in range(65)}},
    "naive time": {"value": CANARY, "expires_at": datetime(2030, 1, 1)},  # noqa: DTZ001
    "rotation": {"value": CANARY, "rotation": {"every": CANARY}},
    "rotation generator": {"value": CANARY, "rotation": {"generate": CANARY}},
}


@pytest.mark.parametrize("fields", REFUSED.values(), ids=REFUSED.keys())
async def test_bad_input_is_refused_by_rule(world: World, fields: dict[str, Any]) -> None:
    caller = world.caller(world.owner.token_hash)
    with pytest.raises(InvalidInput) as caught:
        await world.secrets.create(caller, SecretCreate(**{"name": "S", **fields}))
    assert caught.value.problems
    assert CANARY not in repr((caught.value, caught.value.problems))
    assert not await world.sql("SELECT FROM secret")
    [row] = await world.audit(caller)
    assert (row["outcome"], row["code"]) == ("failed", caught.value.code)


@pytest.mark.parametrize("field", ["value", "value_base64"])
@pytest.mark.parametrize("excess", [1, 3 * MAX_VALUE_BYTES])
async def test_a_value_beyond_the_limit(world: World, field: str, excess: int) -> None:
    data = b"x" * (MAX_VALUE_BYTES + excess)
    body = {"value": data.decode()} if field == "value" else {"value_base64": base64.b64encode(data).decode()}
    with pytest.raises(TooLarge) as caught:
        await world.secrets.create(world.owner, SecretCreate(name="S", **body))
    assert len(repr(caught.value)) < 300


async def test_the_limit_counts_bytes(world: World) -> None:
    with pytest.raises(TooLarge):
        await world.secrets.create(world.owner, SecretCreate(name="S", value="ä" * (MAX_VALUE_BYTES // 2 + 1)))


async def test_one_secret_of_a_name_at_a_scope(world: World) -> None:
    for scope in ({}, {"app": "shop"}, {"app": "shop", "environment": "prod"}, {"node": "n1"}):
        await world.secret("S", **scope)
        with pytest.raises(AlreadyExists, match="add a version"):
            await world.secret("S", **scope)
    row = (await world.audit())[-1]
    assert (row["action"], row["outcome"], row["code"], row["resource_id"]) == ("secret:create", "failed", "already_exists", None)


async def test_creates_at_once_make_one(world: World) -> None:
    results = await together(*(world.secret("S", f"v{n}", app="shop", environment="prod") for n in range(8)))
    assert sorted(type(one).__name__ for one in results) == ["AlreadyExists"] * 7 + ["SecretView"]
    assert len(await world.sql("SELECT FROM scope")) == 1


async def test_new_versions(world: World) -> None:
    made = await world.secret("S", "one")
    second = await world.secrets.update(world.owner, UUID(made.id), SecretUpdate(value="two"))
    third = await world.secrets.update(world.owner, UUID(made.id), SecretUpdate(value="three", activate=False))
    assert (second.etag, second.view.version, second.view.active_version) == ('"v2-r2"', 2, 2)
    assert (third.etag, third.view.version, third.view.active_version) == ('"v3-r3"', 3, 2)
    assert third.view.updated_at > second.view.updated_at > made.updated_at
    assert [await _value(world, made.id, version) for version in (None, 1, 2, 3)] == ["two", "one", "two", "three"]
    active = await world.secrets.activate(world.owner, UUID(made.id), SecretActivate(version=1))
    assert (active.etag, active.view.active_version, await _value(world, made.id)) == ('"v3-r4"', 1, "one")
    same = await world.secrets.activate(world.owner, UUID(made.id), SecretActivate(version=1))
    assert same == active
    assert [row["version"] for row in await world.audit() if row["action"] == "secret:activate"] == [1, 1]


@pytest.mark.parametrize("version", [0, -1, 2, 2**31, 2**70])
async def test_a_version_that_does_not_exist(world: World, version: int) -> None:
    made = await world.secret("S")
    for call in (
        world.secrets.activate(world.owner, UUID(made.id), SecretActivate(version=version)),
        world.secrets.reveal(world.owner, UUID(made.id), ValueRequest(version=version)),
    ):
        with pytest.raises(Unavailable):
            await call
        row = (await world.audit())[-1]
        assert (row["outcome"], row["code"], row["resource_id"]) == ("failed", "unavailable", UUID(made.id))


async def test_two_writers_with_one_tag(world: World) -> None:
    made = await world.secrets.create(world.owner, SecretCreate(name="S", value="v1"))
    secret_id = UUID(made.view.id)
    results = await together(
        *(world.secrets.update(world.owner, secret_id, SecretUpdate(value=f"w{n}"), made.etag) for n in range(4))
    )
    refused = [one for one in results if isinstance(one, PreconditionFailed)]
    assert len(refused) == 3
    assert {one.current_version for one in refused} == {2}
    assert [row["version"] for row in await world.sql("SELECT version FROM secret_version ORDER BY 1")] == [1, 2]
    assert len([row for row in await world.audit() if row["code"] == "precondition_failed"]) == 3


async def test_writers_without_a_tag_all_count(world: World) -> None:
    made = await world.secret("S")
    results = await together(*(world.secrets.update(world.owner, UUID(made.id), SecretUpdate(value=f"w{n}")) for n in range(6)))
    assert sorted(one.view.version for one in results) == [2, 3, 4, 5, 6, 7]


async def test_if_match_on_every_change(world: World) -> None:
    made = await world.secret("S", "one")
    secret_id, stale = UUID(made.id), '"v1-r9"'
    calls = (
        world.secrets.update(world.owner, secret_id, SecretUpdate(value="x"), stale),
        world.secrets.patch(world.owner, secret_id, SecretPatch(owner="x"), stale),
        world.secrets.rotate(world.owner, secret_id, SecretRotate(), stale),
        world.secrets.activate(world.owner, secret_id, SecretActivate(version=1), stale),
        world.secrets.delete(world.owner, secret_id, stale),
    )
    for call in calls:
        with pytest.raises(PreconditionFailed) as caught:
            await call
        assert caught.value.current_version == 1
    assert (await world.secrets.get(world.owner, secret_id)).etag == '"v1-r1"'
    for good in ('"v1-r1"', '"v2"', "*", '"v9", "v4-r4"'):
        await world.secrets.update(world.owner, secret_id, SecretUpdate(value="x"), good)
    with pytest.raises(InvalidInput):
        await world.secrets.update(world.owner, secret_id, SecretUpdate(value="x"), "v5")


async def test_patch_changes_what_was_sent(world: World) -> None:
    policy = {"interval_days": 30}
    expiry = datetime(2031, 1, 1, tzinfo=UTC)
    made = await world.secret("S", description="d", labels={"a": "b"}, owner="o", expires_at=expiry, rotation=policy)
    secret_id = UUID(made.id)
    untouched = await world.secrets.patch(world.owner, secret_id, SecretPatch())
    assert untouched.etag == '"v1-r1"'
    first = (await world.secrets.patch(world.owner, secret_id, SecretPatch(description="e", labels={}))).view
    assert (first.description, first.labels, first.owner, first.expires_at, first.rotation) == ("e", {}, "o", expiry, policy)
    cleared = await world.secrets.patch(world.owner, secret_id, SecretPatch(expires_at=None, rotation=None, owner=""))
    assert (cleared.view.owner, cleared.view.expires_at, cleared.view.rotation) == ("", None, None)
    assert (cleared.etag, cleared.view.version) == ('"v1-r3"', 1)
    assert SecretPatch().labels is UNSET
    with pytest.raises(InvalidInput):
        await world.secrets.patch(world.owner, secret_id, SecretPatch(description="a\x07"))


async def test_what_a_rotation_makes(world: World) -> None:
    plain, made_by, policy = (
        await world.secret("plain", "x"),
        await world.secrets.create(world.owner, SecretCreate(name="made", generate="hex:16")),
        await world.secret("policy", "x", rotation={"generate": "uuid"}),
    )
    lengths = {}
    for secret_id in (plain.id, made_by.view.id, policy.id):
        rotated = await world.secrets.rotate(world.owner, UUID(secret_id), SecretRotate())
        assert (rotated.view.version, rotated.view.active_version) == (2, 2)
        lengths[rotated.view.name] = len(await _value(world, secret_id))
    assert lengths == {"plain": 32, "made": 32, "policy": 36}
    await world.secrets.rotate(world.owner, UUID(plain.id), SecretRotate(value="mine"))
    assert await _value(world, plain.id) == "mine"
    await world.secrets.rotate(world.owner, UUID(plain.id), SecretRotate(generate="hex:20"))
    assert len(await _value(world, plain.id)) == 40
    await world.secrets.rotate(world.owner, UUID(plain.id), SecretRotate())
    assert len(await _value(world, plain.id)) == 40  # the generator that it was last made with
    with pytest.raises(InvalidInput):
        await world.secrets.rotate(world.owner, UUID(plain.id), SecretRotate(value="a", generate="hex"))


async def test_who_may_only_rotate_brings_no_value(world: World) -> None:
    made = await world.secret("S", "x")
    rotator = await world.service_account(frozenset({Permission.SECRET_ROTATE, Permission.SECRET_LIST}))
    await world.secrets.rotate(rotator, UUID(made.id), SecretRotate())
    with pytest.raises(Denied, match="secret:write"):
        await world.secrets.rotate(world.caller(rotator.token_hash), UUID(made.id), SecretRotate(value="mine"))
    row = (await world.audit())[-1]
    assert (row["action"], row["outcome"]) == ("secret:rotate", "denied")


async def test_delete_takes_all_history(world: World) -> None:
    made = await world.secret("S", app="shop")
    await world.secrets.update(world.owner, UUID(made.id), SecretUpdate(value="v2"))
    await world.secrets.delete(world.owner, UUID(made.id), '"v2"')
    assert not await world.sql("SELECT FROM secret")
    assert not await world.sql("SELECT FROM secret_version")
    row = (await world.audit())[-1]
    assert (row["action"], row["resource_name"], row["resource_id"], row["app"]) == ("secret:delete", "S", UUID(made.id), "shop")
    with pytest.raises(Unavailable):
        await world.secrets.get(world.owner, UUID(made.id))
    await world.secret("S", app="shop")


async def test_parts_that_do_not_exist_are_named_to_those_who_may_know(world: World) -> None:
    body = SecretCreate(name="S", value="x", app="nope", environment="prod", node="gone")
    with pytest.raises(Unavailable, match="overseer app create") as caught:
        await world.secrets.create(world.owner, body)
    assert [problem.place for problem in caught.value.problems] == ["body.app", "body.node"]
    row = (await world.audit())[-1]
    assert (row["outcome"], row["code"], row["app"], row["node"]) == ("failed", "unavailable", "nope", "gone")


async def test_hidden_and_missing_are_the_same(world: World) -> None:
    """By id, by every method, and by the parts of a scope: a caller of another app cannot tell what exists."""
    hidden = UUID((await world.secret("S", app="blog")).id)
    developer = await world.service_account("developer", app="shop")
    secrets = world.secrets
    calls = {
        "get": lambda one: secrets.get(developer, one),
        "update": lambda one: secrets.update(developer, one, SecretUpdate(value="x"), '"v7"'),
        "patch": lambda one: secrets.patch(developer, one, SecretPatch(owner="x"), '"v7"'),
        "delete": lambda one: secrets.delete(developer, one, '"v7"'),
        "reveal": lambda one: secrets.reveal(developer, one, ValueRequest(version=9)),
        "rotate": lambda one: secrets.rotate(developer, one, SecretRotate(value="x")),
        "versions": lambda one: secrets.versions(developer, one, "bad cursor", 10_000),
        "activate": lambda one: secrets.activate(developer, one, SecretActivate(version=9)),
    }
    for name, call in calls.items():
        assert await _refusal(call(hidden)) == await _refusal(call(uuid4())), name
    scopes: list[tuple[dict[str, str], dict[str, str]]] = [
        ({"app": "blog"}, {"app": "nope"}),
        ({"app": "blog", "environment": "prod"}, {"app": "nope", "environment": "prod"}),
    ]
    for existing, missing in scopes:
        one, other = (SecretCreate(name="S", value="x", **scope) for scope in (existing, missing))
        assert await _refusal(secrets.create(developer, one)) == await _refusal(secrets.create(developer, other))
    assert {row["outcome"] for row in (await world.audit())[-4:]} == {"denied"}


async def _refusal(call: Any) -> tuple[object, ...]:
    with pytest.raises(OverseerError) as caught:
        await call
    error = caught.value
    assert isinstance(error, Unavailable)
    return type(error), error.message, error.problems


async def test_who_may_list_is_told_that_it_is_denied(world: World) -> None:
    made = await world.secret("S", app="shop")
    viewer = await world.service_account("viewer", app="shop")
    with pytest.raises(Denied):
        await world.secrets.reveal(viewer, UUID(made.id), ValueRequest())
    row = (await world.audit())[-1]
    assert (row["action"], row["outcome"], row["code"]) == ("secret:reveal", "denied", "no_binding")


async def test_a_locked_secret_makes_only_its_writers_wait(world: World) -> None:
    """A stranger is refused at once: what it may not write it does not queue for."""
    made = await world.secret("S", app="blog")
    stranger = await world.service_account("developer", app="shop")
    async with world.connection() as connection, connection.transaction():
        await connection.execute("SELECT FROM secret FOR UPDATE")
        with pytest.raises(Unavailable):
            await world.secrets.delete(stranger, UUID(made.id))

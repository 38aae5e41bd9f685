"""Resolution and explanation: precedence, all or nothing, and what a caller may learn."""

from __future__ import annotations

from itertools import product
from typing import Any
from uuid import UUID

import pytest

from overseer.core.errors import Denied, InvalidInput, TooLarge, Unavailable
from overseer.core.permissions import Permission
from overseer.core.principals import Caller
from overseer.core.scopes import PRECEDENCE
from overseer.server.storage.version_rows import MAX_READ_BYTES
from overseer.wire.secrets import ExplainRequest, ResolveRequest, SecretUpdate
from tests.integration.services.world import World, text

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

PLACE = {"app": "shop", "environment": "prod", "node": "n1"}
REVEAL_ONLY = frozenset({Permission.SECRET_REVEAL})


async def _resolve(world: World, caller: Caller | None = None, names: list[str] | None = None, **place: str) -> dict[str, str]:
    answer = await world.resolver.resolve(caller or world.owner, ResolveRequest(names=names, **place))
    return {one.name: text(one.value) for one in answer}


async def _refusal(world: World, caller: Caller, names: list[str], **place: str) -> tuple[str, list[tuple[str, str, str]]]:
    with pytest.raises(Unavailable) as caught:
        await _resolve(world, caller, names, **place)
    return caught.value.message, [(one.place, one.rule, one.code) for one in caught.value.problems]


async def _everywhere(world: World, name: str) -> dict[str, UUID]:
    """A secret of the name at each of the eight scopes that cover PLACE, its value the shape of its scope."""
    made = {}
    for shape in PRECEDENCE:
        scope = {part: PLACE[part] for part in shape.split("+") if part != "global"}
        made[shape] = UUID((await world.secret(name, shape, **scope)).id)
    return made


async def test_the_most_specific_wins_and_each_delete_uncovers_the_next(world: World) -> None:
    made = await _everywhere(world, "S")
    await world.secret("S", "of another app", app="blog")
    for shape in PRECEDENCE:
        assert await _resolve(world, names=["S"], **PLACE) == {"S": shape}
        await world.secrets.delete(world.owner, made[shape])
    with pytest.raises(Unavailable):
        await _resolve(world, names=["S"], **PLACE)


@pytest.mark.parametrize(("app", "environment", "node"), list(product((None, "shop"), (None, "prod"), (None, "n1"))))
async def test_only_scopes_that_cover_the_place_count(
    world: World, app: str | None, environment: str | None, node: str | None
) -> None:
    await _everywhere(world, "S")
    parts = {"app": app, "environment": environment, "node": node}
    place = {part: name for part, name in parts.items() if name}
    expected = next(shape for shape in PRECEDENCE if shape == "global" or set(shape.split("+")) <= place.keys())
    assert await _resolve(world, names=["S"], **place) == {"S": expected}


async def test_order_duplicates_and_the_active_version(world: World) -> None:
    first = await world.secret("A", "a1")
    await world.secret("B", "b1", app="shop")
    await world.secrets.update(world.owner, UUID(first.id), SecretUpdate(value="a2", activate=False))
    answer = await world.resolver.resolve(world.owner, ResolveRequest(names=["B", "A", "B"], app="shop", reason="start"))
    assert [(one.name, one.version, text(one.value)) for one in answer] == [("B", 1, "b1"), ("A", 1, "a1")]
    rows = [row for row in await world.audit() if row["action"] == "secret:resolve"]
    assert [(row["resource_name"], row["outcome"], row["version"], row["app"]) for row in rows] == [
        ("B", "allowed", 1, "shop"),
        ("A", "allowed", 1, None),
    ]
    assert {str(row["resource_id"]) for row in rows} == {one.id for one in answer}
    assert {row["reason"] for row in await world.sql("SELECT reason FROM audit_text")} == {"start"}


async def test_all_names_of_a_place(world: World) -> None:
    await _everywhere(world, "S")
    await world.secret("T", "t", node="n2")
    await world.secret("U", "u", app="shop")
    assert await _resolve(world, app="shop", environment="prod") == {"S": "app+environment", "U": "u"}
    assert await _resolve(world, node="n2") == {"S": "global", "T": "t"}


async def test_all_names_never_falls_through(world: World) -> None:
    """A winner that is denied takes its name away; the global one of the same name is not given instead."""
    await world.secret("S", "shop's", app="shop")
    await world.secret("S", "global")
    await world.secret("T", "t")
    reader = await world.service_account(REVEAL_ONLY, app="unset")
    await world.bind(reader, frozenset({Permission.APP_LIST}))
    assert await _resolve(world, reader, app="shop") == {"T": "t"}


async def test_no_names_and_no_right_leaves_one_row(world: World) -> None:
    await world.secret("S")
    powerless = await world.service_account()
    with pytest.raises(Denied):
        await _resolve(world, powerless)
    assert [row["outcome"] for row in await world.audit(powerless)] == ["denied"]
    nothing = await world.service_account(REVEAL_ONLY, app="blog")
    assert await _resolve(world, nothing, app="blog") == {}
    assert [row["outcome"] for row in await world.audit(nothing)] == ["allowed"]


async def test_a_denied_winner_never_falls_through(world: World) -> None:
    await world.secret("S", "shop's", app="shop")
    await world.secret("S", "global")
    reader = await world.service_account(REVEAL_ONLY, app="unset")
    await world.bind(reader, frozenset({Permission.APP_LIST}))
    assert await _resolve(world, reader, ["S"]) == {"S": "global"}
    _, problems = await _refusal(world, reader, ["S"], app="shop")
    assert [(place, code) for place, _, code in problems] == [("S", "unavailable")]


async def test_one_missing_one_denied_nothing_released(world: World) -> None:
    good = await world.secret("GOOD", app="shop")
    denied = await world.secret("DENIED", app="shop")
    reader = await world.service_account(REVEAL_ONLY, app="shop", name="GOOD")
    before = len(await world.audit())
    message, problems = await _refusal(world, reader, ["GOOD", "MISSING", "DENIED"], app="shop")
    assert "2 of 3" in message
    assert [(place, code) for place, _, code in problems] == [("MISSING", "unavailable"), ("DENIED", "unavailable")]
    assert problems[0][1] == problems[1][1]
    rows = (await world.audit())[before:]
    assert [(row["resource_name"], row["outcome"], row["code"], row["resource_id"]) for row in rows] == [
        ("GOOD", "failed", "unavailable", UUID(good.id)),
        ("MISSING", "failed", "unavailable", None),
        ("DENIED", "denied", "no_binding", UUID(denied.id)),
    ]


async def test_missing_and_denied_are_told_apart_to_who_may_list(world: World) -> None:
    await world.secret("DENIED", app="shop")
    viewer = await world.service_account("viewer")
    _, problems = await _refusal(world, viewer, ["MISSING", "DENIED"], app="shop")
    assert [(place, code) for place, _, code in problems] == [("MISSING", "missing"), ("DENIED", "denied")]


async def test_missing_is_not_told_where_a_covering_scope_is_hidden(world: World) -> None:
    """Else 'missing' against 'unavailable' would tell that a hidden global secret has the name."""
    await world.secret("HIDDEN")
    viewer = await world.service_account("viewer", app="shop")
    _, problems = await _refusal(world, viewer, ["HIDDEN", "NOTHING"], app="shop")
    assert {code for _, _, code in problems} == {"unavailable"}


@pytest.mark.parametrize("method", ["resolve", "all", "explain"])
async def test_a_place_that_may_not_be_known_looks_like_one_that_does_not_exist(world: World, method: str) -> None:
    await world.secret("S")
    await world.secret("S", app="blog")
    reader = await world.service_account("developer", app="shop")
    await world.bind(reader, "developer", app="unset")

    async def outcome(app: str) -> Any:
        if method == "resolve":
            return await _refusal(world, reader, ["S", "T"], app=app)
        if method == "all":
            return await _resolve(world, reader, app=app)
        with pytest.raises(Unavailable) as caught:
            await world.resolver.explain(reader, ExplainRequest(name="S", app=app))
        return caught.value.message, caught.value.problems

    assert await outcome("blog") == await outcome("nope")
    here = await world.audit()
    assert here[-1]["outcome"] in ("denied", "allowed")
    assert not (method != "all" and here[-1]["outcome"] == "allowed")


@pytest.mark.parametrize("place", [{"app": "nope"}, {"environment": "nope"}, {"app": "shop", "node": "nope"}])
async def test_a_part_that_does_not_exist_is_named_to_who_may_know(world: World, place: dict[str, str]) -> None:
    await world.secret("S")
    for call in (
        world.resolver.resolve(world.owner, ResolveRequest(names=["S"], **place)),
        world.resolver.explain(world.owner, ExplainRequest(name="S", **place)),
    ):
        with pytest.raises(Unavailable, match="create it with") as caught:
            await call
        assert [one.place for one in caught.value.problems] == ["body." + next(p for p, n in place.items() if n == "nope")]
        assert (await world.audit())[-1]["outcome"] == "failed"


@pytest.mark.parametrize("names", [[], ["A"] * 501, ["a b"], ["A", "B:c"], ["a\x00"]], ids=["no", "many", "blank", "colon", "0"])
async def test_bad_names(world: World, names: list[str]) -> None:
    with pytest.raises(InvalidInput) as caught:
        await _resolve(world, names=names)
    assert all(len(name) < 2 or name not in caught.value.message for name in names)


async def test_more_than_fits_in_an_answer_is_refused_before_it_is_released(world: World) -> None:
    many = MAX_READ_BYTES // (1024 * 1024) + 1
    for number in range(many):
        await world.secret(f"S{number}", "x" * 1024 * 1024, app="shop")
    with pytest.raises(TooLarge):
        await _resolve(world, app="shop")
    assert (await world.audit())[-1]["outcome"] == "failed"
    assert len(await _resolve(world, names=[f"S{number}" for number in range(many - 2)], app="shop")) == many - 2


async def test_explain(world: World) -> None:
    made = await _everywhere(world, "S")
    answer = await world.resolver.explain(world.owner, ExplainRequest(name="S", **PLACE))
    assert answer.winner is not None
    assert [answer.winner.id, *(one.id for one in answer.shadowed)] == [str(made[shape]) for shape in PRECEDENCE]
    assert answer.precedence == list(PRECEDENCE)
    row = (await world.audit())[-1]
    assert (row["action"], row["outcome"], row["resource_id"]) == ("secret:explain", "allowed", made[PRECEDENCE[0]])
    nothing = await world.resolver.explain(world.owner, ExplainRequest(name="T", **PLACE))
    assert (nothing.winner, nothing.shadowed) == (None, [])


async def test_explain_hides_alike(world: World) -> None:
    made = await _everywhere(world, "S")
    of_shop = await world.service_account("viewer", app="shop")
    answer = await world.resolver.explain(of_shop, ExplainRequest(name="S", **PLACE))
    shown = [shape for shape in PRECEDENCE if "app" in shape]
    assert answer.winner is not None
    assert [answer.winner.id, *(one.id for one in answer.shadowed)] == [str(made[shape]) for shape in shown]
    of_globals = await world.service_account("viewer", app="unset")
    await world.bind(of_globals, frozenset({Permission.APP_LIST}))
    hidden = await world.resolver.explain(of_globals, ExplainRequest(name="S", **PLACE))
    assert (hidden.winner, hidden.shadowed) == (None, [])
    with pytest.raises(Denied):
        await world.resolver.explain(await world.service_account(), ExplainRequest(name="S"))

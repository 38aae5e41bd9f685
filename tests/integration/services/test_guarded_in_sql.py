"""What policies guard is decided by the batch statements as it is by the guard in Python, for random policies and secrets."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from overseer.core.access import Match, NamePattern, PartSelector, Resource
from overseer.core.approvals import Guarded, GuardedAction, Policy, requirement
from overseer.core.errors import ApprovalRequired
from overseer.core.scopes import Scope
from overseer.server.services.resolve_batches import ResolveBatches
from overseer.server.services.reveal_batches import RevealBatches
from overseer.server.services.write_batches import WriteBatches
from overseer.server.storage.approval_policy_rows import insert_policy
from overseer.server.storage.scope_rows import Part
from overseer.server.storage.secret_rows import SecretRow, secret_by_id
from overseer.wire.secrets import ResolveRequest, SecretCreate, SecretUpdate
from tests.integration.services.access_at_random import NAMES, PLACES, again, secrets_everywhere
from tests.integration.services.test_decisions_in_sql import answer
from tests.integration.services.world import World

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

LABELS = ({}, {"tier": "gold"}, {"tier": "tin", "team": "a"})
in_one_world = settings(
    max_examples=10,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
#: Parts by name: the world knows their ids.
drawn_policies = st.lists(
    st.fixed_dictionaries(
        {
            "actions": st.sets(st.sampled_from(sorted(GuardedAction)), min_size=1).map(frozenset),
            "app": st.sampled_from(("any", "unset", "shop", "blog")),
            "environment": st.sampled_from(("any", "any", "unset", "prod", "staging")),
            "node": st.sampled_from(("any", "any", "unset", "n1", "n2")),
            "name": st.sampled_from(("*", "*", "db-*", "db-main", "db_*", "DB-*", "%", "d")),
            "label": st.sampled_from((None, None, ("tier", "gold"), ("tier", ""), ("team", "a"))),
        }
    ),
    min_size=1,
    max_size=3,
)


async def only(world: World, drawn: list[dict[str, Any]]) -> list[Policy]:
    """These policies and no others."""
    await world.sql("DELETE FROM approval_policy")
    made = []
    owner = (await world.sql("SELECT id FROM principal WHERE name = 'owner'"))[0]["id"]
    for number, one in enumerate(drawn):
        parts = [selector(world, part, one[part.value]) for part in Part]
        pattern, hour = NamePattern.parse(one["name"]), timedelta(hours=1)
        policy = Policy(uuid4(), f"p{number}", one["actions"], *parts, pattern, one["label"], 1, hour, hour)
        async with world.database.work() as session:
            await insert_policy(session, policy, "", owner)
        made.append(policy)
    return made


def selector(world: World, part: Part, text: str) -> PartSelector:
    return PartSelector(Match(text)) if text in ("any", "unset") else PartSelector(Match.IS, world.parts[part, text])


async def everything(world: World) -> list[SecretRow]:
    """Secrets at most places, with labels of all kinds."""
    ids = [row["id"] for row in await world.sql("SELECT id FROM secret ORDER BY id")] or await secrets_everywhere(world)
    for number, one in enumerate(ids):
        await world.sql("UPDATE secret SET labels = $2::jsonb WHERE id = $1", one, str(LABELS[number % 3]).replace("'", '"'))
    async with world.database.work() as session:
        return [row for row in [await secret_by_id(session, one) for one in ids] if row is not None]


async def has_scope(world: World, ids: list[UUID | None]) -> bool:
    """A scope that nothing lives at yet has no row, and its first create is never plain."""
    found = "SELECT FROM scope WHERE (app_id, environment_id, node_id) IS NOT DISTINCT FROM ($1::uuid, $2::uuid, $3::uuid)"
    return bool(await world.sql(found, *ids))


def guarded(policies: list[Policy], action: GuardedAction, row: SecretRow) -> bool:
    return requirement(policies, [Guarded(frozenset({action}), row.resource(), row.labels)]) is not None


@given(drawn=drawn_policies, dice=st.randoms(use_true_random=True))
@in_one_world
async def test_reveals_and_resolves(world: World, drawn: list[dict[str, Any]], dice: random.Random) -> None:
    world.gate._limits._burst = 10**6
    rows = await everything(world)
    policies = await only(world, drawn)
    batches, resolves = RevealBatches(world.database, world.gate), ResolveBatches(world.database, world.gate)
    callers = [again(world, world.owner) for _ in rows]
    found = await asyncio.gather(*(batches.release(who, row.id, None) for who, row in zip(callers, rows, strict=True)))
    for one, row, who in zip(found, rows, callers, strict=True):
        assert (one is None) is guarded(policies, GuardedAction.REVEAL, row), row
        if one is None:
            assert await world.audit(who) == []
            alone = await answer(world.secrets._release_alone(again(world, who), row.id, None))
            assert alone[0] is ApprovalRequired
    for _ in range(12):
        place, names = dice.choice(PLACES), dice.sample(NAMES, 2)
        wanted = Scope(place.get("app"), place.get("environment"), place.get("node"))
        together = await resolves.release(again(world, world.owner), wanted, names)
        alone = await answer(world.resolver._release_alone(again(world, world.owner), ResolveRequest(names=names, **place)))
        assert (together is None) is isinstance(alone, tuple)


@given(drawn=drawn_policies, dice=st.randoms(use_true_random=True))
@in_one_world
async def test_new_versions_and_new_secrets(world: World, drawn: list[dict[str, Any]], dice: random.Random) -> None:
    world.gate._limits._burst = 10**6
    rows = await everything(world)
    policies = await only(world, drawn)
    batches = WriteBatches(world.gate, world.keys, world.idempotency)
    activates = [dice.random() < 0.7 for _ in rows]
    found = await asyncio.gather(
        *(
            batches.update(again(world, world.owner), row.id, SecretUpdate(value="n", activate=one), None, None)
            for row, one in zip(rows, activates, strict=True)
        )
    )
    for one, row, activate in zip(found, rows, activates, strict=True):
        assert (one is None) is (activate and guarded(policies, GuardedAction.ACTIVATE, row))
    for number in range(12):
        labels, place = dice.choice(LABELS), dice.choice(PLACES)
        body = SecretCreate(name=f"{dice.choice(('db-', 'db_', 'DB-', 'x'))}{number}", value="v", labels=labels, **place)
        together = await batches.create(again(world, world.owner), body, None)
        await world.sql("DELETE FROM secret WHERE name = $1", body.name)
        ids = [world.parts[part, place[part.value]] if part.value in place else None for part in Part]
        there = Guarded(frozenset({GuardedAction.ACTIVATE}), Resource("secret", body.name, Scope(*ids)), labels)
        assert (together is None) is (requirement(policies, [there]) is not None or not await has_scope(world, ids))


async def test_a_label_that_comes_between_decision_and_lock_is_decided_again(world: World) -> None:
    """The statement decides before it has the lock; a policy of a label must not miss the secret that gets it meanwhile."""
    row = (await everything(world))[0]
    await world.sql("UPDATE secret SET labels = '{}' WHERE id = $1", row.id)
    gold = {"actions": frozenset({GuardedAction.ACTIVATE}), "app": "any", "environment": "any", "node": "any", "name": "*"}
    await only(world, [{**gold, "label": ("tier", "gold")}])
    batches = WriteBatches(world.gate, world.keys, world.idempotency)
    original = batches._claim

    async def label_first(*arguments: Any) -> None:
        await world.sql("""UPDATE secret SET labels = '{"tier": "gold"}' WHERE id = $1""", row.id)
        await original(*arguments)

    batches._claim = label_first  # type: ignore[method-assign]
    assert await batches.update(world.owner, UUID(str(row.id)), SecretUpdate(value="n"), None, None) is None

"""Random people with random rights, for holding the decision in SQL against the gate's: hypothesis draws, the world makes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import asyncpg
from hypothesis import strategies as st

from overseer.core.permissions import Permission
from overseer.core.principals import Caller
from tests.integration.services.world import World

P = Permission
PLACES = (
    {}, {"app": "shop"}, {"app": "blog"}, {"environment": "prod"}, {"node": "n1"}, {"app": "shop", "environment": "prod"},
    {"app": "shop", "environment": "staging", "node": "n2"}, {"app": "blog", "environment": "prod", "node": "n1"},
)  # fmt: skip
NAMES = ("db-main", "db_main", "DB-main", "other")
BOTH = frozenset({P.SECRET_REVEAL, P.SECRET_WRITE})
LISTS = frozenset({P.SECRET_LIST, P.APP_LIST, P.ENVIRONMENT_LIST, P.NODE_LIST})
PERMISSIONS = (BOTH, BOTH, BOTH, BOTH | LISTS, LISTS, frozenset({P.SECRET_USE}), frozenset({P.APP_LIST}))
PEERS = ("192.0.2.7", "10.1.2.3", "::ffff:10.1.2.3", "2001:db8::7", "", "not an address")
NETWORKS = ("{10.0.0.0/8}", "{192.0.2.7/32}", "{2001:db8::/32}", "{10.0.0.0/8,2001:db8::/64}")


@dataclass(frozen=True)
class Grant:
    """One binding; ``hours`` until it ends."""

    permissions: frozenset[Permission]
    app: str
    environment: str
    node: str
    pattern: str
    hours: int | None
    to_group: bool


@dataclass(frozen=True)
class Person:
    """A service account. ``fault`` is what is wrong with its credential, if anything."""

    grants: tuple[Grant, ...]
    networks: str | None
    fault: str
    peer: str


FAULTS = {
    "": "SELECT $1::bytea",
    "revoked": "UPDATE token SET revoked_at = now() WHERE hash = $1",
    "expired": "UPDATE token SET expires_at = now() WHERE hash = $1",
    "disabled": "UPDATE principal SET disabled_at = now() WHERE id = (SELECT principal_id FROM token WHERE hash = $1)",
    "idle": "UPDATE token SET kind = 'session', idle_seconds = 60, created_at = now() - interval '61 seconds' WHERE hash = $1",
    "busy": "UPDATE token SET kind = 'session', idle_seconds = 60, last_used_at = now() - interval '9 seconds' WHERE hash = $1",
}

grants = st.builds(
    Grant,
    permissions=st.sampled_from(PERMISSIONS),
    app=st.sampled_from(("any", "unset", "shop", "blog")),
    environment=st.sampled_from(("any", "any", "unset", "prod", "staging")),
    node=st.sampled_from(("any", "any", "unset", "n1", "n2")),
    pattern=st.sampled_from(("*", "*", "*", "db-*", "db-main", "db_*", "DB-*", "%", "d")),
    hours=st.sampled_from((None, None, None, 1, -1)),
    to_group=st.booleans(),
)
people = st.builds(
    Person,
    grants=st.lists(grants, min_size=1, max_size=3).map(tuple),
    networks=st.sampled_from((*[None] * 8, *NETWORKS)),
    fault=st.sampled_from((*[""] * 12, *FAULTS)),
    peer=st.sampled_from(PEERS),
)


async def make_all(world: World, drawn: Sequence[Person]) -> list[Caller]:
    """The callers that ``drawn`` describe, each with a principal, a group and a token of its own."""
    async with world.connection() as connection:
        return [await _make(world, connection, person) for person in drawn]


async def _make(world: World, connection: asyncpg.Connection, person: Person) -> Caller:
    caller = await world.service_account()
    assert caller.token_hash is not None
    group = uuid4()
    await connection.execute("INSERT INTO principal_group (id, name) VALUES ($1, $2)", group, f"g-{group.hex}")
    member = "INSERT INTO group_member SELECT principal_id, $2 FROM token WHERE hash = $1"
    await connection.execute(member, caller.token_hash, group)
    for grant in person.grants:
        await world.bind(
            caller,
            grant.permissions,
            app=grant.app,
            environment=grant.environment,
            node=grant.node,
            name=grant.pattern,
            expires_at=None if grant.hours is None else datetime.now(UTC) + timedelta(hours=grant.hours),
            subject=group if grant.to_group else None,
        )
    await connection.execute(FAULTS[person.fault], caller.token_hash)
    if person.networks is not None:
        bound = "UPDATE token SET networks = $2::text::cidr[] WHERE hash = $1"
        await connection.execute(bound, caller.token_hash, person.networks)
    return Caller(caller.token_hash, caller.request_id, person.peer, caller.client)


def again(world: World, caller: Caller) -> Caller:
    """Another request of the same caller."""
    return Caller(caller.token_hash, world.caller(None).request_id, caller.peer, caller.client)


async def secrets_everywhere(world: World) -> list[UUID]:
    """A secret of each name at most of the places."""
    return [
        UUID((await world.secret(name, "v", **place)).id)
        for number, (name, place) in enumerate((name, place) for name in NAMES for place in PLACES)
        if number % 5
    ]

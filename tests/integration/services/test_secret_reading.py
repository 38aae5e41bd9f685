"""Lists with their filters and pages, versions, expiry, reasons."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from overseer.core.access import Allowed, Resource, decide
from overseer.core.errors import Denied, InvalidInput
from overseer.core.permissions import Permission
from overseer.core.scopes import Scope
from overseer.server.storage import secret_rows
from overseer.server.storage.identity_rows import identify
from overseer.server.storage.secret_rows import SecretFilter, visible_page
from overseer.wire.messages import Page
from overseer.wire.secrets import SecretUpdate, SecretView, ValueRequest, VersionView
from tests.integration.services.world import World, text

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

#: Values of ``FEW_SECRETS`` with which everything here is few, and many.
WAYS = (1000, 0)


async def _names(world: World, **filters: Any) -> list[str]:
    return [item.name for item in (await world.secrets.list(world.owner, **filters)).items]


@pytest.fixture
async def shelf(world: World) -> World:
    await world.secret("db_url", description="The Main database", labels={"team": "a"})
    await world.secret("dbxurl", app="shop", labels={"team": "b", "tier": "1"})
    await world.secret("API", app="shop", environment="prod")
    await world.secret("api", app="shop", environment="prod", node="n1", labels={"team": "a"})
    await world.secret("cert", node="n2")
    await world.secret("zeta", app="blog", description="100% of MAIN")
    return world


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, ["API", "api", "cert", "db_url", "dbxurl", "zeta"]),
        ({"app": "shop"}, ["API", "api", "dbxurl"]),
        ({"app": "shop", "environment": "prod"}, ["API", "api"]),
        ({"node": "n2"}, ["cert"]),
        ({"app": "nope"}, []),
        ({"scope": "global"}, ["db_url"]),
        ({"scope": "app"}, ["dbxurl", "zeta"]),
        ({"scope": "app+environment"}, ["API"]),
        ({"scope": "environment+app"}, ["API"]),
        ({"scope": "app+node+environment"}, ["api"]),
        ({"scope": "app", "app": "shop"}, ["dbxurl"]),
        ({"name": "api"}, ["api"]),
        ({"name": "db_*"}, ["db_url"]),
        ({"name": "db*"}, ["db_url", "dbxurl"]),
        ({"name": "*"}, ["API", "api", "cert", "db_url", "dbxurl", "zeta"]),
        ({"label": "team"}, ["api", "db_url", "dbxurl"]),
        ({"label": "team=a"}, ["api", "db_url"]),
        ({"label": "team="}, []),
        ({"q": "main"}, ["db_url", "zeta"]),
        ({"q": "100%"}, ["zeta"]),
        ({"q": "B_"}, ["db_url"]),
        ({"q": ""}, ["API", "api", "cert", "db_url", "dbxurl", "zeta"]),
    ],
    ids=str,
)
async def test_filters(shelf: World, filters: dict[str, Any], expected: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether few secrets are sorted or many are gone through in order."""
    before = len(await shelf.audit())
    for few in WAYS:
        monkeypatch.setattr(secret_rows, "FEW_SECRETS", few)
        assert await _names(shelf, **filters) == expected
    assert len(await shelf.audit()) == before + 2


@pytest.mark.parametrize(
    "filters",
    [
        {"scope": "environment+environment"},
        {"scope": "everything"},
        {"scope": ""},
        {"limit": 0},
        {"limit": 501},
        {"cursor": "x"},
        {"cursor": "WzFd"},
        {"cursor": "Ä"},
        {"name": "a\x00"},
        {"q": "\ud800"},
        {"label": "a\x00"},
        {"q": "q" * 1000},
    ],
    ids=ascii,
)
async def test_bad_filters(world: World, filters: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        await world.secrets.list(world.owner, **filters)


@pytest.mark.parametrize("limit", [1, 4, 500])
@pytest.mark.parametrize("few", WAYS)
async def test_pages_cover_everything_once(shelf: World, limit: int, few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secret_rows, "FEW_SECRETS", few)
    await shelf.secret("api", app="blog")  # the same name twice: the id breaks the tie
    seen: list[str] = []
    cursor: str | None = None
    for _ in range(10):
        page: Page[SecretView] = await shelf.secrets.list(shelf.owner, cursor=cursor, limit=limit)
        assert 1 <= len(page.items) <= limit
        seen += [item.id for item in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert len(seen) == len(set(seen)) == 7


async def test_a_list_needs_the_permission_somewhere(world: World) -> None:
    with pytest.raises(Denied):
        await world.secrets.list(await world.service_account())
    assert not (await world.secrets.list(await world.service_account("viewer", app="blog"))).items


async def test_versions_newest_first(world: World) -> None:
    made = await world.secret("S")
    developer = await world.service_account("developer")
    for n in range(4):
        await world.secrets.update(developer, UUID(made.id), SecretUpdate(value=f"v{n}", activate=n < 2))
    collected: list[VersionView] = []
    cursor: str | None = None
    while True:
        page = await world.secrets.versions(world.owner, UUID(made.id), cursor, 2)
        collected += page.items
        cursor = page.next_cursor
        if cursor is None:
            break
    assert [(one.version, one.active) for one in collected] == [(5, False), (4, False), (3, True), (2, False), (1, False)]
    assert {one.created_by for one in collected[:4]} != {"owner"}
    assert collected[-1].created_by == "owner"
    for bad in ("x", "WyJhIl0=", "WzBd"):
        with pytest.raises(InvalidInput):
            await world.secrets.versions(world.owner, UUID(made.id), bad, 2)


async def test_an_expired_secret_is_served(world: World) -> None:
    made = await world.secret("S", "still here", expires_at=datetime.now(UTC) - timedelta(days=1))
    assert text((await world.secrets.reveal(world.owner, UUID(made.id), ValueRequest())).value) == "still here"


async def test_a_reason_goes_to_the_log(world: World) -> None:
    made = await world.secret("S")
    await world.secrets.reveal(world.owner, UUID(made.id), ValueRequest(reason="ticket 7"))
    [row] = await world.sql("SELECT t.reason FROM audit a JOIN audit_text t ON t.id = a.text_id")
    assert row["reason"] == "ticket 7"


async def test_a_page_of_many_secrets_ends_when_it_is_full(world: World) -> None:
    """No more secrets are read than the page needs, wherever in the order of names it is: nothing is sorted first."""
    await world.secret("S")
    many = """
        INSERT INTO secret (id, scope_id, name, latest_version, active_version)
        SELECT gen_random_uuid(), (SELECT scope_id FROM secret LIMIT 1), 'many-' || lpad(n::text, 5, '0'), 1, 1
        FROM generate_series(1, 3000) n
    """
    async with world.connection() as connection, connection.transaction():
        await connection.execute("SET session_replication_role = replica")  # they have no versions
        await connection.execute(many)
    await world.sql("ANALYZE secret")
    actor = (await world.sql("SELECT id FROM principal WHERE name = 'owner'"))[0]["id"]
    read = "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'secret'"
    for wanted, after, first in (
        (SecretFilter(), None, "S"),
        (SecretFilter(), ("many-02000", UUID(int=2**128 - 1)), "many-02001"),
        (SecretFilter(name="many-01", name_is_prefix=True), None, "many-01000"),
        (SecretFilter(name="many-01777"), None, "many-01777"),
    ):
        async with world.database.work() as session:
            [(before,)] = await session._connection.fetch(read)  # this connection's own counters
            page = await visible_page(session, actor, Permission.SECRET_LIST, datetime.now(UTC), wanted, after, 20)
            [(rows,)] = await session._connection.fetch(read)
        assert page[0].name == first
        assert rows - before < 1_200, (
            "beside what tells that there are more than a thousand, twenty rows and a few were to be read"
        )


NAMES = ("a", "a_b", "axb", "A", "a.b", "b")
PATTERNS = ("*", "a*", "a_*", "a", "a_b", "A*", "z*", "b")


@pytest.fixture
async def library(world: World) -> World:
    """Each name at each scope over two apps, two environments and two nodes."""
    for name in NAMES:
        for app in (None, "shop", "blog"):
            for environment in (None, "prod"):
                for node in (None, "n1"):
                    await world.secret(name, app=app, environment=environment, node=node)
    return world


@dataclass(frozen=True)
class Grant:
    """A binding to be made, by names; of the caller itself or of a group that it is in."""

    permissions: frozenset[Permission]
    app: str
    environment: str
    node: str
    name: str
    lives: timedelta | None
    in_group: bool


GRANTS = st.lists(
    st.builds(
        Grant,
        permissions=st.sampled_from(
            [
                frozenset({Permission.SECRET_LIST}),
                frozenset({Permission.SECRET_REVEAL, Permission.SECRET_WRITE}),
                frozenset({Permission.SECRET_LIST, Permission.KEY_WRITE}),
            ]
        ),
        app=st.sampled_from(["any", "unset", "shop", "blog"]),
        environment=st.sampled_from(["any", "unset", "prod", "staging"]),
        node=st.sampled_from(["any", "unset", "n1"]),
        name=st.sampled_from(PATTERNS),
        lives=st.sampled_from([None, timedelta(seconds=-5), timedelta(hours=1)]),
        in_group=st.booleans(),
    ),
    max_size=4,
)


@given(grants=GRANTS)
@settings(max_examples=45, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_the_list_agrees_with_the_decision(library: World, grants: list[Grant]) -> None:
    """The SQL of the list and ``core.access.decide`` are one decision, over the caller's own bindings and its groups'."""
    caller = await library.service_account(frozenset({Permission.SECRET_LIST}), name="nothing-has-this-name")
    async with library.database.work() as session:
        identified = await identify(session, caller.token_hash or b"", "")
    assert identified is not None
    group = uuid4()
    await library.sql("INSERT INTO principal_group (id, name) VALUES ($1, $2)", group, str(group))
    await library.sql("INSERT INTO group_member (principal_id, group_id) VALUES ($1, $2)", identified.actor.id, group)
    for grant in grants:
        await library.bind(
            caller,
            grant.permissions,
            app=grant.app,
            environment=grant.environment,
            node=grant.node,
            name=grant.name,
            expires_at=None if grant.lives is None else identified.now + grant.lives,
            subject=group if grant.in_group else None,
        )
    async with library.database.work() as session:
        found = await identify(session, caller.token_hash or b"", "")
    assert found is not None
    assert len(found.actor.bindings) == 1 + len(grants)
    rows = await library.sql(
        "SELECT s.id, s.name, c.app_id, c.environment_id, c.node_id FROM secret s JOIN scope c ON c.id = s.scope_id"
    )
    expected = {
        str(row["id"])
        for row in rows
        if isinstance(decide(found.actor.bindings, Permission.SECRET_LIST, _resource(row), found.now), Allowed)
    }
    for few in WAYS:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(secret_rows, "FEW_SECRETS", few)
            listed = (await library.secrets.list(caller, limit=500)).items
        assert {item.id for item in listed} == expected, few


def _resource(row: Any) -> Resource:
    return Resource("secret", row["name"], Scope(row["app_id"], row["environment_id"], row["node_id"]))

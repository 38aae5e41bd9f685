"""Roles that change, groups and their members, accounts that are switched off: with all that follows, and no further."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from overseer.core.errors import (
    AlreadyDone,
    AlreadyExists,
    Conflict,
    Denied,
    InvalidInput,
    OverseerError,
    PreconditionFailed,
    Unauthenticated,
    Unavailable,
)
from overseer.core.permissions import BUILT_IN_ROLES, Permission, to_bits
from overseer.core.principals import Caller
from overseer.core.secret_value import SecretValue
from overseer.crypto.tokens import token_hash
from overseer.server.services.idempotency import Idempotency
from overseer.wire.access import (
    BindingCreate,
    GroupCreate,
    GroupPatch,
    RoleCreate,
    RolePatch,
    ServiceAccountCreate,
    ServiceAccountPatch,
    TokenCreate,
    TokenRotate,
)
from tests.integration.services.delivery import Delivery
from tests.integration.services.world import World

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

LIST, REVEAL = Permission.SECRET_LIST, Permission.SECRET_REVEAL


class Setting:
    """A delivery with the account ``ci``, a caller of it, and shorthands of the owner's."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.delivery = Delivery(world)
        self.identity = self.delivery.identity

    @property
    def owner(self) -> Caller:
        return self.world.caller(self.world.owner.token_hash)

    async def account(self, name: str = "ci") -> tuple[UUID, Caller]:
        made = await self.identity.create_service_account(self.owner, ServiceAccountCreate(name=name))
        token = await self.identity.create_token(self.owner, TokenCreate(principal=name))
        return UUID(made.id), self.world.caller(token_hash(SecretValue(token.token)))

    async def role(self, name: str = "reader", *permissions: Permission) -> UUID:
        body = RoleCreate(name=name, permissions=[one.value for one in permissions or (LIST,)])
        return UUID((await self.identity.create_role(self.owner, body)).id)

    async def group(self, name: str = "ops", *members: str) -> UUID:
        group = UUID((await self.identity.create_group(self.owner, GroupCreate(name=name))).id)
        for member in members:
            await self.identity.add_member(self.owner, group, member)
        return group

    async def bind(self, role: str, holder: str | None = "ci", **fields: Any) -> UUID:
        body = {"principal": holder, "app": "*", "environment": "*", "node": "*", "name": "*"} | fields
        return UUID((await self.identity.create_binding(self.owner, BindingCreate(role=role, **body))).id)

    async def may_list(self, caller: Caller) -> bool:
        try:
            await self.world.secrets.list(self.world.caller(caller.token_hash))
        except (Denied, Unauthenticated):
            return False
        return True


@pytest.fixture
def setting(world: World) -> Setting:
    return Setting(world)


# Roles


async def test_a_change_of_a_role_holds_in_every_binding_at_once(setting: Setting, world: World) -> None:
    _, caller = await setting.account()
    role = await setting.role("reader", LIST)
    await setting.bind("reader")
    assert await setting.may_list(caller)
    changed = await setting.identity.patch_role(setting.owner, role, RolePatch(permissions=["secret:use", "app:list"]))
    assert changed.view.permissions == ["app:list", "secret:use"]
    assert not await setting.may_list(caller)
    bits = await world.sql("SELECT DISTINCT permissions FROM binding WHERE role_id = $1", role)
    assert [row["permissions"] for row in bits] == [to_bits([Permission.SECRET_USE, Permission.APP_LIST])]


async def test_nobody_makes_a_role_more_than_they_hold_over_each_binding(setting: Setting, world: World) -> None:
    await setting.account()
    role = await setting.role("reader", LIST)
    await setting.bind("reader", app="shop")
    held = frozenset({Permission.ROLE_WRITE, Permission.BINDING_WRITE, LIST})
    everywhere = await world.service_account(held)
    with pytest.raises(Denied, match="more than you hold"):
        await setting.identity.patch_role(everywhere, role, RolePatch(permissions=["secret:list", "secret:reveal"]))
    elsewhere = await world.service_account(frozenset({Permission.ROLE_WRITE}))
    await world.bind(elsewhere, held | {REVEAL}, app="blog")
    for body in (RolePatch(permissions=["secret:list", "secret:reveal"]), RolePatch(permissions=["app:list"])):
        with pytest.raises(Denied):
            await setting.identity.patch_role(world.caller(elsewhere.token_hash), role, body)
    brief = await world.service_account(held | {REVEAL}, expires_at=datetime.now(UTC) + timedelta(hours=1))
    with pytest.raises(Denied):
        await setting.identity.patch_role(brief, role, RolePatch(permissions=["secret:list", "secret:reveal"]))
    enough = await world.service_account(held | {REVEAL}, app="shop")
    await world.bind(enough, frozenset({Permission.ROLE_WRITE}))
    await setting.identity.patch_role(enough, role, RolePatch(permissions=["secret:list", "secret:reveal"]))


async def test_nobody_takes_from_a_role_what_they_do_not_hold(setting: Setting, world: World) -> None:
    await setting.account()
    role = await setting.role("reader", LIST, REVEAL)
    await setting.bind("reader")
    weak = await world.service_account(frozenset({Permission.ROLE_WRITE, Permission.BINDING_WRITE, LIST}))
    with pytest.raises(Denied, match="take away"):
        await setting.identity.patch_role(weak, role, RolePatch(permissions=["secret:list"]))
    with pytest.raises(Denied, match="take away"):
        await setting.identity.delete_role(world.caller(weak.token_hash), role, cascade=True)


@pytest.mark.parametrize("name", sorted(BUILT_IN_ROLES))
async def test_built_in_roles_do_not_change(setting: Setting, world: World, name: str) -> None:
    [row] = await world.sql("SELECT id FROM role WHERE name = $1", name)
    with pytest.raises(Conflict, match="built-in"):
        await setting.identity.patch_role(setting.owner, row["id"], RolePatch(name="other"))
    with pytest.raises(Conflict, match="built-in"):
        await setting.identity.delete_role(setting.owner, row["id"], cascade=True)


async def test_a_role_in_use_goes_only_with_its_bindings_and_a_row_for_each(setting: Setting, world: World) -> None:
    _, caller = await setting.account()
    role = await setting.role()
    bindings = {await setting.bind("reader"), await setting.bind("reader", app="shop")}
    with pytest.raises(Conflict, match="2 bindings"):
        await setting.identity.delete_role(setting.owner, role)
    assert await setting.may_list(caller)
    asked = setting.owner
    await setting.identity.delete_role(asked, role, cascade=True)
    assert not await setting.may_list(caller)
    rows = await world.audit(asked)
    assert [row["action"] for row in rows] == ["role:delete", "binding:delete", "binding:delete"]
    assert {row["resource_id"] for row in rows[1:]} == bindings
    with pytest.raises(Unavailable):
        await setting.identity.get_role(setting.owner, role)


@pytest.mark.parametrize("permissions", [[], ["secret:everything"], ["node:serve"], ["secret:list", "secret:list"]])
async def test_what_a_role_cannot_hold_is_refused(setting: Setting, permissions: list[str]) -> None:
    with pytest.raises(InvalidInput, match="cannot hold"):
        await setting.identity.create_role(setting.owner, RoleCreate(name="x", permissions=permissions))


async def test_roles_have_a_name_each_and_an_entity_tag(setting: Setting) -> None:
    role = await setting.role()
    with pytest.raises(AlreadyExists, match="role of that name"):
        await setting.role()
    other = await setting.role("other")
    with pytest.raises(AlreadyExists):
        await setting.identity.patch_role(setting.owner, other, RolePatch(name="reader"))
    tagged = await setting.identity.get_role(setting.owner, role)
    await setting.identity.patch_role(setting.owner, role, RolePatch(description="x"), tagged.etag)
    with pytest.raises(PreconditionFailed):
        await setting.identity.patch_role(setting.owner, role, RolePatch(description="y"), tagged.etag)
    with pytest.raises(PreconditionFailed):
        await setting.identity.delete_role(setting.owner, role, if_match=tagged.etag)
    with pytest.raises(InvalidInput):
        await setting.identity.delete_role(setting.owner, role, if_match="r1")


async def test_a_binding_made_while_its_role_changes_gets_the_changed_bits(setting: Setting, world: World) -> None:
    """Whichever comes first: no binding is left with bits that its role no longer has."""
    await setting.account()
    role = await setting.role("reader", LIST)
    for number in range(5):
        wanted = ["secret:list"] if number % 2 else ["secret:list", "secret:reveal"]
        await asyncio.gather(
            setting.bind("reader"),
            setting.identity.patch_role(setting.owner, role, RolePatch(permissions=wanted)),
            setting.bind("reader"),
        )
        left = "SELECT b.id FROM binding b JOIN role r ON r.id = b.role_id AND r.permissions <> b.permissions"
        assert await world.sql(left) == []


# Groups


async def test_a_member_holds_what_its_group_holds_from_the_next_request_on(setting: Setting) -> None:
    _, caller = await setting.account()
    group = await setting.group("ops")
    await setting.bind("viewer", None, group="ops")
    assert not await setting.may_list(caller)
    asked = setting.owner
    await setting.identity.add_member(asked, group, "ci")
    await setting.identity.add_member(setting.owner, group, "ci")
    assert await setting.may_list(caller)
    assert [row["resource_name"] for row in await setting.world.audit(asked)] == ["ops", "ci"]
    [member] = (await setting.identity.list_members(setting.owner, group)).items
    assert (member.name, (await setting.identity.get_group(setting.owner, group)).view.members) == ("ci", 1)
    await setting.identity.remove_member(setting.owner, group, "ci")
    assert not await setting.may_list(caller)


async def test_a_group_goes_with_its_bindings_and_keeps_its_members(setting: Setting, world: World) -> None:
    _, caller = await setting.account()
    group = await setting.group("ops", "ci")
    await setting.bind("viewer", None, group="ops")
    await setting.identity.delete_group(setting.owner, group)
    assert not await setting.may_list(caller)
    assert not await world.sql("SELECT id FROM binding WHERE subject_id = $1", group)
    assert (await setting.identity.me(caller)).name == "ci"


async def test_nobody_adds_to_or_empties_a_group_that_may_do_more(setting: Setting, world: World) -> None:
    await setting.account()
    group = await setting.group("ops", "ci")
    await setting.bind("developer", None, group="ops")
    weak = await world.service_account(frozenset({Permission.PRINCIPAL_WRITE, Permission.BINDING_WRITE, LIST}))
    name = (await setting.identity.me(weak)).name
    for call in (
        setting.identity.add_member(world.caller(weak.token_hash), group, name),
        setting.identity.remove_member(world.caller(weak.token_hash), group, "ci"),
        setting.identity.delete_group(world.caller(weak.token_hash), group),
        setting.identity.patch_group(world.caller(weak.token_hash), group, GroupPatch(name="other")),
    ):
        with pytest.raises(Denied):
            await call
    unbound = await world.service_account("developer")
    await world.bind(unbound, frozenset({Permission.PRINCIPAL_WRITE}))
    with pytest.raises(Denied, match="may do more"):
        await setting.identity.add_member(unbound, group, name)


async def test_groups_are_renamed_and_their_names_are_their_own(setting: Setting) -> None:
    group = await setting.group("ops")
    await setting.group("sre")
    with pytest.raises(AlreadyExists, match="group of that name"):
        await setting.identity.patch_group(setting.owner, group, GroupPatch(name="sre"))
    tag = (await setting.identity.get_group(setting.owner, group)).etag
    view = (await setting.identity.patch_group(setting.owner, group, GroupPatch(name="operators"), tag)).view
    assert view.name == "operators"
    with pytest.raises(PreconditionFailed):
        await setting.identity.delete_group(setting.owner, group, tag)
    with pytest.raises(InvalidInput, match="no user and no service account"):
        await setting.identity.add_member(setting.owner, group, "nobody")
    names = [group.name for group in (await setting.identity.list_groups(setting.owner)).items]
    assert names == ["operators", "sre"]


# The last owner


async def only_owner_is(setting: Setting, holder: str | None, **fields: Any) -> Caller:
    """Leave one binding of the owner role in the world; a caller of whoever has it."""
    _, caller = await setting.account("robot")
    group = await setting.group("owners", "robot") if holder is None else None
    await setting.bind("owner", holder, **({"group": "owners"} if group else {}), **fields)
    await setting.world.sql("DELETE FROM binding WHERE subject_id = (SELECT id FROM principal WHERE name = 'owner')")
    return caller


@pytest.mark.parametrize("way", ["remove", "delete_group", "delete_binding", "disable", "delete_account"])
async def test_the_last_owner_stays_whatever_way_it_would_go(setting: Setting, world: World, way: str) -> None:
    caller = await only_owner_is(setting, None)
    [row] = await world.sql("SELECT id FROM principal_group WHERE name = 'owners'")
    [binding] = await world.sql("SELECT id FROM binding WHERE subject_id = $1", row["id"])
    [robot] = await world.sql("SELECT id FROM principal WHERE name = 'robot'")
    ways = {
        "remove": setting.identity.remove_member(caller, row["id"], "robot"),
        "delete_group": setting.identity.delete_group(caller, row["id"]),
        "delete_binding": setting.identity.delete_binding(caller, binding["id"]),
        "disable": setting.identity.patch_service_account(caller, robot["id"], ServiceAccountPatch(disabled=True)),
        "delete_account": setting.identity.delete_service_account(caller, robot["id"]),
    }
    calls = {name: call for name, call in ways.items() if name == way}
    for name, call in ways.items():
        if name != way:
            call.close()
    with pytest.raises(Conflict, match="last owner"):
        await calls[way]
    assert len((await setting.identity.me(world.caller(caller.token_hash))).bindings) == 1


@pytest.mark.parametrize("second", ["emergency", "expiring", "disabled", "narrow", "nobody"])
async def test_what_is_no_owner_for_good_does_not_replace_the_last_one(setting: Setting, world: World, second: str) -> None:
    caller = await only_owner_is(setting, "robot")
    await setting.identity.create_service_account(caller, ServiceAccountCreate(name="other"))
    body: dict[str, Any] = {"principal": "other", "role": "owner", "app": "*", "environment": "*", "node": "*", "name": "*"}
    if second == "nobody":
        await setting.identity.create_group(world.caller(caller.token_hash), GroupCreate(name="empty"))
    body |= {
        "emergency": {"active_seconds": 3600},
        "expiring": {"expires_at": datetime.now(UTC) + timedelta(days=300)},
        "disabled": {},
        "narrow": {"app": "shop"},
        "nobody": {"principal": None, "group": "empty"},
    }[second]
    await setting.identity.create_binding(world.caller(caller.token_hash), BindingCreate(**body))
    if second == "disabled":
        await world.sql("UPDATE principal SET disabled_at = now() WHERE name = 'other'")
    [robot] = await world.sql("SELECT b.id FROM binding b JOIN principal p ON p.id = b.subject_id WHERE p.name = 'robot'")
    with pytest.raises(Conflict, match="last owner"):
        await setting.identity.delete_binding(world.caller(caller.token_hash), robot["id"])


async def test_two_owners_that_go_at_once_leave_one(setting: Setting, world: World) -> None:
    """Each deletion alone would be fine."""
    for _ in range(5):
        first = await setting.bind("owner", await fresh(setting))
        second = await setting.bind("owner", await fresh(setting))
        callers = {first: world.owner, second: world.owner}
        await world.sql("UPDATE binding SET expires_at = now() + interval '1 day' WHERE id <> ALL ($1)", [first, second])
        found = await asyncio.gather(
            *(setting.identity.delete_binding(world.caller(caller.token_hash), one) for one, caller in callers.items()),
            return_exceptions=True,
        )
        assert sorted(type(one).__name__ for one in found) == ["Conflict", "NoneType"]
        await world.sql("UPDATE binding SET expires_at = NULL")


async def fresh(setting: Setting) -> str:
    [row] = await setting.world.sql("SELECT count(*) AS n FROM principal")
    name = f"robot-{row['n']}"
    await setting.identity.create_service_account(setting.owner, ServiceAccountCreate(name=name))
    return name


# Accounts and tokens


async def test_a_disabled_account_is_refused_and_comes_back_with_what_it_held(setting: Setting, world: World) -> None:
    account, caller = await setting.account()
    await setting.bind("viewer")
    tag = (await setting.identity.get_service_account(setting.owner, account)).etag
    off = await setting.identity.patch_service_account(setting.owner, account, ServiceAccountPatch(disabled=True), tag)
    assert off.view.disabled
    assert not await setting.may_list(caller)
    with pytest.raises(PreconditionFailed):
        await setting.identity.patch_service_account(setting.owner, account, ServiceAccountPatch(disabled=False), tag)
    weak = await world.service_account(frozenset({Permission.PRINCIPAL_WRITE, LIST}))
    with pytest.raises(Denied, match="may do more"):
        await setting.identity.patch_service_account(weak, account, ServiceAccountPatch(disabled=False))
    body = ServiceAccountPatch(disabled=False, description="back")
    on = await setting.identity.patch_service_account(setting.owner, account, body, off.etag)
    assert (on.view.disabled, on.view.description) == (False, "back")
    assert await setting.may_list(caller)
    done = [row["action"] for row in await world.audit() if row["outcome"] == "allowed"]
    assert [action for action in done if action.endswith("able")] == ["service_account:disable", "service_account:enable"]


async def test_a_rotated_token_overlaps_with_its_successor(setting: Setting, world: World) -> None:
    _, caller = await setting.account()
    me = await setting.identity.me(caller)
    await world.sql("UPDATE token SET networks = '{192.0.2.0/24}', description = 'runner 7' WHERE id = $1", UUID(me.token_id))
    made = await setting.identity.rotate_token(setting.owner, UUID(me.token_id), TokenRotate(overlap=600))
    new = await setting.identity.get_token(setting.owner, UUID(made.id))
    assert (new.networks, new.description, new.principal) == (["192.0.2.0/24"], "runner 7", "ci")
    old = await setting.identity.get_token(setting.owner, UUID(me.token_id))
    assert timedelta(seconds=300) < old.expires_at - datetime.now(UTC) <= timedelta(seconds=600)
    await setting.identity.me(world.caller(caller.token_hash))
    await setting.identity.me(world.caller(token_hash(SecretValue(made.token))))
    await setting.identity.rotate_token(setting.owner, UUID(made.id), TokenRotate(overlap=0))
    with pytest.raises(Unauthenticated, match="token_expired"):
        await setting.identity.me(world.caller(token_hash(SecretValue(made.token))))
    with pytest.raises(Conflict, match="not live"):
        await setting.identity.rotate_token(setting.owner, UUID(made.id), TokenRotate())


async def test_a_rotation_never_lengthens_the_old_token_and_is_done_once(setting: Setting) -> None:
    _, caller = await setting.account()
    me = await setting.identity.me(caller)
    short = await setting.identity.create_token(setting.owner, TokenCreate(principal="ci", expires_in=120))
    key = Idempotency("k", "POST /api/tokens/{token_id}/rotate", b"{}")
    await setting.identity.rotate_token(setting.owner, UUID(short.id), TokenRotate(overlap=86400), key)
    old = await setting.identity.get_token(setting.owner, UUID(short.id))
    assert old.expires_at == short.expires_at
    with pytest.raises(AlreadyDone):
        await setting.identity.rotate_token(setting.owner, UUID(short.id), TokenRotate(overlap=86400), key)
    with pytest.raises(OverseerError):
        await setting.identity.rotate_token(setting.owner, UUID(me.token_id), TokenRotate(overlap=31 * 86400))


async def test_a_stolen_token_does_not_prolong_itself_by_any_name(setting: Setting, world: World) -> None:
    _, caller = await setting.account()
    await setting.bind("owner")
    bounds = "expires_at = now() + interval '10 minutes', networks = '{192.0.2.0/24}'"
    await world.sql(f"UPDATE token SET {bounds} WHERE hash = $1", caller.token_hash)
    me = await setting.identity.me(caller)
    for call in (
        setting.identity.rotate_token(world.caller(caller.token_hash), UUID(me.token_id), TokenRotate(expires_in=3600)),
        setting.identity.create_token(world.caller(caller.token_hash), TokenCreate(principal="ci", expires_in=3600)),
        setting.identity.create_token(
            world.caller(caller.token_hash), TokenCreate(principal="ci", expires_in=300, networks=["0.0.0.0/0"])
        ),
    ):
        with pytest.raises(InvalidInput, match="a token of your own"):
            await call


async def test_nobody_rotates_the_token_of_somebody_mightier(setting: Setting, world: World) -> None:
    _, caller = await setting.account()
    await setting.bind("developer")
    token = UUID((await setting.identity.me(caller)).token_id)
    weak = await world.service_account(frozenset({Permission.TOKEN_WRITE, Permission.TOKEN_LIST}))
    with pytest.raises(Denied, match="may do more than you"):
        await setting.identity.rotate_token(weak, token, TokenRotate())
    nobody = await world.service_account()
    with pytest.raises(Unavailable):
        await setting.identity.rotate_token(nobody, token, TokenRotate())


async def test_nobody_makes_the_next_token_of_another_person(setting: Setting, world: World) -> None:
    """Not even who holds as much: what is done with it would stand in the log as that person's, approvals included."""
    _, caller = await setting.account()
    me = await setting.identity.me(caller)
    await world.sql("UPDATE principal SET kind = 'user' WHERE id = $1", UUID(me.id))
    with pytest.raises(Denied, match="a person's token"):
        await setting.identity.rotate_token(setting.owner, UUID(me.token_id), TokenRotate())
    await setting.identity.me(world.caller(caller.token_hash))  # the old one was not shortened
    await setting.bind("owner")
    await setting.identity.rotate_token(world.caller(caller.token_hash), UUID(me.token_id), TokenRotate(expires_in=60))


async def test_lists_go_on_where_the_page_before_ended(setting: Setting) -> None:
    for number in range(5):
        await setting.account(f"a{number}")
        await setting.group(f"g{number}", "a0")
        await setting.role(f"r{number}")
        await setting.bind("viewer", f"a{number}")
    identity, group = setting.identity, UUID((await setting.identity.list_groups(setting.owner)).items[0].id)
    for number in range(1, 5):
        await identity.add_member(setting.owner, group, f"a{number}")
    for call in (
        lambda **page: identity.list_service_accounts(setting.owner, **page),
        lambda **page: identity.list_groups(setting.owner, **page),
        lambda **page: identity.list_roles(setting.owner, **page),
        lambda **page: identity.list_bindings(setting.owner, **page),
        lambda **page: identity.list_tokens(setting.owner, **page),
        lambda **page: identity.list_members(setting.owner, group, **page),
    ):
        whole = (await call(limit=500)).items
        pages, cursor = [], None
        while True:
            page = await call(limit=2, cursor=cursor)
            pages += page.items
            cursor = page.next_cursor
            if cursor is None:
                break
        assert [item.id for item in pages] == [item.id for item in whole]
        assert len(whole) >= 5
        for wrong in ("x", "W10=", "WzFd"):
            with pytest.raises(InvalidInput, match="cursor"):
                await call(cursor=wrong)
        with pytest.raises(InvalidInput, match="limit"):
            await call(limit=501)

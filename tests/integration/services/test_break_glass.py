"""Emergency bindings: dormant, alive for a while with an alarm, dormant again; and no way around what may be granted."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from overseer.core.errors import Conflict, Denied, InvalidInput, Unauthenticated, Unavailable
from overseer.core.permissions import Permission
from overseer.core.principals import Caller
from overseer.wire.access import BindingActivate, BindingCreate, BindingView, RolePatch, TokenCreate
from overseer.wire.secrets import ValueRequest
from tests.integration.services.test_roles_and_groups import Setting
from tests.integration.services.world import World, text

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

WHY = BindingActivate(reason="the shop is down and nobody answers")


@pytest.fixture
async def setting(world: World) -> Setting:
    return Setting(world)


async def emergency(setting: Setting, holder: str | None = "ci", role: str = "developer", **fields: Any) -> UUID:
    return await setting.bind(role, holder, active_seconds=600, **fields)


async def reveals(setting: Setting, caller: Caller, secret: str) -> bool:
    """Both ways to decide: the batch statement's and the gate's."""
    world, found = setting.world, []
    for reveal in (
        world.secrets.reveal(world.caller(caller.token_hash), UUID(secret), ValueRequest()),
        world.secrets._release_alone(world.caller(caller.token_hash), UUID(secret), None),
    ):
        try:
            await reveal
        except (Denied, Unavailable):
            found.append(False)
        else:
            found.append(True)
    assert len(set(found)) == 1
    return found[0]


async def test_it_gives_nothing_until_it_is_activated_and_ends_by_itself(setting: Setting, world: World) -> None:
    _, caller = await setting.account()
    secret = (await world.secret("db", app="shop")).id
    binding = await emergency(setting)
    assert not await reveals(setting, caller, secret)
    [mine] = (await setting.identity.me(caller)).bindings
    assert (mine.active_seconds, mine.active_until, mine.expires_at) == (600, None, None)
    asked = world.caller(caller.token_hash)
    active = await setting.identity.activate_binding(asked, binding, WHY)
    assert active.active_until is not None
    assert timedelta(seconds=300) < active.active_until - datetime.now(UTC) <= timedelta(seconds=600)
    assert await reveals(setting, caller, secret)
    [row] = await world.audit(asked)
    [free] = await world.sql("SELECT reason FROM audit_text WHERE id = $1", row["text_id"])
    assert (row["action"], row["outcome"], row["resource_id"]) == ("alarm:break_glass", "allowed", binding)
    assert free["reason"] == WHY.reason
    await world.sql("UPDATE binding SET expires_at = now() WHERE id = $1", binding)
    assert not await reveals(setting, caller, secret)
    await setting.identity.activate_binding(world.caller(caller.token_hash), binding, WHY)
    assert await reveals(setting, caller, secret)


async def test_it_is_activated_once_at_a_time_also_by_two_at_once(setting: Setting, world: World) -> None:
    _, caller = await setting.account()
    binding = await emergency(setting)
    found = await asyncio.gather(
        *(setting.identity.activate_binding(world.caller(caller.token_hash), binding, WHY) for _ in range(4)),
        return_exceptions=True,
    )
    assert sorted(type(one).__name__ for one in found) == [BindingView.__name__, *["Conflict"] * 3]
    outcomes = await world.sql("SELECT outcome FROM audit WHERE action = 'alarm:break_glass' ORDER BY outcome")
    assert [row["outcome"] for row in outcomes] == ["allowed", "failed", "failed", "failed"]


async def test_only_its_holder_activates_it_and_an_attempt_is_an_alarm(setting: Setting, world: World) -> None:
    await setting.account()
    binding = await emergency(setting)
    asked = setting.owner
    with pytest.raises(Denied, match="only who holds"):
        await setting.identity.activate_binding(asked, binding, WHY)
    [row] = await world.audit(asked)
    assert (row["action"], row["outcome"], row["code"]) == ("alarm:break_glass", "denied", "not_the_holder")
    stranger = await world.service_account()
    for one in (binding, UUID(int=5)):
        with pytest.raises(Unavailable):
            await setting.identity.activate_binding(world.caller(stranger.token_hash), one, WHY)


async def test_members_of_a_group_activate_what_the_group_holds(setting: Setting, world: World) -> None:
    _, caller = await setting.account()
    _, colleague = await setting.account("colleague")
    await setting.group("ops", "ci", "colleague")
    secret = (await world.secret("db")).id
    binding = await emergency(setting, None, group="ops")
    await setting.identity.activate_binding(caller, binding, WHY)
    assert await reveals(setting, colleague, secret)
    with pytest.raises(Conflict):
        await setting.identity.activate_binding(colleague, binding, WHY)


@pytest.mark.parametrize("reason", ["", "        ", "short", "x" * 501, "bell \a in here"])
async def test_it_needs_a_reason(setting: Setting, reason: str) -> None:
    _, caller = await setting.account()
    binding = await emergency(setting)
    with pytest.raises(InvalidInput, match="a reason has"):
        await setting.identity.activate_binding(caller, binding, BindingActivate(reason=reason))
    [mine] = (await setting.identity.me(setting.world.caller(caller.token_hash))).bindings
    assert mine.active_until is None


async def test_it_is_not_activated_after_its_time_and_lives_no_longer_than_it(setting: Setting, world: World) -> None:
    _, caller = await setting.account()
    soon = datetime.now(UTC) + timedelta(seconds=60)
    binding = await emergency(setting, expires_at=soon)
    active = await setting.identity.activate_binding(caller, binding, WHY)
    assert active.active_until == active.expires_at == soon
    await world.sql("UPDATE binding SET available_until = now(), expires_at = now() WHERE id = $1", binding)
    with pytest.raises(Conflict, match="cannot be activated"):
        await setting.identity.activate_binding(world.caller(caller.token_hash), binding, WHY)
    ordinary = await setting.bind("viewer")
    with pytest.raises(Conflict, match="no emergency binding"):
        await setting.identity.activate_binding(world.caller(caller.token_hash), ordinary, WHY)


async def test_it_is_ended_before_its_time(setting: Setting, world: World) -> None:
    _, caller = await setting.account()
    secret = (await world.secret("db")).id
    binding = await emergency(setting)
    for ender in (caller, world.owner):
        await setting.identity.activate_binding(world.caller(caller.token_hash), binding, WHY)
        ended = await setting.identity.deactivate_binding(world.caller(ender.token_hash), binding)
        assert ended.active_until is None
        assert not await reveals(setting, caller, secret)
        with pytest.raises(Conflict, match="not active"):
            await setting.identity.deactivate_binding(world.caller(ender.token_hash), binding)
    weak = await world.service_account(frozenset({Permission.BINDING_WRITE, Permission.BINDING_LIST}))
    with pytest.raises(Denied):
        await setting.identity.deactivate_binding(weak, binding)


async def test_a_disabled_holder_activates_nothing(setting: Setting, world: World) -> None:
    _, caller = await setting.account()
    binding = await emergency(setting)
    await world.sql("UPDATE principal SET disabled_at = now() WHERE name = 'ci'")
    with pytest.raises(Unauthenticated):
        await setting.identity.activate_binding(caller, binding, WHY)


async def test_nobody_prepares_an_emergency_beyond_their_own_rights(setting: Setting, world: World) -> None:
    """Dormant bindings count as what they can come to, for as long as they can."""
    await setting.account()
    body = BindingCreate(
        principal="ci", role="developer", app="*", environment="*", node="*", name="*", active_seconds=600
    )
    weak = await world.service_account(frozenset({Permission.BINDING_WRITE, Permission.SECRET_LIST}))
    with pytest.raises(Denied, match="cannot grant"):
        await setting.identity.create_binding(weak, body)
    brief = await world.service_account("owner", expires_at=datetime.now(UTC) + timedelta(hours=1))
    with pytest.raises(Denied, match="cannot grant"):
        await setting.identity.create_binding(brief, body)


async def test_a_dormant_binding_keeps_others_from_acting_through_its_holder(setting: Setting, world: World) -> None:
    """A token of the holder, or a place in its group, could activate it."""
    await setting.account()
    group = await setting.group("ops")
    await emergency(setting)
    await emergency(setting, None, group="ops")
    held = frozenset({Permission.TOKEN_WRITE, Permission.PRINCIPAL_WRITE, Permission.BINDING_WRITE, Permission.SECRET_LIST})
    weak = await world.service_account(held)
    name = (await setting.identity.me(weak)).name
    with pytest.raises(Denied, match="may do more than you"):
        await setting.identity.create_token(world.caller(weak.token_hash), TokenCreate(principal="ci"))
    with pytest.raises(Denied, match="may do more than you"):
        await setting.identity.add_member(world.caller(weak.token_hash), group, name)
    brief = await world.service_account("owner", expires_at=datetime.now(UTC) + timedelta(hours=1))
    with pytest.raises(Denied, match="may do more than you"):
        await setting.identity.create_token(brief, TokenCreate(principal="ci"))


async def test_a_role_edit_reaches_dormant_bindings_and_is_bound_by_them(setting: Setting, world: World) -> None:
    _, caller = await setting.account()
    role = await setting.role("reader", Permission.SECRET_LIST)
    secret = (await world.secret("db")).id
    binding = await emergency(setting, role="reader")
    held = frozenset({Permission.ROLE_WRITE, Permission.BINDING_WRITE, Permission.SECRET_LIST})
    weak = await world.service_account(held)
    wider = RolePatch(permissions=["secret:list", "secret:reveal"])
    with pytest.raises(Denied, match="more than you hold"):
        await setting.identity.patch_role(weak, role, wider)
    await setting.identity.patch_role(setting.owner, role, wider)
    await setting.identity.activate_binding(caller, binding, WHY)
    assert await reveals(setting, caller, secret)


async def test_an_owner_for_an_hour_makes_nothing_that_outlives_the_hour(setting: Setting, world: World) -> None:
    _, caller = await setting.account()
    await setting.account("other")
    binding = await emergency(setting, role="owner")
    await setting.identity.activate_binding(caller, binding, WHY)
    body = {"principal": "other", "role": "owner", "app": "*", "environment": "*", "node": "*", "name": "*"}
    ends = (await setting.identity.me(world.caller(caller.token_hash))).bindings[0].active_until
    assert ends is not None
    for fields in ({}, {"expires_at": ends + timedelta(seconds=1)}, {"active_seconds": 60}):
        with pytest.raises(Denied):
            await setting.identity.create_binding(world.caller(caller.token_hash), BindingCreate(**body | fields))
    await setting.identity.create_binding(world.caller(caller.token_hash), BindingCreate(**body | {"expires_at": ends}))


@pytest.mark.parametrize("seconds", [0, -1, 59, 86_401])
async def test_an_emergency_lasts_a_minute_to_a_day(setting: Setting, seconds: int) -> None:
    await setting.account()
    with pytest.raises(InvalidInput, match="cannot be made"):
        await setting.bind("viewer", active_seconds=seconds)


async def test_values_that_were_revealed_in_an_emergency_are_revealed(setting: Setting, world: World) -> None:
    _, caller = await setting.account()
    secret = await world.secret("db", "the value")
    await setting.identity.activate_binding(caller, await emergency(setting), WHY)
    shown = await world.secrets.reveal(world.caller(caller.token_hash), UUID(secret.id), ValueRequest())
    assert text(shown.value) == "the value"

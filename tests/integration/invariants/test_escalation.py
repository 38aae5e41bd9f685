"""Nobody ends with more than they held: by no method that gives rights, and by no sequence of them in a random world.

The methods are found by inspection: one that is new has to be attacked here, too.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from overseer.core.access import Allowed, Binding, Resource, decide
from overseer.core.errors import Denied, OverseerError
from overseer.core.permissions import Permission
from overseer.core.principals import Caller, PrincipalKind
from overseer.core.scopes import Scope
from overseer.core.secret_value import SecretValue
from overseer.crypto.tokens import token_hash
from overseer.server.services.catalogue import Services
from overseer.server.services.identity_service import IdentityService
from overseer.server.storage import principal_rows
from overseer.server.storage.scope_rows import Part
from overseer.wire.access import (
    BindingActivate,
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
from overseer.wire.people import ExternalIdentity, UserCreate, UserReset
from tests.integration.invariants.service_methods import every_method
from tests.integration.services.world import World, made_world

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

WRITES = frozenset(
    {
        Permission.BINDING_WRITE,
        Permission.PRINCIPAL_WRITE,
        Permission.ROLE_WRITE,
        Permission.TOKEN_WRITE,
        Permission.USER_RESET,
        Permission.BINDING_LIST,
        Permission.PRINCIPAL_LIST,
        Permission.TOKEN_LIST,
        Permission.SECRET_LIST,
    }
)
EVERYWHERE: dict[str, Any] = {"app": "*", "environment": "*", "node": "*", "name": "*"}
#: Methods of these services change who may do what, or as whom somebody may act.
SERVICES = ("identity", "users")
#: Nothing is given or taken by these, and why.
HARMLESS = {
    "identity.create_service_account": "it is made without any right",
    "identity.create_role": "a role that nobody is bound to gives nothing",
    "identity.create_group": "it is made without members and rights",
    "identity.activate_binding": "only its holder can: test_break_glass",
    "users.create_user": "it is made without any right",
    "users.patch_user": "a description is no right",
}


@dataclass
class Stage:
    """A mighty account and a mighty user, through a binding and a group; ``weak`` may write everything and reveal nothing."""

    world: World
    services: Services
    weak: Caller
    weak_name: str
    account: UUID
    user: UUID
    group: UUID
    role: UUID
    binding: UUID
    group_binding: UUID
    emergency: UUID
    token: UUID

    @property
    def owner(self) -> Caller:
        return self.world.caller(self.world.owner.token_hash)


@pytest.fixture
async def stage(world: World, services: Services) -> Stage:
    owner, identity = world.owner, services.identity
    account = await identity.create_service_account(owner, ServiceAccountCreate(name="mighty"))
    user = await services.users.create_user(owner, UserCreate(name="ann"))
    role = await identity.create_role(owner, RoleCreate(name="revealer", permissions=["secret:list", "secret:reveal"]))
    group = await identity.create_group(owner, GroupCreate(name="mighty-ones"))
    await identity.add_member(owner, UUID(group.id), "ann")
    made = await identity.create_binding(owner, BindingCreate(principal="mighty", role="revealer", **EVERYWHERE))
    theirs = await identity.create_binding(owner, BindingCreate(group="mighty-ones", role="developer", **EVERYWHERE))
    emergency = await identity.create_binding(
        owner, BindingCreate(principal="mighty", role="owner", active_seconds=600, **EVERYWHERE)
    )
    token = await identity.create_token(owner, TokenCreate(principal="mighty"))
    mighty = world.caller(token_hash(SecretValue(token.token)))
    await identity.activate_binding(mighty, UUID(emergency.id), BindingActivate(reason="so that it can be ended"))
    weak = await world.service_account(WRITES)
    return Stage(
        world=world,
        services=services,
        weak=weak,
        weak_name=(await identity.me(weak)).name,
        account=UUID(account.id),
        user=UUID(user.id),
        group=UUID(group.id),
        role=UUID(role.id),
        binding=UUID(made.id),
        group_binding=UUID(theirs.id),
        emergency=UUID(emergency.id),
        token=UUID(token.id),
    )


Attack = Callable[[Stage, Caller], Awaitable[Any]]


def identity(call: Callable[[IdentityService, Stage, Caller], Awaitable[Any]]) -> Attack:
    return lambda stage, caller: call(stage.services.identity, stage, caller)


def mine(stage: Stage, role: str, **fields: Any) -> BindingCreate:
    return BindingCreate(principal=stage.weak_name, role=role, **EVERYWHERE | fields)


#: One or more attempts for each method; each of them succeeds for an owner.
ATTACKS: dict[str, list[Attack]] = {
    "identity.create_binding": [
        identity(lambda service, stage, caller: service.create_binding(caller, mine(stage, "revealer"))),
        identity(lambda service, stage, caller: service.create_binding(caller, mine(stage, "owner"))),
        identity(lambda service, stage, caller: service.create_binding(caller, mine(stage, "revealer", app="shop", name="db"))),
        identity(lambda service, stage, caller: service.create_binding(caller, mine(stage, "revealer", active_seconds=60))),
    ],
    "identity.delete_binding": [
        identity(lambda service, stage, caller: service.delete_binding(caller, stage.binding)),
        identity(lambda service, stage, caller: service.delete_binding(caller, stage.group_binding)),
    ],
    "identity.deactivate_binding": [
        identity(lambda service, stage, caller: service.deactivate_binding(caller, stage.emergency)),
    ],
    "identity.patch_role": [
        identity(lambda service, stage, caller: service.patch_role(caller, stage.role, RolePatch(permissions=["app:list"]))),
        identity(lambda service, stage, caller: service.patch_role(caller, stage.role, RolePatch(name="harmless"))),
    ],
    "identity.delete_role": [
        identity(lambda service, stage, caller: service.delete_role(caller, stage.role, cascade=True)),
    ],
    "identity.patch_group": [
        identity(lambda service, stage, caller: service.patch_group(caller, stage.group, GroupPatch(name="harmless"))),
    ],
    "identity.delete_group": [
        identity(lambda service, stage, caller: service.delete_group(caller, stage.group)),
    ],
    "identity.add_member": [
        identity(lambda service, stage, caller: service.add_member(caller, stage.group, stage.weak_name)),
    ],
    "identity.remove_member": [
        identity(lambda service, stage, caller: service.remove_member(caller, stage.group, "ann")),
    ],
    "identity.create_token": [
        identity(lambda service, stage, caller: service.create_token(caller, TokenCreate(principal="mighty"))),
    ],
    "identity.rotate_token": [
        identity(lambda service, stage, caller: service.rotate_token(caller, stage.token, TokenRotate())),
    ],
    "identity.revoke_token": [
        identity(lambda service, stage, caller: service.revoke_token(caller, stage.token)),
    ],
    "identity.patch_service_account": [
        identity(
            lambda service, stage, caller: service.patch_service_account(
                caller, stage.account, ServiceAccountPatch(disabled=True)
            )
        ),
        identity(
            lambda service, stage, caller: service.patch_service_account(
                caller, stage.account, ServiceAccountPatch(disabled=False)
            )
        ),
    ],
    "identity.delete_service_account": [
        identity(lambda service, stage, caller: service.delete_service_account(caller, stage.account)),
    ],
    "users.disable_user": [lambda stage, caller: stage.services.users.disable_user(caller, stage.user)],
    "users.enable_user": [lambda stage, caller: stage.services.users.enable_user(caller, stage.user)],
    "users.delete_user": [lambda stage, caller: stage.services.users.delete_user(caller, stage.user)],
    "users.reset_user": [lambda stage, caller: stage.services.users.reset_user(caller, stage.user, UserReset())],
    "users.link_identity": [
        lambda stage, caller: stage.services.users.link_identity(
            caller, stage.user, ExternalIdentity(issuer="https://idp.example", subject="me")
        )
    ],
    "users.unlink_identity": [
        lambda stage, caller: stage.services.users.unlink_identity(
            caller, stage.user, ExternalIdentity(issuer="https://idp.example", subject="ann")
        )
    ],
}
TRIES = [(name, number) for name, attacks in ATTACKS.items() for number in range(len(attacks))]


async def test_every_method_that_gives_rights_is_attacked(services: Services) -> None:
    changing = {
        method.name
        for method in every_method(services)
        if method.name.partition(".")[0] in SERVICES
        and not method.name.partition(".")[2].startswith(("list_", "get_"))
        and method.name != "identity.me"
    }
    assert changing == set(ATTACKS) | set(HARMLESS)


@pytest.mark.parametrize(("name", "number"), TRIES)
async def test_who_may_write_and_not_reveal_does_not_reach_who_may_reveal(stage: Stage, name: str, number: int) -> None:
    if name == "users.unlink_identity":
        await ATTACKS["users.link_identity"][0](stage, stage.owner)
    if name == "users.enable_user":
        await stage.world.sql("UPDATE principal SET disabled_at = now() WHERE id = $1", stage.user)
    before = await rights(stage.world)
    with pytest.raises(Denied):
        await ATTACKS[name][number](stage, stage.weak)
    assert await rights(stage.world) == before
    if name == "users.unlink_identity":
        await stage.services.users.unlink_identity(
            stage.owner, stage.user, ExternalIdentity(issuer="https://idp.example", subject="me")
        )
    else:
        await ATTACKS[name][number](stage, stage.owner)


@pytest.mark.parametrize(
    "name",
    ["identity.create_token", "identity.rotate_token", "identity.add_member", "users.enable_user", "users.reset_user",
     "users.link_identity"],
)  # fmt: skip
async def test_rights_that_end_reach_nobody_whose_rights_do_not(stage: Stage, name: str) -> None:
    """An owner for an hour does not become, for longer than that, somebody who holds less but for good."""
    hourly = await stage.world.service_account("owner", expires_at=datetime.now(UTC) + timedelta(hours=1))
    if name == "users.enable_user":
        await stage.world.sql("UPDATE principal SET disabled_at = now() WHERE id = $1", stage.user)
    with pytest.raises(Denied):
        await ATTACKS[name][0](stage, hourly)
    await ATTACKS[name][0](stage, stage.owner)


# Random worlds

Right = tuple[Permission, str | None, str | None, str, int]
HELD = [*sorted(WRITES - {Permission.USER_RESET}), Permission.SECRET_REVEAL, Permission.SECRET_USE]
APPS, ENVIRONMENTS, NAMES = ("shop", "blog"), ("prod",), ("db-main", "api")
INSTANTS = (timedelta(minutes=1), timedelta(days=1), timedelta(days=400))


async def rights(world: World) -> dict[UUID, frozenset[Right]]:
    """What each principal that is not disabled may do at sampled places, now and later; an emergency counts as if active."""
    found = {}
    async with world.database.work() as session:
        now = await session.fetchval("database_clock")
        for principal in await principal_rows.all_principals(session, None):
            subjects = await principal_rows.subjects_of(session, principal.id)
            rows = await principal_rows.all_bindings(session, subjects)
            live = principal.disabled_at is None and principal.kind is not PrincipalKind.NODE
            found[principal.id] = held_by(world, [row.at_most for row in rows], now) if live else frozenset()
    return found


def held_by(world: World, bindings: list[Binding], now: datetime) -> frozenset[Right]:
    """Every sampled right that the bindings give."""
    apps = [None, *(world.parts[Part.APP, app] for app in APPS)]
    environments = [None, *(world.parts[Part.ENVIRONMENT, environment] for environment in ENVIRONMENTS)]
    return frozenset(
        (permission, str(app), str(environment), name, number)
        for permission in HELD
        for app in apps
        for environment in environments
        for name in NAMES
        for number, after in enumerate(INSTANTS)
        if isinstance(
            decide(bindings, permission, Resource("secret", name, Scope(app, environment)), now + after), Allowed
        )
    )


selector = st.fixed_dictionaries(
    {
        "app": st.sampled_from(["*", "*", "-", "shop", "blog"]),
        "environment": st.sampled_from(["*", "*", "-", "prod"]),
        "node": st.just("*"),
        "name": st.sampled_from(["*", "*", "db-*", "db-main"]),
    }
)
lives = st.sampled_from([None, None, timedelta(hours=1), timedelta(days=100)])
emergencies = st.sampled_from([None, None, None, 600])
sets = st.frozensets(st.sampled_from(HELD), min_size=1, max_size=len(HELD))
pick = st.integers(0, 7)
grants = st.tuples(pick, pick, selector, lives, emergencies)
operations = st.one_of(
    st.tuples(st.just("bind"), grants),
    st.tuples(st.just("bind"), grants),
    st.tuples(st.just("role"), st.tuples(pick, sets)),
    st.tuples(st.sampled_from(["join", "leave"]), st.tuples(pick, pick)),
    st.tuples(st.sampled_from(["token", "rotate", "off", "on", "unbind", "activate", "end", "drop_role", "drop_group"]), pick),
)


@dataclass
class Random:
    """A random world in which ``weak`` acts; what it names is picked by number from what there is."""

    world: World
    identity: IdentityService
    weak: Caller
    weak_id: UUID
    accounts: list[tuple[UUID, str]]
    groups: list[UUID]
    roles: list[UUID]

    def caller(self) -> Caller:
        return self.world.caller(self.weak.token_hash)

    async def bind(self, caller: Caller, grant: Any) -> None:
        holder, role, parts, life, emergency = grant
        holders = [("principal", name) for _, name in self.accounts] + [("group", f"g{n}") for n in range(len(self.groups))]
        kind, name = holders[holder % len(holders)]
        roles = [f"r{number}" for number in range(len(self.roles))]
        expires_at = None if life is None else datetime.now(UTC) + life
        body = BindingCreate(
            role=roles[role % len(roles)], expires_at=expires_at, active_seconds=emergency, **{kind: name}, **parts
        )
        await self.identity.create_binding(caller, body)

    async def act(self, kind: str, what: Any) -> None:
        """One attempt of ``weak``."""
        caller, service = self.caller(), self.identity
        if kind == "bind":
            await self.bind(caller, what)
        elif kind == "role":
            role = self.roles[what[0] % len(self.roles)]
            await service.patch_role(caller, role, RolePatch(permissions=sorted(one.value for one in what[1])))
        elif kind in ("join", "leave"):
            group, name = self.groups[what[0] % len(self.groups)], self.accounts[what[1] % len(self.accounts)][1]
            await (service.add_member if kind == "join" else service.remove_member)(caller, group, name)
        elif kind == "token":
            await service.create_token(caller, TokenCreate(principal=self.accounts[what % len(self.accounts)][1], expires_in=60))
        elif kind == "rotate":
            tokens = await self.world.sql("SELECT id FROM token ORDER BY id")
            await service.rotate_token(caller, tokens[what % len(tokens)]["id"], TokenRotate(expires_in=60))
        elif kind in ("off", "on"):
            account = self.accounts[what % len(self.accounts)][0]
            await service.patch_service_account(caller, account, ServiceAccountPatch(disabled=kind == "off"))
        elif kind == "drop_role":
            await service.delete_role(caller, self.roles[what % len(self.roles)], cascade=True)
        elif kind == "drop_group":
            await service.delete_group(caller, self.groups[what % len(self.groups)])
        else:
            bindings = await self.world.sql("SELECT id FROM binding ORDER BY id")
            one = bindings[what % len(bindings)]["id"]
            if kind == "activate":
                await service.activate_binding(caller, one, BindingActivate(reason="because it can be tried"))
            else:
                await (service.delete_binding if kind == "unbind" else service.deactivate_binding)(caller, one)


async def random_world(world: World, roles: list[frozenset[Permission]], given_to: list[Any], joined: list[Any]) -> Random:
    """Accounts, groups, roles and bindings as drawn; ``weak`` is the first account."""
    for part, names in ((Part.APP, APPS), (Part.ENVIRONMENT, ENVIRONMENTS)):
        await world.add(part, *names)
    identity = IdentityService(world.gate, world.idempotency)
    world.gate._limits._burst = 10**6  # the limits are another test's subject
    owner = world.owner
    accounts = []
    for name in ("weak", "a", "b", "c"):
        accounts.append((UUID((await identity.create_service_account(owner, ServiceAccountCreate(name=name))).id), name))
    token = await identity.create_token(owner, TokenCreate(principal="weak"))
    groups = [UUID((await identity.create_group(owner, GroupCreate(name=f"g{n}"))).id) for n in range(2)]
    made = []
    for number, permissions in enumerate([WRITES - {Permission.USER_RESET} | roles[0], *roles[1:]]):
        body = RoleCreate(name=f"r{number}", permissions=sorted(one.value for one in permissions))
        made.append(UUID((await identity.create_role(owner, body)).id))
    scene = Random(world, identity, world.caller(token_hash(SecretValue(token.token))), accounts[0][0], accounts, groups, made)
    # Weak may write (r0) somewhere; both groups, an account and the disabled one hold something; the rest is as drawn.
    for holder, role, grant in zip((0, 4, 5, 1, 3), (0, 1, 2, 1, 2), given_to, strict=False):
        await scene.bind(owner, (holder, role, *grant[2:4], grant[4] if holder else None))
    for grant in given_to[5:]:
        await scene.bind(owner, grant)
    for group, account in joined:
        await identity.add_member(owner, groups[group % 2], accounts[account % 4][1])
    await world.sql("UPDATE principal SET disabled_at = now() WHERE name = 'c'")
    return scene


@settings(max_examples=30, database=None, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    roles=st.lists(sets, min_size=3, max_size=3),
    given_to=st.lists(grants, min_size=5, max_size=7),
    joined=st.lists(st.tuples(pick, pick), max_size=3),
    tried=st.lists(operations, min_size=10, max_size=25),
)
async def test_no_sequence_of_acts_gives_or_takes_more_than_was_held(
    services_database: str, roles: list[frozenset[Permission]], given_to: list[Any], joined: list[Any], tried: list[Any]
) -> None:
    async with made_world(services_database, pool_size=2) as world:
        scene = await random_world(world, roles, given_to, joined)
        before = await rights(world)
        own = before[scene.weak_id]
        for kind, what in tried:
            try:
                await scene.act(kind, what)
            except OverseerError:
                continue
        after = await rights(world)
        for principal, held in after.items():
            assert held - before[principal] <= own
            lost = {right[:4] for right in before[principal] - held}
            assert lost <= {right[:4] for right in own}
        made = await world.sql("SELECT principal_id FROM token WHERE created_by = $1", scene.weak_id)
        for row in made:
            assert after[row["principal_id"]] <= own

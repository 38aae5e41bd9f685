"""Nobody approves with an account that whoever asks made, can sign in as, or gave the right to decide, whatever the way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from overseer.core.errors import Denied
from overseer.core.permissions import Permission
from overseer.core.principals import Caller
from overseer.crypto.tokens import TokenPrefix, new_token
from overseer.server.services.approval_distance import TOO_CLOSE
from overseer.server.services.catalogue import Services
from overseer.server.storage import principal_rows
from overseer.wire.access import BindingCreate, GroupCreate, RoleCreate, RolePatch
from overseer.wire.approvals import ApprovalPolicyPatch, ApprovalView
from overseer.wire.people import ExternalIdentity, UserCreate, UserReset
from tests.integration.services.approving import ANYWHERE, DECIDES, Office
from tests.integration.services.world import World

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]


class Puppets:
    """The owner asks; a secret is guarded. ``other`` is an owner whom nobody here made."""

    def __init__(self, services: Services, office: Office, secret: UUID, other: Caller) -> None:
        self.services, self.office, self.secret, self.other = services, office, secret, other
        self.world, self.owner = office.world, office.world.owner

    async def token(self, user_id: UUID) -> Caller:
        """The user, signed in."""
        _, digest = new_token(TokenPrefix.API)
        expires_at = datetime.now(UTC) + timedelta(hours=1)
        async with self.world.database.work() as session:
            await principal_rows.insert_token(
                session, principal_rows.NewToken(digest, uuid4(), user_id, "", expires_at, None, None)
            )
        return self.world.caller(digest)

    async def person(self) -> tuple[Caller, str, UUID]:
        """Somebody whom nobody here made and who may do nothing, with name and id."""
        caller = await self.office.person()
        [row] = await self.world.sql(
            "SELECT p.name, p.id FROM principal p JOIN token t ON t.principal_id = p.id WHERE t.hash = $1", caller.token_hash
        )
        return caller, row["name"], row["id"]

    async def bind(self, giver: Caller, role: str = "owner", **to: str) -> None:
        await self.services.identity.create_binding(giver, BindingCreate(role=role, **ANYWHERE, **to))

    async def group(self, giver: Caller, role: str = "owner") -> UUID:
        group = await self.services.identity.create_group(giver, GroupCreate(name="deciders"))
        await self.bind(giver, role, group="deciders")
        return UUID(group.id)

    async def ask(self) -> ApprovalView:
        return await self.office.ask(self.office.again(self.owner), "reveal", secret_id=self.secret)

    async def refused(self, approver: Caller, asked: ApprovalView) -> None:
        """It is not theirs to decide: they are told so, there is one row, and the list does not offer it."""
        caller = self.office.again(approver)
        with pytest.raises(Denied, match="somebody else"):
            await self.office.decide(caller, asked)
        rows = [(row["action"], row["outcome"], row["code"]) for row in await self.world.audit(caller)]
        assert rows == [("approval:decide", "denied", TOO_CLOSE)]
        [shown] = (await self.services.approvals.list_approvals(self.office.again(approver))).items
        assert (shown.state, shown.may_decide) == ("pending", False)

    async def approved(self, approver: Caller, asked: ApprovalView) -> None:
        assert (await self.office.decide(self.office.again(approver), asked)).state == "approved"


@pytest.fixture
async def puppets(services: Services, world: World) -> Puppets:
    office = await Office.open(world)
    secret = UUID((await world.secret("db", "hush")).id)
    await office.policy("reveal", title="seen-by-two", distance_days=30)
    return Puppets(services, office, secret, await office.person("owner"))


async def made(puppets: Puppets, by: Caller) -> UUID:
    user = await puppets.services.users.create_user(by, UserCreate(name=f"u{uuid4().hex[:8]}"))
    return UUID(user.id)


async def an_account_of_ones_own(puppets: Puppets) -> Caller:
    user = await made(puppets, puppets.owner)
    caller = await puppets.token(user)
    await puppets.world.bind(caller, DECIDES)
    return caller


async def the_account_of_an_account(puppets: Puppets) -> Caller:
    first = await puppets.token(await made(puppets, puppets.owner))
    await puppets.world.bind(first, "owner")
    second = await puppets.token(await made(puppets, first))
    await puppets.world.bind(second, DECIDES)
    return second


async def the_account_of_a_machine(puppets: Puppets) -> Caller:
    """A service account makes it; the owner has a token of that one."""
    machine = await puppets.world.service_account("owner")
    await puppets.world.sql(
        "UPDATE token SET created_by = (SELECT id FROM principal WHERE name = 'owner') WHERE hash = $1", machine.token_hash
    )
    caller = await puppets.token(await made(puppets, machine))
    await puppets.world.bind(caller, DECIDES)
    return caller


async def a_reset(puppets: Puppets) -> Caller:
    caller, _, user = await puppets.person()
    await puppets.world.bind(caller, DECIDES)
    await puppets.services.users.reset_user(puppets.owner, user, UserReset())
    return caller


async def a_linked_identity(puppets: Puppets) -> Caller:
    caller, _, user = await puppets.person()
    await puppets.world.bind(caller, DECIDES)
    identity = ExternalIdentity(issuer="https://id.example", subject="mine")
    await puppets.services.users.link_identity(puppets.owner, user, identity)
    return caller


async def a_binding(puppets: Puppets) -> Caller:
    caller, name, _ = await puppets.person()
    await puppets.bind(puppets.owner, principal=name)
    return caller


async def a_binding_of_a_group(puppets: Puppets) -> Caller:
    caller, name, _ = await puppets.person()
    group = await puppets.group(puppets.owner)
    await puppets.services.identity.add_member(puppets.other, group, name)
    return caller


async def a_place_in_a_group(puppets: Puppets) -> Caller:
    caller, name, _ = await puppets.person()
    group = await puppets.group(puppets.other)
    await puppets.services.identity.add_member(puppets.owner, group, name)
    return caller


async def a_role_that_decides_now(puppets: Puppets) -> Caller:
    caller, name, _ = await puppets.person()
    role = await puppets.services.identity.create_role(puppets.other, RoleCreate("looker", [Permission.SECRET_LIST]))
    await puppets.bind(puppets.other, "looker", principal=name)
    more = RolePatch(permissions=[Permission.SECRET_LIST, Permission.APPROVAL_DECIDE, Permission.APPROVAL_LIST])
    await puppets.services.identity.patch_role(puppets.owner, UUID(role.id), more)
    return caller


WAYS = [
    an_account_of_ones_own,
    the_account_of_an_account,
    the_account_of_a_machine,
    a_reset,
    a_linked_identity,
    a_binding,
    a_binding_of_a_group,
    a_place_in_a_group,
    a_role_that_decides_now,
]
TIMES = (
    "UPDATE principal SET created_at = created_at - $1::interval",
    "UPDATE binding SET created_at = created_at - $1::interval",
    "UPDATE account_hand SET at = at - $1::interval",
    "UPDATE role SET changed_at = changed_at - $1::interval",
)


@pytest.mark.parametrize("way", WAYS)
async def test_whoever_asks_has_no_hand_in_who_approves(puppets: Puppets, way: Callable[[Puppets], Awaitable[Caller]]) -> None:
    puppet = await way(puppets)
    asked = await puppets.ask()
    await puppets.refused(puppet, asked)
    for statement in TIMES:
        await puppets.world.sql(statement, timedelta(days=29))
    await puppets.refused(puppet, asked)
    for statement in TIMES:
        await puppets.world.sql(statement, timedelta(days=2))  # it is longer ago than the policy looks back
    await puppets.approved(puppet, asked)


@pytest.mark.parametrize("way", [an_account_of_ones_own, a_binding, a_place_in_a_group])
async def test_of_somebody_elses_request_they_decide(puppets: Puppets, way: Callable[[Puppets], Awaitable[Caller]]) -> None:
    puppet = await way(puppets)
    developer = await puppets.office.person("developer")
    asked = await puppets.office.ask(developer, "reveal", secret_id=puppets.secret)
    await puppets.approved(puppet, asked)


async def test_what_happened_since_the_request_counts_whatever_the_policy_says(puppets: Puppets) -> None:
    [policy] = (await puppets.services.approvals.list_policies(puppets.owner)).items
    changed = await puppets.services.approvals.patch_policy(puppets.owner, UUID(policy.id), ApprovalPolicyPatch(distance_days=0))
    assert changed.view.distance_days == 0
    earlier = await an_account_of_ones_own(puppets)
    asked = await puppets.ask()
    later = await an_account_of_ones_own(puppets)
    await puppets.refused(later, asked)
    await puppets.approved(earlier, asked)


async def test_a_request_keeps_the_distance_that_it_was_made_with(puppets: Puppets) -> None:
    """Whoever asks and may change policies does not bring the approver nearer after that."""
    puppet = await an_account_of_ones_own(puppets)
    asked = await puppets.ask()
    await puppets.world.sql("UPDATE approval_policy SET distance_days = 0")
    await puppets.refused(puppet, asked)


async def test_a_right_of_another_source_is_enough(puppets: Puppets) -> None:
    """What the requester gave is left out, not the person."""
    puppet = await a_binding(puppets)
    asked = await puppets.ask()
    await puppets.refused(puppet, asked)
    await puppets.world.bind(puppet, DECIDES)
    await puppets.approved(puppet, asked)


async def test_deleting_whoever_stood_in_between_hides_nothing(puppets: Puppets) -> None:
    first_id = await made(puppets, puppets.owner)
    first = await puppets.token(first_id)
    await puppets.world.bind(first, "owner")
    puppet = await puppets.token(await made(puppets, first))
    await puppets.world.bind(puppet, DECIDES)
    await puppets.services.users.delete_user(puppets.owner, first_id)
    await puppets.refused(puppet, await puppets.ask())


async def a_binding_by_a_machine(puppets: Puppets, machine: Caller) -> Caller:
    caller, name, _ = await puppets.person()
    await puppets.bind(machine, principal=name)
    return caller


async def an_account_by_a_machine(puppets: Puppets, machine: Caller) -> Caller:
    caller = await puppets.token(await made(puppets, machine))
    await puppets.world.bind(caller, DECIDES)
    return caller


async def machine_of(puppets: Puppets, maker: UUID) -> tuple[Caller, UUID]:
    """A service account with all rights that ``maker`` made before policies look back."""
    caller = await puppets.world.service_account("owner")
    [row] = await puppets.world.sql(
        "UPDATE principal SET created_by = $2, created_at = now() - interval '1 year' "
        "WHERE id = (SELECT principal_id FROM token WHERE hash = $1) RETURNING id",
        caller.token_hash,
        maker,
    )
    await puppets.world.sql("DELETE FROM account_hand WHERE principal_id = $1", row["id"])
    return caller, row["id"]


@pytest.mark.parametrize("way", [a_binding_by_a_machine, an_account_by_a_machine])
async def test_a_machine_that_gave_the_right_is_deleted_in_vain(
    puppets: Puppets, way: Callable[[Puppets, Caller], Awaitable[Caller]]
) -> None:
    """It was the requester's through a second one, for long; both are deleted, in the order that forgets most."""
    [owner] = await puppets.world.sql("SELECT id FROM principal WHERE name = 'owner'")
    _, first = await machine_of(puppets, owner["id"])
    second, second_id = await machine_of(puppets, first)
    asked = await puppets.ask()
    puppet = await way(puppets, second)
    await puppets.refused(puppet, asked)
    for one in (first, second_id):
        await puppets.services.identity.delete_service_account(puppets.owner, one)
        await puppets.refused(puppet, asked)


async def test_whoever_stands_behind_a_machine_that_asks_does_so_when_the_one_in_between_is_gone(puppets: Puppets) -> None:
    person, _, person_id = await puppets.person()
    await puppets.world.bind(person, DECIDES)
    _, first = await machine_of(puppets, person_id)
    second, _ = await machine_of(puppets, first)
    asked = await puppets.office.ask(puppets.office.again(second), "reveal", secret_id=puppets.secret)
    await puppets.services.identity.delete_service_account(puppets.owner, first)
    with pytest.raises(Denied, match="another person"):
        await puppets.office.decide(puppets.office.again(person), asked)


async def test_a_place_in_a_group_that_somebody_else_gave_anew_is_theirs(puppets: Puppets) -> None:
    caller, name, _ = await puppets.person()
    group = await puppets.group(puppets.other)
    await puppets.services.identity.add_member(puppets.owner, group, name)
    asked = await puppets.ask()
    await puppets.refused(caller, asked)
    await puppets.services.identity.remove_member(puppets.other, group, name)
    await puppets.services.identity.add_member(puppets.other, group, name)
    await puppets.approved(caller, asked)

"""Service accounts, tokens and bindings: nobody grants what they do not hold, and revocation holds at once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec
import pytest

from overseer.core.errors import AlreadyDone, AlreadyExists, Conflict, Denied, InvalidInput, Unauthenticated, Unavailable
from overseer.core.permissions import Permission
from overseer.core.principals import Caller
from overseer.core.secret_value import SecretValue
from overseer.crypto.tokens import token_hash
from overseer.server.services.idempotency import Idempotency
from overseer.wire.access import BindingCreate, ServiceAccountCreate, TokenCreate
from tests.integration.services.delivery import Delivery
from tests.integration.services.world import World

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

BINDING = BindingCreate(principal="ci", role="viewer", app="shop", environment="*", node="*", name="*")


@pytest.fixture
def delivery(world: World) -> Delivery:
    return Delivery(world)


async def account(delivery: Delivery, name: str = "ci") -> str:
    return (await delivery.identity.create_service_account(delivery.world.owner, ServiceAccountCreate(name=name))).id


async def token(delivery: Delivery, principal: str = "ci", **fields: object) -> Caller:
    body = msgspec.structs.replace(TokenCreate(principal=principal), **fields)
    made = await delivery.identity.create_token(delivery.world.owner, body)
    return delivery.world.caller(token_hash(SecretValue(made.token)))


async def test_an_account_with_a_binding_sees_what_it_was_given(delivery: Delivery) -> None:
    await account(delivery)
    await delivery.identity.create_binding(delivery.world.owner, BINDING)
    caller = await token(delivery)
    me = await delivery.identity.me(caller)
    assert (me.kind, me.name) == ("service_account", "ci")
    assert [(b.role, b.app, b.environment, b.node, b.name) for b in me.bindings] == [("viewer", "shop", "*", "*", "*")]
    assert [app.name for app in (await delivery.scopes.list_apps(caller)).items] == ["shop"]


async def test_an_account_without_a_binding_may_do_nothing(delivery: Delivery) -> None:
    await account(delivery)
    with pytest.raises(Denied):
        await delivery.scopes.list_apps(await token(delivery))


@pytest.mark.parametrize("refusal", ["revoked", "expired", "deleted", "network"])
async def test_a_dead_token_is_refused_on_the_next_request_and_named_in_the_log(delivery: Delivery, refusal: str) -> None:
    account_id = await account(delivery)
    caller = await token(delivery, networks=["10.0.0.0/8"] if refusal == "network" else None)
    owner = delivery.world.owner
    if refusal == "revoked":
        me = await delivery.identity.me(caller)
        await delivery.identity.revoke_token(owner, UUID(me.token_id))
    elif refusal == "expired":
        await delivery.world.sql("UPDATE token SET expires_at = now() WHERE hash = $1", caller.token_hash)
    elif refusal == "deleted":
        await delivery.identity.delete_service_account(owner, UUID(account_id))
    again = delivery.world.caller(caller.token_hash)
    with pytest.raises(Unauthenticated):
        await delivery.identity.me(again)
    [row] = await delivery.world.audit(again)
    codes = {"revoked": "token_revoked", "expired": "token_expired", "deleted": "unauthenticated", "network": "foreign_network"}
    assert (row["outcome"], row["code"]) == ("denied", codes[refusal])


async def test_a_token_bound_to_the_right_network_works(delivery: Delivery) -> None:
    await account(delivery)
    await delivery.identity.me(await token(delivery, networks=["192.0.2.0/24"]))


@pytest.mark.parametrize("networks", [[], ["10.0.0.1/8"], ["everything"], ["10.0.0.0/8"] * 65])
async def test_networks_that_could_be_misread_are_refused(delivery: Delivery, networks: list[str]) -> None:
    await account(delivery)
    with pytest.raises(InvalidInput, match="networks is null"):
        await token(delivery, networks=networks)


async def test_binding_and_token_expiry_hold(delivery: Delivery) -> None:
    await account(delivery)
    soon = datetime.now(UTC) + timedelta(hours=1)
    await delivery.identity.create_binding(delivery.world.owner, msgspec.structs.replace(BINDING, expires_at=soon))
    caller = await token(delivery)
    await delivery.scopes.list_apps(caller)
    await delivery.world.sql("UPDATE binding SET expires_at = now() WHERE expires_at IS NOT NULL")
    with pytest.raises(Denied):
        await delivery.scopes.list_apps(delivery.world.caller(caller.token_hash))


@pytest.mark.parametrize(
    ("held", "given", "allowed"),
    [
        ({"app": "shop"}, {"app": "shop"}, True),
        ({"app": "shop"}, {"app": "blog"}, False),
        ({"app": "shop"}, {"app": "*"}, False),
        ({"app": "shop"}, {"app": "-"}, False),
        ({}, {"app": "-"}, True),
        ({"name": "db-*"}, {"name": "db-main"}, True),
        ({"name": "db-*"}, {"name": "*"}, False),
        ({"name": "db-*"}, {"name": "api-key"}, False),
        ({"environment": "unset"}, {"environment": "-"}, True),
        ({"environment": "unset"}, {"environment": "prod"}, False),
    ],
)
async def test_nobody_grants_beyond_their_own_selector(
    delivery: Delivery, held: dict[str, str], given: dict[str, str], allowed: bool
) -> None:
    await account(delivery)
    granter = await delivery.world.service_account("owner", **held)
    body = msgspec.structs.replace(BINDING, app="shop" if held.get("app") else "*")
    body = msgspec.structs.replace(body, **given)
    if allowed:
        assert (await delivery.identity.create_binding(granter, body)).role == "viewer"
    else:
        with pytest.raises(Denied):
            await delivery.identity.create_binding(granter, body)
        [row] = await delivery.world.audit(granter)
        assert row["outcome"] == "denied"


async def test_nobody_grants_a_permission_they_lack(delivery: Delivery) -> None:
    await account(delivery)
    granter = await delivery.world.service_account(frozenset({Permission.BINDING_WRITE, Permission.SECRET_LIST}))
    for role in ("owner", "developer", "node"):
        with pytest.raises(Denied, match="cannot grant what you do not hold"):
            await delivery.identity.create_binding(granter, msgspec.structs.replace(BINDING, role=role, app="*"))
    assert (await delivery.world.sql("SELECT count(*) AS n FROM binding WHERE subject_kind = 'principal'"))[0]["n"] == 2


async def test_two_bindings_do_not_add_up_to_a_grant(delivery: Delivery) -> None:
    """binding:write in one place and the permission in another: neither binding contains what would be given."""
    await account(delivery)
    granter = await delivery.world.service_account(frozenset({Permission.BINDING_WRITE}))
    await delivery.world.bind(granter, "viewer")
    with pytest.raises(Denied):
        await delivery.identity.create_binding(granter, BINDING)


async def test_nobody_makes_a_token_of_somebody_mightier(delivery: Delivery) -> None:
    await account(delivery)
    await delivery.identity.create_binding(delivery.world.owner, msgspec.structs.replace(BINDING, role="owner", app="*"))
    weak = await delivery.world.service_account(frozenset({Permission.TOKEN_WRITE}))
    with pytest.raises(Denied, match="may do more than you"):
        await delivery.identity.create_token(weak, TokenCreate(principal="ci"))
    with pytest.raises(InvalidInput):
        await delivery.identity.create_token(weak, TokenCreate(principal="owner"))


async def test_the_token_of_an_owner_cannot_be_made_through_its_name(delivery: Delivery) -> None:
    with pytest.raises(InvalidInput, match="no service account"):
        await delivery.identity.create_token(delivery.world.owner, TokenCreate(principal="owner"))


async def test_a_replayed_token_creation_answers_with_the_id_and_not_the_text(delivery: Delivery) -> None:
    await account(delivery)
    key = Idempotency("k1", "POST /api/tokens", b"{}")
    made = await delivery.identity.create_token(delivery.world.owner, TokenCreate(principal="ci"), key)
    with pytest.raises(AlreadyDone, match=made.id):
        await delivery.identity.create_token(delivery.world.owner, TokenCreate(principal="ci"), key)
    assert len((await delivery.identity.list_tokens(delivery.world.owner, "ci")).items) == 1


async def test_token_text_and_hash_are_nowhere_in_lists(delivery: Delivery) -> None:
    await account(delivery)
    made = await delivery.identity.create_token(delivery.world.owner, TokenCreate(principal="ci"))
    listed = msgspec.json.encode(await delivery.identity.list_tokens(delivery.world.owner)).decode()
    assert made.token not in listed
    assert made.id in listed


async def test_the_last_owner_stays(delivery: Delivery) -> None:
    bindings = await delivery.identity.list_bindings(delivery.world.owner, "owner")
    with pytest.raises(Conflict, match="last owner"):
        await delivery.identity.delete_binding(delivery.world.owner, UUID(bindings.items[0].id))


async def test_a_deleted_binding_no_longer_counts(delivery: Delivery) -> None:
    await account(delivery)
    made = await delivery.identity.create_binding(delivery.world.owner, BINDING)
    caller = await token(delivery)
    await delivery.scopes.list_apps(caller)
    await delivery.identity.delete_binding(delivery.world.owner, UUID(made.id))
    with pytest.raises(Denied):
        await delivery.scopes.list_apps(delivery.world.caller(caller.token_hash))


async def test_every_problem_of_a_binding_is_named_at_once(delivery: Delivery) -> None:
    body = BindingCreate(
        principal="nobody", role="king", app="no-app", environment="no-env", node="*", name="bad name",
        expires_at=datetime(2020, 1, 1, tzinfo=UTC),
    )  # fmt: skip
    with pytest.raises(InvalidInput) as caught:
        await delivery.identity.create_binding(delivery.world.owner, body)
    assert [problem.place for problem in caught.value.problems] == [
        "body.app", "body.environment", "body.name", "body.expires_at", "body.principal", "body.role",
    ]  # fmt: skip
    assert "nobody" not in str([str(problem) for problem in caught.value.problems])


async def test_a_name_is_taken_once(delivery: Delivery) -> None:
    await account(delivery)
    with pytest.raises(AlreadyExists, match="already"):
        await account(delivery)
    with pytest.raises(InvalidInput, match="caller itself"):
        await account(delivery, "me")


async def test_ids_of_other_things_are_hidden(delivery: Delivery) -> None:
    stranger = await delivery.world.service_account()
    account_id = UUID(await account(delivery))
    caller = await token(delivery)
    me = await delivery.identity.me(caller)
    binding = await delivery.identity.create_binding(delivery.world.owner, BINDING)
    for call in (
        delivery.identity.delete_service_account(stranger, account_id),
        delivery.identity.revoke_token(stranger, UUID(me.token_id)),
        delivery.identity.delete_binding(stranger, UUID(binding.id)),
        delivery.identity.delete_service_account(stranger, UUID(int=1)),
        delivery.identity.revoke_token(stranger, UUID(int=1)),
        delivery.identity.delete_binding(stranger, UUID(int=1)),
    ):
        with pytest.raises(Unavailable):
            await call
    await delivery.identity.me(delivery.world.caller(caller.token_hash))


async def test_deleting_an_account_keeps_the_last_owner(delivery: Delivery) -> None:
    """Its bindings go with it, so the rule holds for accounts as it does for bindings."""
    await account(delivery)
    await delivery.identity.create_binding(delivery.world.owner, msgspec.structs.replace(BINDING, role="owner", app="*"))
    [people] = (await delivery.identity.list_bindings(delivery.world.owner, "owner")).items
    await delivery.identity.delete_binding(delivery.world.owner, UUID(people.id))
    other = await token_of(delivery, "ci")
    [robot] = [row for row in (await delivery.identity.list_service_accounts(other)).items if row.name == "ci"]
    with pytest.raises(Conflict, match="last owner"):
        await delivery.identity.delete_service_account(other, UUID(robot.id))


async def token_of(delivery: Delivery, principal: str) -> Caller:
    """A token of an account, made past the service: the owner who could make it may be gone."""
    digest = bytes(range(32))
    await delivery.world.sql(
        "INSERT INTO token (hash, id, principal_id, expires_at)"
        " SELECT $1, gen_random_uuid(), id, now() + interval '1 hour' FROM principal WHERE name = $2",
        digest, principal,
    )  # fmt: skip
    return delivery.world.caller(digest)


async def test_unset_does_not_reach_any(delivery: Delivery) -> None:
    """Who owns only what is set nowhere cannot take away, delete or revoke what reaches everywhere."""
    account_id = await account(delivery)
    mighty = await delivery.identity.create_binding(
        delivery.world.owner, msgspec.structs.replace(BINDING, role="owner", app="*")
    )
    robot = await token(delivery)
    token_id = (await delivery.identity.me(robot)).token_id
    weak = await delivery.world.service_account("owner", app="unset", environment="unset", node="unset")
    for call in (
        delivery.identity.delete_binding(weak, UUID(mighty.id)),
        delivery.identity.delete_service_account(delivery.world.caller(weak.token_hash), UUID(account_id)),
        delivery.identity.revoke_token(delivery.world.caller(weak.token_hash), UUID(token_id)),
    ):
        with pytest.raises(Denied, match="cannot take away what you do not hold"):
            await call
    assert (await delivery.identity.me(delivery.world.caller(robot.token_hash))).bindings


async def test_a_short_token_makes_no_longer_and_no_wider_one_of_its_own(delivery: Delivery) -> None:
    await account(delivery)
    await delivery.identity.create_binding(delivery.world.owner, msgspec.structs.replace(BINDING, role="owner", app="*"))
    bound = await token(delivery, expires_in=600, networks=["192.0.2.0/24"])
    wider = [{"expires_in": 300, "networks": [network]} for network in ("0.0.0.0/0", "::/0")]
    for fields in ({"expires_in": 3600}, *wider):
        with pytest.raises(InvalidInput, match="a token of your own"):
            await delivery.identity.create_token(
                delivery.world.caller(bound.token_hash), msgspec.structs.replace(TokenCreate(principal="me"), **fields)
            )
    body = TokenCreate(principal="me", expires_in=300)
    child = await delivery.identity.create_token(delivery.world.caller(bound.token_hash), body)
    listed = {row.id: row for row in (await delivery.identity.list_tokens(delivery.world.owner, "ci")).items}
    assert listed[child.id].networks == ["192.0.2.0/24"]


async def test_a_user_keeps_its_name(delivery: Delivery) -> None:
    with pytest.raises(InvalidInput, match="users have their names alone"):
        await account(delivery, "owner")


async def test_a_network_with_a_zone_is_refused(delivery: Delivery) -> None:
    await account(delivery)
    with pytest.raises(InvalidInput, match="networks is null"):
        await token(delivery, networks=["fe80::%1/64"])


async def test_a_binding_that_has_ended_reaches_nothing(delivery: Delivery) -> None:
    """Rights that are asked for without regard to time are those of live bindings all the same."""
    world = delivery.world
    ended = await world.service_account(frozenset({Permission.BINDING_WRITE}), app="unset", environment="unset", node="unset")
    await world.bind(ended, "owner", expires_at=datetime.now(UTC) - timedelta(seconds=1))
    target = await world.bind(await world.service_account(), "viewer")
    caller = world.caller(ended.token_hash)
    with pytest.raises(Denied, match="do not hold"):
        await delivery.identity.delete_binding(caller, target)
    assert [row["code"] for row in await world.audit(caller)] == ["beyond_own_rights"]
    await world.bind(ended, "owner")
    await delivery.identity.delete_binding(world.caller(ended.token_hash), target)

"""Users as administrators see them: bounds of what one may do to another, the last owner, resets."""

from __future__ import annotations

from uuid import UUID

import pytest

from overseer.core.errors import AlreadyExists, Conflict, Denied, InvalidInput, Unauthenticated, Unavailable
from overseer.core.permissions import Permission
from overseer.core.principals import Caller
from overseer.server.services import session_making
from overseer.server.services.idempotency import Idempotency
from overseer.wire.access import BindingCreate, ServiceAccountCreate, TokenCreate
from overseer.wire.people import ExternalIdentity, InvitationAccept, UserCreate, UserPatch, UserReset
from overseer.wire.secrets import ValueRequest
from tests.integration.people.conftest import PASSWORD, People

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

HELP_DESK = frozenset({Permission.PRINCIPAL_LIST, Permission.PRINCIPAL_WRITE, Permission.USER_RESET, Permission.TOKEN_WRITE})


async def owner_id(people: People) -> UUID:
    return UUID((await people.services.identity.me(people.world.owner)).id)


async def test_a_user_is_made_shown_described_and_deleted(people: People) -> None:
    users, owner = people.services.users, people.world.owner
    made = await users.create_user(owner, UserCreate(name="Ann", description="of the shop"))
    assert (made.has_password, made.has_second_factor, made.disabled, made.identities) == (False, False, False, [])
    assert [view.name for view in (await users.list_users(owner)).items] == ["Ann", "owner"]
    changed = await users.patch_user(owner, UUID(made.id), UserPatch(description="of the blog"))
    assert changed.description == "of the blog"
    await users.delete_user(owner, UUID(made.id))
    with pytest.raises(Unavailable):
        await users.get_user(owner, UUID(made.id))


async def test_names_differ_in_more_than_case_and_from_machines(people: People) -> None:
    users, owner = people.services.users, people.world.owner
    await users.create_user(owner, UserCreate(name="Ann"))
    await people.services.identity.create_service_account(owner, ServiceAccountCreate(name="ci"))
    with pytest.raises(AlreadyExists):
        await users.create_user(owner, UserCreate(name="aNN"))
    for name in ("ci", "me", "Me", "-", "a b", "ann@example.org"):
        with pytest.raises(InvalidInput):
            await users.create_user(owner, UserCreate(name=name))


async def test_the_same_key_makes_one_user(people: People) -> None:
    users, owner = people.services.users, people.world.owner
    key = Idempotency("k1", "POST /api/users", b"{}")
    first = await users.create_user(owner, UserCreate(name="ann"), key)
    assert await users.create_user(people.world.caller(owner.token_hash), UserCreate(name="ann"), key) == first


async def test_the_last_owner_stays(people: People) -> None:
    users, owner = people.services.users, people.world.owner
    own = await owner_id(people)
    for act in (users.disable_user, users.delete_user):
        with pytest.raises(Conflict):
            await act(owner, own)
    second = await people.user("second")
    await people.services.identity.create_binding(
        owner, BindingCreate(principal="second", role="owner", app="*", environment="*", node="*", name="*")
    )
    await users.disable_user(owner, own)
    session, _ = await people.sign_in("second")
    with pytest.raises(Conflict):
        await users.disable_user(session, second)


async def test_disabling_ends_every_credential_for_good(people: People) -> None:
    users, owner = people.services.users, people.world.owner
    ann = await people.user("ann")
    await people.services.identity.create_binding(
        owner, BindingCreate(principal="ann", role="owner", app="*", environment="*", node="*", name="*")
    )
    session, _ = await people.sign_in("ann")
    token = people.holder(
        (await people.services.identity.create_token(session, TokenCreate(principal="me", expires_in=600))).token
    )
    await people.services.identity.me(token)
    await users.disable_user(owner, ann)
    await users.enable_user(owner, ann)
    for credential in (session, token):
        with pytest.raises(Unauthenticated):
            await people.services.identity.me(credential)


async def test_nobody_resets_disables_or_links_whoever_may_do_more(people: People) -> None:
    """Whoever can reset a user can become it."""
    users = people.services.users
    own = await owner_id(people)
    ann = await people.user("ann")
    desk = await people.world.service_account(HELP_DESK)
    identity = ExternalIdentity(issuer="https://id.example", subject="desk")
    for attempt in (
        users.reset_user(desk, own, UserReset(second_factor=True)),
        users.disable_user(desk, own),
        users.enable_user(desk, own),
        users.delete_user(desk, own),
        users.link_identity(desk, own, identity),
        people.services.sessions.revoke_sessions(desk, own),
    ):
        with pytest.raises(Denied):
            await attempt
    await users.reset_user(desk, ann, UserReset())
    await users.link_identity(desk, ann, identity)


async def test_rights_through_a_group_count_as_well(people: People) -> None:
    ann = await people.user("ann")
    group = UUID(int=5)
    await people.world.sql("INSERT INTO principal_group (id, name) VALUES ($1, 'owners')", group)
    await people.world.sql("INSERT INTO group_member (principal_id, group_id) VALUES ($1, $2)", ann, group)
    await people.world.bind(people.world.owner, "owner", subject=group)
    await people.world.sql("UPDATE binding SET subject_kind = 'group' WHERE subject_id = $1", group)
    desk = await people.world.service_account(HELP_DESK)
    with pytest.raises(Denied):
        await people.services.users.reset_user(desk, ann, UserReset())


async def test_a_reset_ends_password_and_sessions_and_keeps_the_second_factor(people: People) -> None:
    users, owner = people.services.users, people.world.owner
    ann = await people.user("ann")
    session, _ = await people.sign_in("ann")
    _, recovery, session = await people.second_factor(session)
    await users.reset_user(owner, ann, UserReset())
    with pytest.raises(Unauthenticated):
        await people.services.identity.me(session)
    with pytest.raises(Unauthenticated):
        await people.sign_in("ann", code=recovery[0])
    assert (await users.get_user(owner, ann)).has_second_factor
    await users.reset_user(owner, ann, UserReset(second_factor=True))
    view = await users.get_user(owner, ann)
    assert (view.has_second_factor, view.has_password) == (False, False)
    actions = [row["action"] for row in await people.world.audit() if row["resource_name"] == "ann"]
    assert actions[-3:] == ["user:reset", "totp:remove", "user:list"]


@pytest.mark.parametrize("seconds", [0, 299, 7 * 86400 + 1, -5])
async def test_an_invitation_lives_for_a_bounded_time(people: People, seconds: int) -> None:
    ann = await people.user("ann")
    with pytest.raises(InvalidInput):
        await people.services.users.reset_user(people.world.owner, ann, UserReset(expires_in=seconds))
    await people.sign_in("ann", PASSWORD)  # nothing was reset


async def test_an_identity_belongs_to_one_user(people: People) -> None:
    users, owner = people.services.users, people.world.owner
    ann, bob = await people.user("ann"), await people.user("bob")
    identity = ExternalIdentity(issuer="https://id.example", subject="s-1")
    linked = await users.link_identity(owner, ann, identity)
    assert [(one.issuer, one.subject) for one in linked.identities] == [("https://id.example", "s-1")]
    with pytest.raises(AlreadyExists):
        await users.link_identity(owner, bob, identity)
    with pytest.raises(Conflict):
        await users.unlink_identity(owner, bob, identity)
    session, _ = await people.sign_in("ann")
    assert (await users.unlink_identity(owner, ann, identity)).identities == []
    with pytest.raises(Unauthenticated):
        await people.services.identity.me(session)


async def test_sessions_are_seen_and_ended(people: People) -> None:
    sessions, owner = people.services.sessions, people.world.owner
    ann = await people.user("ann")
    here, first = await people.sign_in("ann")
    there, second = await people.sign_in("ann")
    own = (await sessions.list_own_sessions(here)).items
    assert [(view.id, view.current) for view in own] == [(second.id, False), (first.id, True)]
    assert [view.id for view in (await sessions.list_sessions(owner, ann)).items] == [second.id, first.id]
    await sessions.revoke_session(here, UUID(second.id))
    with pytest.raises(Unauthenticated):
        await people.services.identity.me(there)
    bob = await people.user("bob")
    other, _ = await people.sign_in("bob")
    with pytest.raises((Denied, Unavailable)):
        await sessions.revoke_session(other, UUID(first.id))
    assert (await sessions.revoke_sessions(owner, bob)).ended == 1
    await sessions.sign_out(here)
    for ended in (here, other):
        with pytest.raises(Unauthenticated):
            await people.services.identity.me(ended)
    with pytest.raises(Conflict):
        await sessions.sign_out(owner)


async def test_a_session_ends_when_it_is_not_used_and_at_its_end_however_it_is_used(people: People) -> None:
    await people.user("ann")
    session, made = await people.sign_in("ann")
    await people.world.secret("db-password")
    [secret] = (await people.world.sql("SELECT id FROM secret"))[0]
    idle = "UPDATE token SET created_at = created_at - interval '2 hours' WHERE id = $1"
    await people.world.sql(idle, UUID(made.id))
    await refused(people, session, secret, "session_idle")
    await people.world.sql("UPDATE token SET last_used_at = now() WHERE id = $1", UUID(made.id))
    await people.services.identity.me(session)
    await people.world.sql("UPDATE token SET expires_at = now() WHERE id = $1", UUID(made.id))
    await refused(people, session, secret, "token_expired")


async def refused(people: People, session: Caller, secret: UUID, code: str) -> None:
    """By the gate and by the batched reveal alike."""
    for number, call in enumerate(
        (people.services.identity.me, lambda c: people.services.secrets.reveal(c, secret, ValueRequest()))
    ):
        caller = Caller(session.token_hash, f"{code}-{number}", session.peer, "test")
        with pytest.raises(Unauthenticated):
            await call(caller)
        [row] = await people.world.audit(caller)
        assert (row["outcome"], row["code"]) == ("denied", code)


async def test_the_oldest_session_ends_where_there_are_too_many(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever signs in all day makes neither the own list of sessions long nor an administrator's."""
    monkeypatch.setattr(session_making, "MOST_SESSIONS", 2)
    ann, _ = await people.user("ann"), await people.user("bob")
    other, _ = await people.sign_in("bob")
    first, _ = await people.sign_in("ann")
    later = [(await people.sign_in("ann"))[0] for _ in range(2)]
    for caller in (*later, other):
        await people.services.identity.me(caller)
    with pytest.raises(Unauthenticated):
        await people.services.identity.me(first)
    assert len((await people.services.sessions.list_sessions(people.world.owner, ann)).items) == 2


async def test_tokens_and_sessions_are_two_lists(people: People) -> None:
    await people.user("ann")
    await people.sign_in("ann")
    assert "ann" not in {view.principal for view in (await people.services.identity.list_tokens(people.world.owner)).items}


@pytest.mark.parametrize("change", ["promoted", "promoted_by_group", "inviter_disabled", "inviter_deleted", "inviter_lost_it"])
async def test_an_invitation_is_worth_what_its_maker_could_make_now(people: People, change: str) -> None:
    """Whoever made it may have kept it, to become somebody who is given more later, or after losing their own rights."""
    world, users = people.world, people.services.users
    desk = await world.service_account(HELP_DESK)
    desk_id = UUID((await people.services.identity.me(desk)).id)
    ann = UUID((await users.create_user(world.owner, UserCreate(name="ann"))).id)
    invited = await users.reset_user(desk, ann, UserReset())
    match change:
        case "promoted":
            await world.bind(world.owner, "owner", subject=ann)
        case "promoted_by_group":
            group = UUID(int=7)
            await world.sql("INSERT INTO principal_group (id, name) VALUES ($1, 'owners')", group)
            await world.sql("INSERT INTO group_member (principal_id, group_id) VALUES ($1, $2)", ann, group)
            await world.bind(world.owner, "owner", subject=group)
        case "inviter_disabled":
            await world.sql("UPDATE principal SET disabled_at = now() WHERE id = $1", desk_id)
        case "inviter_deleted":
            await world.sql("DELETE FROM principal WHERE id = $1", desk_id)
        case _:
            await world.sql("DELETE FROM binding WHERE subject_id = $1", desk_id)
    body = InvitationAccept(invitation=invited.invitation, password=PASSWORD)
    caller = people.stranger()
    with pytest.raises(Unauthenticated):
        await people.services.sign_in.accept_invitation(caller, body)
    [row] = await world.audit(caller)
    assert (row["outcome"], row["code"], row["resource_name"]) == ("denied", "beyond_own_rights", "ann")
    assert not (await users.get_user(world.owner, ann)).has_password

"""Signing in: what is let in, what is not and what that tells; tries that are counted and cannot be dodged."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest

from overseer.core.errors import InvalidInput, RateLimited, SecondFactorNeeded, Unauthenticated
from overseer.core.secret_value import SecretValue
from overseer.core.sign_in_limits import FREE_FROM_EVERYWHERE, FREE_FROM_PEER
from overseer.crypto.passwords import Argon2Parameters, hash_password, password_matches
from overseer.server.services import password_work
from overseer.server.services.sign_in_tries import SignInTries
from overseer.wire.people import InvitationAccept, SignIn, UserReset
from tests.integration.people.conftest import PASSWORD, People
from tests.integration.services.world import together

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]


async def test_a_user_signs_in_and_the_session_is_a_credential(people: People) -> None:
    user_id = await people.user("Ann")
    session, made = await people.sign_in(" ann ")
    assert made.session.startswith("ovss_")
    me = await people.services.identity.me(session)
    assert (me.name, me.kind, me.id) == ("Ann", "user", str(user_id))
    [row] = [row for row in await people.world.audit() if row["action"] == "session:create"]
    assert (row["outcome"], row["actor_name"], str(row["token_id"])) == ("allowed", "Ann", made.id)


@pytest.mark.parametrize(
    ("name", "password", "code"),
    [("ann", "plum tractor violet mosh", "bad_password"), ("bob", PASSWORD, "unknown_user"), ("ann\0", PASSWORD, "unknown_user")],
)
async def test_what_is_wrong_is_not_told_and_stands_in_the_log_alone(people: People, name: str, password: str, code: str) -> None:
    await people.user("ann")
    caller = people.stranger()
    with pytest.raises(Unauthenticated) as caught:
        await people.services.sign_in.sign_in(caller, SignIn(name=name, password=password))
    assert caught.value.message == "name, password or code is wrong"
    [row] = await people.world.audit(caller)
    assert (row["outcome"], row["code"]) == ("denied", code)
    assert row["resource_name"] == ("ann" if code == "bad_password" else "")
    assert row["actor_id"] is None


async def test_a_name_that_is_not_known_is_written_down_nowhere(people: People) -> None:
    """People type their password where the name belongs."""
    with pytest.raises(Unauthenticated):
        await people.sign_in("plum-tractor-violet", "x")
    for table in ("audit", "sign_in_try"):
        assert "plum-tractor-violet" not in str(await people.world.sql(f"SELECT {table}::text FROM {table}"))


async def test_a_disabled_user_and_one_without_a_password_are_refused_alike(people: People) -> None:
    user_id = await people.user("ann")
    await people.services.users.disable_user(people.world.owner, user_id)
    with pytest.raises(Unauthenticated, match="name, password or code is wrong"):
        await people.sign_in("ann")
    await people.services.users.enable_user(people.world.owner, user_id)
    await people.sign_in("ann")
    await people.services.users.reset_user(people.world.owner, user_id, UserReset())
    with pytest.raises(Unauthenticated, match="name, password or code is wrong"):
        await people.sign_in("ann")
    codes = [row["code"] for row in await people.world.audit() if row["action"] == "session:create"]
    assert codes == ["principal_disabled", "", "no_password"]


async def test_a_name_that_nobody_has_costs_the_same_hash(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    await people.user("ann")
    checked: list[str] = []

    def matches(password: SecretValue, stored: str) -> bool:
        checked.append(stored)
        return password_matches(password, stored)

    monkeypatch.setattr(password_work, "password_matches", matches)
    for name in ("ann", "nobody"):
        with pytest.raises(Unauthenticated):
            await people.sign_in(name, "wrong wrong wrong")
    known, unknown = (stored.rsplit("$", 2)[0] for stored in checked)
    assert known == unknown == "$argon2id$v=19$m=19456,t=2,p=1"


async def test_failures_from_one_peer_make_it_wait_however_the_name_is_written(people: People) -> None:
    await people.user("ann")
    spelled = ["ann", "ANN", " ann", "Ann ", "aNN\t"]
    for name in spelled[:FREE_FROM_PEER]:
        with pytest.raises(Unauthenticated):
            await people.sign_in(name, "wrong", peer="203.0.113.9")
    with pytest.raises(RateLimited) as caught:
        await people.sign_in("ann", peer="203.0.113.9")
    assert 1 <= caught.value.retry_after <= 30
    await people.sign_in("ann", peer="203.0.113.10")  # somebody else's peer is not held up


async def test_a_name_that_nobody_has_is_limited_alike(people: People) -> None:
    for _ in range(FREE_FROM_PEER):
        with pytest.raises(Unauthenticated):
            await people.sign_in("nobody", "wrong", peer="203.0.113.9")
    with pytest.raises(RateLimited):
        await people.sign_in("nobody", "wrong", peer="203.0.113.9")


async def test_tries_at_once_are_counted_before_they_are_checked(people: People) -> None:
    await people.user("ann")
    ended = await together(*(people.sign_in("ann", "wrong", peer="203.0.113.9") for _ in range(25)))
    checked = [one for one in ended if isinstance(one, Unauthenticated)]
    assert len(checked) == FREE_FROM_PEER
    assert all(isinstance(one, RateLimited) for one in ended if one not in checked)


async def test_a_failure_stays_counted_when_the_client_leaves(people: People) -> None:
    await people.user("ann")
    for number in range(FREE_FROM_PEER):
        task = asyncio.ensure_future(people.sign_in("ann", "wrong", peer="203.0.113.9"))
        counted = "SELECT FROM sign_in_try WHERE peer <> '' AND failures > $1"
        while not (await people.world.sql(counted, number)):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    rows = await people.world.sql("SELECT failures FROM sign_in_try WHERE peer <> ''")
    assert [row["failures"] for row in rows] == [FREE_FROM_PEER]


async def test_a_stranger_cannot_lock_a_user_out_of_where_it_signs_in(people: People) -> None:
    await people.user("ann")
    await people.sign_in("ann", peer="192.0.2.50")
    for number in range(FREE_FROM_EVERYWHERE):
        with pytest.raises(Unauthenticated):
            await people.sign_in("ann", "wrong", peer=f"203.0.113.{number}")
    with pytest.raises(RateLimited):
        await people.sign_in("ann", peer="203.0.113.200")  # a place that nobody knows waits
    await people.sign_in("ann", peer="192.0.2.50")  # the usual one does not
    rows = await people.world.sql("SELECT max(blocked_until - now()) AS wait FROM sign_in_try")
    assert rows[0]["wait"].total_seconds() <= 15 * 60


async def test_a_recovery_code_is_let_through_and_other_words_are_not(people: People) -> None:
    await people.user("ann")
    session, _ = await people.sign_in("ann", peer="192.0.2.50")
    _, recovery, _ = await people.second_factor(session)
    await people.world.sql("UPDATE sign_in_try SET blocked_until = now() + interval '10 minutes', good_at = NULL")
    with pytest.raises(RateLimited):
        await people.sign_in("ann", code="aaaa-bbbb-cccc-dddd-eeee-ffff", peer="203.0.113.1")
    await people.sign_in("ann", code=recovery[0], peer="203.0.113.1")


async def test_waits_grow_to_a_quarter_of_an_hour_and_a_day_forgets(people: People) -> None:
    await people.user("ann")
    peer = "203.0.113.9"
    for _ in range(FREE_FROM_PEER + 8):
        with pytest.raises(Unauthenticated):
            await people.sign_in("ann", "wrong", peer=peer)
        await people.world.sql("UPDATE sign_in_try SET blocked_until = blocked_until - interval '1 hour'")
    [row] = await people.world.sql(
        "SELECT blocked_until + interval '1 hour' - failed_at AS wait FROM sign_in_try WHERE peer <> ''"
    )
    assert row["wait"].total_seconds() == 15 * 60
    await people.world.sql("UPDATE sign_in_try SET failed_at = failed_at - interval '25 hours'")
    with pytest.raises(Unauthenticated):
        await people.sign_in("ann", "wrong", peer=peer)
    [row] = await people.world.sql("SELECT failures, blocked_until FROM sign_in_try WHERE peer <> ''")
    assert (row["failures"], row["blocked_until"]) == (1, None)


async def test_refused_tries_are_counted_in_the_log_and_not_written_one_by_one(people: People) -> None:
    await people.user("ann")
    await together(*(people.sign_in("ann", "wrong", peer="203.0.113.9") for _ in range(30)))
    rows = [row for row in await people.world.audit() if row["action"] == "session:create"]
    assert len(rows) == FREE_FROM_PEER


async def test_a_hash_with_older_parameters_is_renewed_by_a_sign_in(people: People) -> None:
    user_id = await people.user("ann")
    older = hash_password(SecretValue(PASSWORD), Argon2Parameters(19_456, 1, 1))
    await people.world.sql("UPDATE user_password SET phc = $2 WHERE principal_id = $1", user_id, older)
    await people.sign_in("ann")
    [row] = await people.world.sql("SELECT phc FROM user_password")
    assert "m=19456,t=2,p=1" in row["phc"]
    await people.sign_in("ann")


async def test_a_second_factor_is_asked_for_and_a_code_works_once(people: People) -> None:
    await people.user("ann")
    session, _ = await people.sign_in("ann")
    secret, _, _ = await people.second_factor(session)
    with pytest.raises(SecondFactorNeeded):
        await people.sign_in("ann")
    code = await people.code(secret)
    await people.sign_in("ann", code=f" {code[:3]} {code[3:]} ")
    with pytest.raises(Unauthenticated):
        await people.sign_in("ann", code=code)
    with pytest.raises(Unauthenticated):
        await people.sign_in("ann", code=await people.code(secret, -1))  # earlier than one that was used
    await people.sign_in("ann", code=await people.code(secret, 1))


async def test_one_code_at_once_on_many_replicas_lets_one_in(people: People) -> None:
    await people.user("ann")
    session, _ = await people.sign_in("ann")
    secret, _, _ = await people.second_factor(session)
    code = await people.code(secret, 1)
    ended = await together(*(people.sign_in("ann", code=code) for _ in range(6)))
    assert len([one for one in ended if isinstance(one, tuple)]) == 1
    assert len([one for one in ended if isinstance(one, Unauthenticated)]) == 5


@pytest.mark.parametrize("steps", [-2, 2])
async def test_a_code_of_another_time_is_wrong(people: People, steps: int) -> None:
    await people.user("ann")
    session, _ = await people.sign_in("ann")
    secret, _, _ = await people.second_factor(session)
    await people.world.sql("UPDATE user_totp SET last_step = 0")
    with pytest.raises(Unauthenticated):
        await people.sign_in("ann", code=await people.code(secret, steps))


async def test_asking_without_a_code_frees_no_wrong_code_of_its_wait(people: People) -> None:
    """Who knows the password and guesses codes: a try without a code in between gives back only itself."""
    await people.user("ann")
    session, _ = await people.sign_in("ann")
    await people.second_factor(session)
    peer, wrong = "203.0.113.9", 0
    while wrong < 50:
        try:
            with pytest.raises(SecondFactorNeeded):
                await people.sign_in("ann", peer=peer)
            with pytest.raises(Unauthenticated):
                await people.sign_in("ann", code="000000", peer=peer)
        except RateLimited:
            break
        wrong += 1
    assert wrong <= FREE_FROM_PEER


async def test_a_recovery_code_works_once_however_it_is_written(people: People) -> None:
    await people.user("ann")
    session, _ = await people.sign_in("ann")
    _, recovery, _ = await people.second_factor(session)
    assert len(set(recovery)) == 10
    await people.sign_in("ann", code=recovery[3].upper().replace("-", " "))
    with pytest.raises(Unauthenticated):
        await people.sign_in("ann", code=recovery[3])
    stored = str(await people.world.sql("SELECT recovery_code::text FROM recovery_code"))
    assert not any(code in stored or code.replace("-", "") in stored for code in recovery)


async def test_an_invitation_sets_a_password_once(people: People) -> None:
    user_id = await people.user("ann")
    invited = await people.services.users.reset_user(people.world.owner, user_id, UserReset())
    accept = InvitationAccept(invitation=invited.invitation, password="another good long one")
    ended = await together(*(people.services.sign_in.accept_invitation(people.stranger(), accept) for _ in range(4)))
    assert len([one for one in ended if one is None]) == 1
    assert len([one for one in ended if isinstance(one, Unauthenticated)]) == 3
    await people.sign_in("ann", "another good long one")
    with pytest.raises(Unauthenticated):
        await people.sign_in("ann", PASSWORD)


async def test_a_bad_password_leaves_the_invitation_good(people: People) -> None:
    user_id = await people.user("ann")
    invited = await people.services.users.reset_user(people.world.owner, user_id, UserReset())
    for bad in ("short", "passwordpassword1234", "annannannannannannann", "a" * 300):
        with pytest.raises(InvalidInput) as caught:
            await people.services.sign_in.accept_invitation(
                people.stranger(), InvitationAccept(invitation=invited.invitation, password=bad)
            )
        assert bad not in caught.value.message
    good = InvitationAccept(invitation=invited.invitation, password=PASSWORD)
    await people.services.sign_in.accept_invitation(people.stranger(), good)


async def test_an_invitation_ends_by_time_by_the_next_one_and_with_its_user(people: People) -> None:
    user_id, owner = await people.user("ann"), people.world.owner

    async def works(invitation: str) -> bool:
        body = InvitationAccept(invitation=invitation, password=PASSWORD)
        try:
            await people.services.sign_in.accept_invitation(people.stranger(), body)
        except Unauthenticated:
            return False
        return True

    first = await people.services.users.reset_user(owner, user_id, UserReset())
    second = await people.services.users.reset_user(owner, user_id, UserReset())
    assert not await works(first.invitation)
    await people.world.sql("UPDATE invitation SET expires_at = now() - interval '1 second'")
    assert not await works(second.invitation)
    third = await people.services.users.reset_user(owner, user_id, UserReset())
    await people.services.users.disable_user(owner, user_id)
    assert not await works(third.invitation)
    await people.services.users.enable_user(owner, user_id)
    assert not await works(third.invitation)


async def test_housekeeping_forgets_what_nobody_needs_and_nothing_else(people: People) -> None:
    user_id = await people.user("ann")
    _, made = await people.sign_in("ann", peer="192.0.2.50")
    with pytest.raises(Unauthenticated):
        await people.sign_in("ann", "wrong", peer="203.0.113.1")
    await people.services.users.reset_user(people.world.owner, user_id, UserReset())
    await people.services.people_housekeeping.run()
    assert len(await people.world.sql("SELECT FROM sign_in_try")) == 3
    assert len(await people.world.sql("SELECT FROM token WHERE id = $1", UUID(made.id))) == 1
    await people.world.sql("UPDATE sign_in_try SET failed_at = failed_at - interval '2 days'")
    await people.world.sql("UPDATE token SET expires_at = now() - interval '8 days' WHERE kind = 'session'")
    await people.world.sql("UPDATE invitation SET expires_at = now() - interval '1 second'")
    await people.services.people_housekeeping.run()
    assert [row["peer"] for row in await people.world.sql("SELECT peer FROM sign_in_try")] == ["192.0.2.50"]
    assert await people.world.sql("SELECT FROM token WHERE kind = 'session'") == []
    assert await people.world.sql("SELECT FROM invitation") == []


async def test_giving_a_try_back_leaves_the_wait_that_another_one_set(people: People) -> None:
    """Else whoever knows the password frees guesses of the code from their waits by asking without one at the same time."""
    tries = SignInTries(people.world.keys)
    async with people.world.database.work() as session:
        for _ in range(FREE_FROM_PEER):
            taken = await tries.take(session, "ann", "203.0.113.9")
    another = "UPDATE sign_in_try SET failures = failures + 1, blocked_until = now() + interval '5 minutes' WHERE peer <> ''"
    await people.world.sql(another)
    async with people.world.database.work() as session:
        await tries.give_back(session, taken)
    [row] = await people.world.sql("SELECT failures, blocked_until > now() AS waits FROM sign_in_try WHERE peer <> ''")
    assert (row["failures"], row["waits"]) == (FREE_FROM_PEER, True)
    await people.world.sql("UPDATE sign_in_try SET blocked_until = $1 WHERE peer <> ''", taken.blocks_peer)
    async with people.world.database.work() as session:
        await tries.give_back(session, taken)
    [row] = await people.world.sql("SELECT failures, blocked_until FROM sign_in_try WHERE peer <> ''")
    assert (row["failures"], row["blocked_until"]) == (FREE_FROM_PEER - 1, None)


async def test_one_recovery_code_does_not_let_passwords_be_guessed_without_end(people: People) -> None:
    """It is let through a wait and cannot be guessed, but it can be found: on a sheet of paper."""
    await people.user("ann")
    session, _ = await people.sign_in("ann", peer="192.0.2.50")
    _, recovery, _ = await people.second_factor(session)
    await people.world.sql(
        "UPDATE sign_in_try SET failures = 30, failed_at = now(), blocked_until = now() + interval '10 minutes', good_at = NULL"
    )
    with pytest.raises(Unauthenticated):
        await people.sign_in("ann", "wrong", recovery[0], peer="203.0.113.1")
    with pytest.raises(RateLimited):
        await people.sign_in("ann", PASSWORD, recovery[0], peer="203.0.113.1")
    await people.sign_in("ann", PASSWORD, recovery[1], peer="203.0.113.1")
    with pytest.raises(Unauthenticated):
        await people.sign_in("ann", PASSWORD, recovery[1], peer="192.0.2.51")  # nor is it good a second time without a wait

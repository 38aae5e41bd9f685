"""What users do to their own sign-in, and what that does to their sessions."""

from __future__ import annotations

import base64
from typing import Any
from uuid import UUID

import pytest

from overseer.core.errors import Conflict, DecryptionFailed, Denied, InvalidInput, RateLimited, Unauthenticated
from overseer.core.principals import Caller
from overseer.core.secret_value import SecretValue
from overseer.crypto.envelope import EncryptedValue, TotpContext, decrypt
from overseer.server.storage import user_rows
from overseer.wire.people import PasswordChange, PasswordProof, SecondFactorProof, TotpCode
from tests.integration.people.conftest import PASSWORD, People

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

NEW = "lantern gravel pigeon oat"


async def lives(people: People, caller: Caller) -> bool:
    try:
        await people.services.identity.me(caller)
    except Unauthenticated:
        return False
    return True


async def test_changing_the_password_ends_other_sessions_and_rotates_the_own_one(people: People) -> None:
    await people.user("ann")
    here, made = await people.sign_in("ann")
    there, _ = await people.sign_in("ann")
    changed = await people.services.account.change_password(here, PasswordChange(current=PASSWORD, password=NEW))
    assert changed.session is not None
    assert not await lives(people, here)
    assert not await lives(people, there)
    renewed = people.holder(changed.session)
    assert (await people.services.identity.me(renewed)).token_id == made.id
    await people.sign_in("ann", NEW)
    with pytest.raises(Unauthenticated):
        await people.sign_in("ann", PASSWORD)


async def test_changing_the_password_needs_the_current_one_and_a_good_new_one(people: People) -> None:
    await people.user("ann")
    here, _ = await people.sign_in("ann")
    account = people.services.account
    with pytest.raises(Denied):
        await account.change_password(here, PasswordChange(current="wrong", password=NEW))
    with pytest.raises(InvalidInput):
        await account.change_password(here, PasswordChange(current=PASSWORD, password="short"))
    assert await lives(people, here)
    await people.sign_in("ann")


async def test_guesses_of_the_password_with_a_session_are_limited(people: People) -> None:
    """Who found a session that was left open does not find out the password with it."""
    await people.user("ann")
    here, _ = await people.sign_in("ann", peer=people.holder("x").peer)
    for number in range(5):
        with pytest.raises(Denied):
            await people.services.account.start_totp(here, PasswordProof(password=f"guess {number}"))
    with pytest.raises(RateLimited):
        await people.services.account.start_totp(here, PasswordProof(password=PASSWORD))


async def test_a_machine_and_a_token_of_a_user(people: People) -> None:
    machine = await people.world.service_account("owner")
    with pytest.raises(Denied):
        await people.services.account.change_password(machine, PasswordChange(current=PASSWORD, password=NEW))
    with pytest.raises(Conflict):  # the owner that `server init` makes has a token and no password
        await people.services.account.start_totp(people.world.owner, PasswordProof(password=PASSWORD))


async def test_a_second_factor_comes_into_force_with_a_code_of_it(people: People) -> None:
    user_id = await people.user("ann")
    here, _ = await people.sign_in("ann")
    other, _ = await people.sign_in("ann")
    account = people.services.account
    with pytest.raises(Conflict):
        await account.confirm_totp(here, TotpCode(code="123456"))
    first = await account.start_totp(here, PasswordProof(password=PASSWORD))
    second = await account.start_totp(here, PasswordProof(password=PASSWORD))
    assert first.secret != second.secret
    assert second.uri == (f"otpauth://totp/Overseer:ann?secret={second.secret}&issuer=Overseer&algorithm=SHA1&digits=6&period=30")
    await people.sign_in("ann")  # it is not in force yet
    with pytest.raises(InvalidInput):
        await account.confirm_totp(here, TotpCode(code="000000"))
    secret, _, renewed = await people.second_factor(here)
    assert not await lives(people, other)
    with pytest.raises(Conflict):
        await account.start_totp(renewed, PasswordProof(password=PASSWORD))
    view = await people.services.users.get_user(people.world.owner, user_id)
    assert view.has_second_factor
    stored = str(await people.world.sql("SELECT user_totp::text FROM user_totp"))
    assert base64.b32encode(secret.reveal()).decode() not in stored
    assert secret.reveal().hex() not in stored


async def test_recovery_codes_are_renewed_and_the_factor_goes_with_password_and_code(people: People) -> None:
    await people.user("ann")
    session, _ = await people.sign_in("ann")
    secret, old, session = await people.second_factor(session)
    account = people.services.account
    with pytest.raises(Denied):
        await account.renew_recovery_codes(session, SecondFactorProof(password=PASSWORD, code="000000"))
    code = await people.code(secret)
    renewed = await account.renew_recovery_codes(session, SecondFactorProof(password=PASSWORD, code=code))
    assert renewed.session is not None
    session = people.holder(renewed.session)
    with pytest.raises(Unauthenticated):
        await people.sign_in("ann", code=old[0])
    with pytest.raises(Denied):
        await account.remove_totp(session, SecondFactorProof(password="wrong", code=renewed.codes[0]))
    removed = await account.remove_totp(session, SecondFactorProof(password=PASSWORD, code=renewed.codes[1]))
    assert removed.session is not None
    await people.sign_in("ann")
    assert await people.world.sql("SELECT FROM recovery_code") == []


async def test_a_second_factor_s_secret_opens_in_its_place_alone(people: People) -> None:
    ann, bob = await people.user("ann"), await people.user("bob")
    session, _ = await people.sign_in("ann")
    secret, _, _ = await people.second_factor(session)
    [row] = await people.world.sql("SELECT * FROM user_totp")
    encrypted = EncryptedValue(row["format"], row["kek_term"], row["wrapped_dek"], row["ciphertext"])
    keyring = people.world.keys.keyring
    place = TotpContext(keyring.instance_id, ann, row["id"])
    assert decrypt(encrypted, place, keyring) == secret
    for moved in (TotpContext(keyring.instance_id, bob, row["id"]), TotpContext(keyring.instance_id, ann, UUID(int=1))):
        with pytest.raises(DecryptionFailed):
            decrypt(encrypted, moved, keyring)
    await people.world.sql("UPDATE user_totp SET ciphertext = set_byte(ciphertext, 20, get_byte(ciphertext, 20) # 1)")
    with pytest.raises(DecryptionFailed):
        await people.sign_in("ann", code=await people.code(secret))


async def test_a_second_factor_goes_on_under_the_next_key(people: People) -> None:
    """Its envelope is one of those that a key rotation wraps anew."""
    await people.user("ann")
    session, _ = await people.sign_in("ann")
    secret, _, _ = await people.second_factor(session)
    rotation, owner = people.services.key_rotation, people.world.owner
    await rotation.rotate(owner)
    for _ in range(5):
        await rotation.run()
    [row] = await people.world.sql("SELECT kek_term FROM user_totp")
    assert row["kek_term"] == 2
    await people.sign_in("ann", code=await people.code(secret))


async def test_a_session_alone_does_not_guess_its_way_into_a_second_factor(people: People) -> None:
    """One that was started and forgotten: whoever confirmed it would get the recovery codes."""
    await people.user("ann")
    here, _ = await people.sign_in("ann", peer=people.holder("x").peer)
    account = people.services.account
    started = await account.start_totp(here, PasswordProof(password=PASSWORD))
    code = await people.code(SecretValue(base64.b32decode(started.secret)))
    for number in range(5):
        with pytest.raises(InvalidInput):
            await account.confirm_totp(here, TotpCode(code=f"{(int(code) + number + 1) % 10**6:06}"))
    with pytest.raises(RateLimited):
        await account.confirm_totp(here, TotpCode(code=code))


async def test_a_password_that_was_changed_while_it_was_checked_changes_nothing(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check takes a while and holds no lock: what it was true of is looked at again under the user's lock."""
    await people.user("ann")
    session, _ = await people.sign_in("ann")
    account = people.services.account
    matches = account._passwords.matches

    async def slowly(*arguments: Any) -> bool:
        found = await matches(*arguments)
        await people.world.sql("UPDATE user_password SET phc = phc || 'x'")
        return found

    monkeypatch.setattr(account._passwords, "matches", slowly)
    for call in (
        account.change_password(session, PasswordChange(current=PASSWORD, password=NEW)),
        account.start_totp(session, PasswordProof(password=PASSWORD)),
    ):
        with pytest.raises(Denied, match="changed meanwhile"):
            await call
        await people.world.sql("UPDATE user_password SET phc = rtrim(phc, 'x')")
    assert await people.world.sql("SELECT FROM user_totp") == []


async def test_a_session_that_lost_its_second_factor_while_it_waited_is_not_given_a_full_one(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever took the factor away held the user's lock: new recovery codes or another password would have made up for it."""
    await people.user("ann")
    session, _ = await people.sign_in("ann")
    _, [first, second, *_], session = await people.second_factor(session)
    lock = user_rows.lock_user

    async def waits(*arguments: Any) -> bool:
        await people.world.sql("UPDATE token SET hash = sha256(hash), enrolling = true WHERE kind = 'session'")
        return await lock(*arguments)

    account = people.services.account
    for number, call in enumerate(
        (
            account.renew_recovery_codes(session, SecondFactorProof(password=PASSWORD, code=first)),
            account.remove_totp(session, SecondFactorProof(password=PASSWORD, code=second)),
            account.change_password(session, PasswordChange(current=PASSWORD, password=NEW)),
        )
    ):
        monkeypatch.setattr(user_rows, "lock_user", waits)
        with pytest.raises(Denied, match="renewed or ended meanwhile"):
            await call
        [row] = await people.world.sql("SELECT enrolling FROM token WHERE kind = 'session'")
        assert row["enrolling"], number
        monkeypatch.setattr(user_rows, "lock_user", lock)
        await people.world.sql("UPDATE token SET hash = $1, enrolling = false WHERE kind = 'session'", session.token_hash)

"""A session that can only set up a second factor: every other method and every other page refuses it, found by enumeration."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from overseer.core.errors import SecondFactorUnset
from overseer.core.principals import Caller
from overseer.server.composition import wire_services
from overseer.server.services.catalogue import Services
from overseer.server.services.denial_limits import DenialLimits
from overseer.server.services.sign_in_service import SignInService
from overseer.server.settings import Settings
from overseer.wire.people import PasswordProof, SecondFactorProof, SignIn, TotpCode
from tests.integration.invariants.service_methods import OPEN, arguments, every_method
from tests.integration.invariants.test_denial import outcome_of, rows, samples, spelled_for
from tests.integration.people.conftest import PASSWORD, People
from tests.integration.services.world import World

__all__ = ["samples"]
pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

#: Who it is, setting it up, and leaving.
LET_IN = {"account.confirm_totp", "account.start_totp", "identity.me", "sessions.sign_out"}


@pytest.fixture
async def strict(world: World) -> People:
    """The services of a server that requires a second factor."""

    async def nobody(_root_key: object) -> None:
        await asyncio.sleep(0)

    settings = Settings(data_dir=Path("/nonexistent"), database_url=world.url, seal="env", second_factor="required")
    made = wire_services(settings, world.database, world.gate, DenialLimits(), nobody, asyncio.Event())
    await made.keys.open(world.root_key)
    return People(world, made)


async def owner_by_password(people: People) -> Caller:
    """A session of a user who may do everything, and has a password alone."""
    await people.user("eve")
    session, made = await people.sign_in("eve")
    assert made.enrolling
    await people.world.bind(session, "owner")
    return session


async def test_every_method_but_setting_it_up_and_leaving_is_refused(
    strict: People, world: World, services: Services, samples: dict[str, Any]
) -> None:
    session = await owner_by_password(strict)
    refused = set()
    for method in every_method(services):
        if not method.takes_caller or method.name in OPEN | LET_IN:
            continue
        caller = world.caller(session.token_hash)
        refusal = await outcome_of(method.call(caller, **arguments(method, spelled_for(method, samples))))
        assert isinstance(refusal, SecondFactorUnset), f"{method.name} gave it {refusal!r}"
        assert await rows(world, caller) == [("denied", "second_factor_unset")], method.name
        refused.add(method.name)
    assert {"secrets.reveal", "secrets.update", "resolve.resolve", "account.change_password", "identity.create_token"} <= refused


async def test_it_says_whose_it_is_and_no_more(strict: People) -> None:
    me = await strict.services.identity.me(await owner_by_password(strict))
    assert (me.name, me.enrolling, me.bindings, me.permissions) == ("eve", True, [], [])


async def test_with_the_second_factor_in_force_the_same_session_may_everything(strict: People, world: World) -> None:
    session = await owner_by_password(strict)
    secret, _, whole = await strict.second_factor(session)
    assert (await strict.services.identity.me(whole)).permissions
    assert "shop" in {one.name for one in (await strict.services.scopes.list_apps(whole)).items}
    _, made = await strict.sign_in("eve", code=await strict.code(secret, 0))
    assert not made.enrolling
    await strict.services.sessions.sign_out(whole)


async def test_whoever_takes_it_away_has_to_set_up_another(strict: People) -> None:
    secret, _, whole = await strict.second_factor(await owner_by_password(strict))
    proof = SecondFactorProof(password=PASSWORD, code=await strict.code(secret, 0))
    renewed = await strict.services.account.remove_totp(whole, proof)
    assert renewed.session is not None
    session = strict.holder(renewed.session)
    with pytest.raises(SecondFactorUnset):
        await strict.services.scopes.list_apps(session)
    await strict.services.account.start_totp(session, PasswordProof(password=PASSWORD))


async def test_a_wrong_password_or_code_changes_nothing(strict: People) -> None:
    session = await owner_by_password(strict)
    await outcome_of(strict.services.account.start_totp(session, PasswordProof(password="wrong")))
    await strict.services.account.start_totp(session, PasswordProof(password=PASSWORD))
    await outcome_of(strict.services.account.confirm_totp(session, TotpCode(code="000000")))
    with pytest.raises(SecondFactorUnset):
        await strict.services.scopes.list_apps(session)


async def test_where_it_is_optional_a_password_is_enough(services: Services, world: World) -> None:
    people = People(world, services)
    await people.user("eve")
    session, made = await people.sign_in("eve")
    assert not made.enrolling
    assert not (await services.identity.me(session)).enrolling


async def test_a_restarted_server_keeps_the_limit(strict: People, services: Services) -> None:
    """The limit stands at the session, in the database: another server, which requires nothing, holds it as well."""
    session = await owner_by_password(strict)
    with pytest.raises(SecondFactorUnset):
        await services.scopes.list_apps(session)
    assert isinstance(services.sign_in, SignInService)
    assert not (await services.sign_in.sign_in(strict.stranger(), SignIn(name="eve", password=PASSWORD))).enrolling

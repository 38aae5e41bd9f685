"""Unsealing by passphrase: verified, audited, limited."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest

from overseer.core.errors import AuditUnavailable, Conflict, Denied, InvalidInput, KeyProblem, RateLimited
from overseer.core.principals import Caller
from overseer.core.secret_value import SecretValue
from overseer.crypto.keyring import Keyring
from overseer.crypto.keys import RootKey
from overseer.crypto.passwords import Argon2Parameters
from overseer.server.seals.passphrase import PassphraseSeal
from overseer.server.services.denial_limits import DenialLimits
from overseer.server.services.gate import Gate
from overseer.server.services.key_service import KeyService
from overseer.server.services.seal_service import STRANGERS_IN_LINE, SealService
from overseer.server.services.seal_state import LOOK_SECONDS
from overseer.server.services.unseal_tries import BURST, SECONDS_PER_TRY
from overseer.server.storage.database import Database, Session
from overseer.wire.seal import Unseal
from tests.integration.services.world import World, together

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

PASSPHRASE = "correct horse battery staple"
QUICK = Argon2Parameters(19_456, 1, 1)


class CountedDatabase(Database):
    """Lends the sessions of another one, and counts them."""

    def __init__(self, lender: Database) -> None:
        super().__init__({})
        self._lender = lender
        self.lent = 0

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        self.lent += 1
        async with self._lender.session() as session:
            yield session


@dataclass
class Sealed:
    """A sealed server process over the world's database; ``handed`` is what the supervisor was given."""

    world: World
    keys: KeyService
    root_key: RootKey
    handed: list[RootKey] = field(default_factory=list)
    now: float = 0.0
    gate: Gate = field(init=False)
    database: CountedDatabase = field(init=False)
    service: SealService = field(init=False)

    def __post_init__(self) -> None:
        world = self.world
        self.gate = Gate(world.database, limits := DenialLimits())
        self.database = CountedDatabase(world.database)
        self.service = SealService(
            self.database, self.gate, self.keys, "passphrase", self._hand, limits, clock=lambda: self.now
        )

    async def _hand(self, root_key: RootKey) -> None:
        assert not self.keys.sealed
        self.handed.append(root_key)

    @property
    def caller(self) -> Caller:
        return Caller(None, "unsealing", "192.0.2.9", "test")


@pytest.fixture
async def sealed(world: World) -> Sealed:
    new = await PassphraseSeal(None, QUICK).create(SecretValue(PASSPHRASE))
    _, rows, check_value = Keyring.create(world.instance_id, new.root_key)
    await world.sql("UPDATE instance SET seal_kind = 'passphrase', seal_config = $1, check_value = $2", new.config, check_value)
    for row in rows:
        await world.sql("UPDATE keyring_key SET wrapped = $1 WHERE purpose = $2", row.wrapped, row.purpose)
    return Sealed(world, KeyService(world.database, world.gate), new.root_key)


async def test_unseal(sealed: Sealed) -> None:
    before = await sealed.service.status()
    assert (before.sealed, before.kind, before.initialised) == (True, "passphrase", True)
    after = await sealed.service.unseal(sealed.caller, Unseal(passphrase=PASSPHRASE))
    assert not after.sealed
    assert sealed.handed == [sealed.root_key]
    assert sealed.keys.instance_id == sealed.world.instance_id
    [row] = await sealed.world.audit(sealed.caller)
    assert (row["action"], row["outcome"], row["actor_id"], row["peer"]) == ("seal:unseal", "allowed", None, "192.0.2.9")
    await sealed.service.unseal(sealed.caller, Unseal(passphrase="whatever it is"))
    assert len(await sealed.world.audit(sealed.caller)) == 1


async def test_a_wrong_passphrase_is_audited_and_changes_nothing(sealed: Sealed) -> None:
    wrong = PASSPHRASE + "r"
    with pytest.raises(Denied, match="passphrase is wrong") as caught:
        await sealed.service.unseal(sealed.caller, Unseal(passphrase=wrong))
    assert wrong not in repr(caught.value)
    assert sealed.keys.sealed
    assert not sealed.handed
    [alarm] = await sealed.world.alarms()
    assert (alarm["action"], alarm["outcome"], alarm["peer"]) == ("alarm:unseal_failed", "denied", sealed.caller.peer)
    [row] = await sealed.world.audit(sealed.caller)
    assert (row["action"], row["outcome"], row["code"]) == ("seal:unseal", "denied", "wrong_passphrase")
    assert not (await sealed.service.unseal(sealed.caller, Unseal(passphrase=PASSPHRASE))).sealed


async def test_tries_are_few(sealed: Sealed) -> None:
    for _ in range(BURST):
        with pytest.raises(Denied):
            await sealed.service.unseal(sealed.caller, Unseal(passphrase="wrong"))
    for _ in range(3):
        with pytest.raises(RateLimited):
            await sealed.service.unseal(sealed.caller, Unseal(passphrase=PASSPHRASE))
    sealed.now += SECONDS_PER_TRY - 1
    with pytest.raises(RateLimited):
        await sealed.service.unseal(sealed.caller, Unseal(passphrase=PASSPHRASE))
    sealed.now += 1
    assert not (await sealed.service.unseal(sealed.caller, Unseal(passphrase=PASSPHRASE))).sealed


@pytest.mark.parametrize("operator", ["127.0.0.1", "192.0.2.10", ""])
async def test_a_flood_of_one_peer_locks_no_other_out(sealed: Sealed, operator: str) -> None:
    for number in range(3 * BURST):
        with pytest.raises(Denied if number < BURST else RateLimited):
            await sealed.service.unseal(sealed.caller, Unseal(passphrase="wrong"))
    assert not (await sealed.service.unseal(replace(sealed.caller, peer=operator), Unseal(passphrase=PASSPHRASE))).sealed


async def test_a_crowd_of_peers_waits_in_a_short_line_that_this_machine_may_pass(sealed: Sealed) -> None:
    crowd = [replace(sealed.caller, peer=f"198.51.100.{number}") for number in range(3 * STRANGERS_IN_LINE)]
    tries = [sealed.service.unseal(caller, Unseal(passphrase="wrong")) for caller in crowd]
    own = sealed.service.unseal(replace(sealed.caller, peer="127.0.0.1"), Unseal(passphrase=PASSPHRASE))
    *refused, opened = await together(*tries, own)
    assert not opened.sealed
    assert sum(isinstance(error, Denied) for error in refused) == STRANGERS_IN_LINE
    assert sum(isinstance(error, RateLimited) for error in refused) == 2 * STRANGERS_IN_LINE


async def test_tries_that_were_refused_unseen_are_counted_into_the_next_row(sealed: Sealed) -> None:
    wrong = Unseal(passphrase="wrong")
    for number in range(BURST + 4):
        with pytest.raises(Denied if number < BURST else RateLimited):
            await sealed.service.unseal(sealed.caller, wrong)
    sealed.now += SECONDS_PER_TRY
    with pytest.raises(Denied):
        await sealed.service.unseal(sealed.caller, wrong)
    assert [row["repeats"] for row in await sealed.world.audit(sealed.caller)] == [1] * BURST + [5]
    with pytest.raises(RateLimited):
        await sealed.service.unseal(sealed.caller, wrong)
    await sealed.gate.flush()
    *_, last = await sealed.world.audit(sealed.caller)
    assert (last["outcome"], last["code"], last["resource_kind"], last["repeats"]) == ("denied", "rate_limited", "seal", 1)


async def test_asking_for_the_state_costs_one_look_a_second(sealed: Sealed) -> None:
    await sealed.world.sql("DELETE FROM instance")
    await together(*(sealed.service.status() for _ in range(20)))
    assert sealed.database.lent == 1
    sealed.now += LOOK_SECONDS
    assert not (await sealed.service.status()).initialised
    assert sealed.database.lent == 2


async def test_two_at_once_unseal_once(sealed: Sealed) -> None:
    results = await together(*(sealed.service.unseal(sealed.caller, Unseal(passphrase=PASSPHRASE)) for _ in range(3)))
    assert [one.sealed for one in results] == [False] * 3
    assert len(sealed.handed) == 1


async def test_the_right_passphrase_of_another_keyring(sealed: Sealed) -> None:
    await sealed.world.sql("UPDATE instance SET check_value = set_byte(check_value, 20, get_byte(check_value, 20) # 1)")
    with pytest.raises(KeyProblem):
        await sealed.service.unseal(sealed.caller, Unseal(passphrase=PASSPHRASE))
    assert sealed.keys.sealed
    assert not sealed.handed
    [row] = await sealed.world.audit(sealed.caller)
    assert (row["outcome"], row["code"]) == ("failed", "key_problem")


async def test_without_an_audit_row_it_stays_sealed(sealed: Sealed) -> None:
    await sealed.world.sql("REVOKE INSERT (action) ON audit FROM overseer_service")
    try:
        with pytest.raises(AuditUnavailable):
            await sealed.service.unseal(sealed.caller, Unseal(passphrase=PASSPHRASE))
    finally:
        await sealed.world.sql("GRANT INSERT (action) ON audit TO overseer_service")
    assert sealed.keys.sealed
    assert not sealed.handed


@pytest.mark.parametrize("passphrase", ["", "a" * 1025, "\ud800"], ids=["empty", "long", "surrogate"])
async def test_what_is_no_passphrase(sealed: Sealed, passphrase: str) -> None:
    with pytest.raises(InvalidInput):
        await sealed.service.unseal(sealed.caller, Unseal(passphrase=passphrase))
    assert sealed.keys.sealed


async def test_other_seals_and_damaged_ones(sealed: Sealed) -> None:
    async def never(root_key: RootKey) -> None:
        raise AssertionError

    by_file = SealService(sealed.world.database, sealed.world.gate, sealed.keys, "file", never, DenialLimits())
    with pytest.raises(Conflict):
        await by_file.unseal(sealed.caller, Unseal(passphrase=PASSPHRASE))
    for statement in ("seal_config = '{}'", "seal_config = NULL", "seal_kind = 'file'"):
        await sealed.world.sql(f"UPDATE instance SET {statement}")
        with pytest.raises(KeyProblem):
            await sealed.service.unseal(sealed.caller, Unseal(passphrase=PASSPHRASE))
    await sealed.world.sql("DELETE FROM instance")
    assert not (await sealed.service.status()).initialised
    with pytest.raises(KeyProblem):
        await sealed.service.unseal(sealed.caller, Unseal(passphrase=PASSPHRASE))

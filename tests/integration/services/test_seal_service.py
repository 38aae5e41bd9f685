"""Unsealing by passphrase: verified, audited, limited."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from overseer.core.errors import AuditUnavailable, Conflict, Denied, InvalidInput, KeyProblem, RateLimited
from overseer.core.principals import Caller
from overseer.core.secret_value import SecretValue
from overseer.crypto.keyring import Keyring
from overseer.crypto.keys import RootKey
from overseer.crypto.passwords import Argon2Parameters
from overseer.server.seals.passphrase import PassphraseSeal
from overseer.server.services.key_service import KeyService
from overseer.server.services.seal_service import BURST, SECONDS_PER_TRY, SealService
from overseer.wire.seal import Unseal
from tests.integration.services.world import World, together

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

PASSPHRASE = "correct horse battery staple"
QUICK = Argon2Parameters(19_456, 1, 1)


@dataclass
class Sealed:
    """A sealed server process over the world's database; ``handed`` is what the supervisor was given."""

    world: World
    keys: KeyService
    root_key: RootKey
    handed: list[RootKey] = field(default_factory=list)
    now: float = 0.0
    service: SealService = field(init=False)

    def __post_init__(self) -> None:
        world = self.world
        self.service = SealService(world.database, world.gate, self.keys, "passphrase", self._hand, clock=lambda: self.now)

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

    by_file = SealService(sealed.world.database, sealed.world.gate, sealed.keys, "file", never)
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

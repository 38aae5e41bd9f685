"""Unsealing by shares: named, audited, limited, and only with the row committed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from overseer.core.errors import AuditUnavailable, Denied, InvalidInput, KeyProblem, RateLimited
from overseer.core.principals import Caller
from overseer.core.secret_value import SecretValue
from overseer.crypto.keyring import Keyring
from overseer.crypto.keys import RootKey
from overseer.crypto.shares import parse_share
from overseer.server.seals.shamir import ShamirSeal
from overseer.server.services.denial_limits import DenialLimits
from overseer.server.services.gate import Gate
from overseer.server.services.key_service import KeyService
from overseer.server.services.seal_service import SealService
from overseer.server.services.share_collection import LocalShares, ShareBox
from overseer.server.services.unseal_tries import BURST
from overseer.wire.seal import SealStatus, Unseal
from tests.integration.services.world import World, together

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]


@dataclass
class Shared:
    """A sealed process over the world's database, whose seal is ``threshold`` of 9 shares."""

    world: World
    keys: KeyService
    root_key: RootKey
    shares: tuple[SecretValue, ...]
    box: ShareBox = field(default_factory=ShareBox)
    handed: list[RootKey] = field(default_factory=list)
    now: float = 0.0
    service: SealService = field(init=False)

    def __post_init__(self) -> None:
        limits = DenialLimits()
        gate = Gate(self.world.database, limits)
        self.service = SealService(
            *(self.world.database, gate, self.keys, "shamir", self._hand, limits, LocalShares(self.box)), clock=lambda: self.now
        )

    async def _hand(self, root_key: RootKey) -> None:
        assert not self.keys.sealed
        self.handed.append(root_key)

    @property
    def caller(self) -> Caller:
        return Caller(None, "unsealing", "192.0.2.9", "test")

    async def give(self, number: int, *, anew: bool = False, peer: str = "192.0.2.9") -> SealStatus:
        body = Unseal(share=self.shares[number].reveal().decode(), anew=anew)
        return await self.service.unseal(replace(self.caller, peer=peer), body)


async def shared(world: World, threshold: int) -> Shared:
    new = await ShamirSeal(None, (threshold, 9)).create()
    _, rows, check_value = Keyring.create(world.instance_id, new.root_key)
    await world.sql("UPDATE instance SET seal_kind = 'shamir', seal_config = $1, check_value = $2", new.config, check_value)
    for row in rows:
        await world.sql("UPDATE keyring_key SET wrapped = $1 WHERE purpose = $2", row.wrapped, row.purpose)
    return Shared(world, KeyService(world.database, world.gate), new.root_key, new.shares)


async def test_the_last_share_unseals_and_every_one_is_audited(world: World) -> None:
    here = await shared(world, 3)
    before = await here.service.status()
    assert before.progress is not None
    assert (before.sealed, before.progress.given, before.progress.threshold, before.progress.count) == (True, 0, 3, 9)
    first, second = await here.give(8), await here.give(0)
    assert first.progress is not None
    assert second.progress is not None
    assert (first.progress.given, second.progress.given, second.sealed) == (1, 2, True)
    assert not here.handed
    last = await here.give(4)
    assert (last.sealed, last.progress) == (False, None)
    assert here.handed == [here.root_key]
    assert here.box.given() == 0
    rows = await world.audit(here.caller)
    assert [(row["action"], row["outcome"], row["code"]) for row in rows] == [
        ("seal:unseal", "allowed", "share_accepted"),
        ("seal:unseal", "allowed", "share_accepted"),
        ("seal:unseal", "allowed", ""),
    ]


async def test_a_wrong_share_is_denied_by_name_and_not_counted(world: World) -> None:
    here, other = await shared(world, 2), await ShamirSeal(None, (2, 9)).create()
    await here.give(0)
    right = here.shares[1].reveal().decode()
    for wrong, says in ((right[:-1] + "!", "mistyped"), (other.shares[0].reveal().decode(), "another set"), ("x", "not a share")):
        with pytest.raises(Denied, match=says) as refused:
            await here.service.unseal(here.caller, Unseal(share=wrong))
        assert right[10:40] not in refused.value.message
    assert here.box.given() == 1
    assert here.keys.sealed
    assert [row["code"] for row in await world.audit(here.caller)] == ["share_accepted"] + ["wrong_share"] * 3
    assert not (await here.give(1)).sealed


async def test_who_starts_over_shows_a_right_share(world: World) -> None:
    here = await shared(world, 3)
    await here.give(0)
    await here.give(1)
    with pytest.raises(Denied):
        await here.service.unseal(here.caller, Unseal(share="ovshare1-" + "a" * 72, anew=True))
    assert here.box.given() == 2
    anew = await here.give(2, anew=True)
    assert anew.progress is not None
    assert anew.progress.given == 1
    assert (await world.audit(here.caller))[-1]["code"] == "shares_anew"


async def test_guesses_are_few_and_right_shares_cost_none(world: World) -> None:
    here = await shared(world, 9)
    for number in range(8):
        await here.give(number)
    for _ in range(BURST):
        with pytest.raises(Denied):
            await here.service.unseal(here.caller, Unseal(share="nothing"))
    with pytest.raises(RateLimited):
        await here.give(8)
    assert not (await here.give(8, peer="192.0.2.10")).sealed


async def test_a_share_that_was_given_already_costs_a_try(world: World) -> None:
    here = await shared(world, 3)
    await here.give(0)
    for number in range(BURST):
        await here.give(0, anew=number % 2 == 0)
    with pytest.raises(RateLimited):
        await here.give(0)
    assert here.box.given() == 1


async def test_shares_of_another_keyring_are_forgotten_and_nothing_is_handed_on(world: World) -> None:
    here = await shared(world, 2)
    await world.sql("UPDATE instance SET check_value = set_byte(check_value, 20, get_byte(check_value, 20) # 1)")
    await here.give(0)
    with pytest.raises(KeyProblem):
        await here.give(1)
    assert here.keys.sealed
    assert not here.handed
    assert here.box.given() == 0
    assert [(row["outcome"], row["code"]) for row in await world.audit(here.caller)][-1] == ("failed", "key_problem")


async def test_without_an_audit_row_it_stays_sealed_and_the_share_can_be_given_again(world: World) -> None:
    here = await shared(world, 2)
    await here.give(0)
    await world.sql("REVOKE INSERT (action) ON audit FROM overseer_service")
    try:
        with pytest.raises(AuditUnavailable):
            await here.give(1)
    finally:
        await world.sql("GRANT INSERT (action) ON audit TO overseer_service")
    assert here.keys.sealed
    assert not here.handed
    assert not (await here.give(1)).sealed


async def test_many_at_once_unseal_once(world: World) -> None:
    here = await shared(world, 3)
    results = await together(*(here.give(number, peer=f"192.0.2.{number}") for number in range(6)))
    assert not [result for result in results if isinstance(result, BaseException)]
    assert len(here.handed) == 1


@pytest.mark.parametrize("body", [Unseal(), Unseal(passphrase="x" * 20), Unseal(share=""), Unseal(share="a" * 257)])
async def test_what_is_no_share(world: World, body: Unseal) -> None:
    here = await shared(world, 2)
    with pytest.raises(InvalidInput, match="a share is text"):
        await here.service.unseal(here.caller, body)


async def test_a_server_of_another_seal_says_which_is_the_present_one(world: World) -> None:
    here = await shared(world, 2)
    await world.sql("UPDATE instance SET seal_kind = 'file', seal_config = NULL")
    assert parse_share(here.shares[0])
    with pytest.raises(KeyProblem, match="'file': set OVERSEER_SEAL"):
        await here.give(0)
    status = await here.service.status()
    assert (status.kind, status.setting, status.progress) == ("file", "shamir", None)

"""The shamir seal: what the database keeps, which share is whose, and what opens."""

from __future__ import annotations

import itertools
import json

import pytest

from overseer.core.errors import InvalidInput, KeyProblem, Sealed
from overseer.core.secret_value import SecretValue
from overseer.crypto.keys import Key
from overseer.crypto.shares import Share, parse_share
from overseer.server.seals.shamir import ShamirSeal, ShareSet

pytestmark = pytest.mark.anyio


def lines(*shares: SecretValue) -> SecretValue:
    return SecretValue(b"\n".join(share.reveal() for share in shares))


async def test_every_choice_of_enough_shares_opens() -> None:
    new = await ShamirSeal(None, (2, 4)).create()
    assert len(new.shares) == 4
    for chosen in itertools.combinations(new.shares, 2):
        assert await ShamirSeal(new.config).root_key(lines(*chosen)) == new.root_key
    assert await ShamirSeal(new.config, (2, 4)).root_key(lines(*new.shares)) == new.root_key


async def test_without_shares_it_is_sealed_and_with_too_few_it_says_how_many() -> None:
    new = await ShamirSeal(None, (3, 5)).create()
    with pytest.raises(Sealed, match="3 of its 5 shares"):
        await ShamirSeal(new.config).root_key()
    with pytest.raises(KeyProblem, match="2 different shares are too few: 3"):
        await ShamirSeal(new.config).root_key(lines(*new.shares[:2]))


async def test_the_database_keeps_no_share_and_no_key() -> None:
    new = await ShamirSeal(None, (2, 3)).create()
    for share in new.shares:
        assert parse_share(share).value.reveal().hex() not in new.config.decode()
        assert share.reveal() not in new.config
    assert new.root_key.reveal().hex() not in new.config.decode()


async def test_each_wrong_share_is_named() -> None:
    new, other = await ShamirSeal(None, (2, 3)).create(), await ShamirSeal(None, (2, 3)).create()
    stored = ShareSet.parse(new.config)
    first = parse_share(new.shares[0])
    forged = Share(first.set_id, 2, 3, 1, Key.generate()).text()
    renumbered = Share(first.set_id, 2, 3, 2, first.value).text()
    grown = Share(first.set_id, 3, 3, 1, first.value).text()
    for wrong, says in (
        (other.shares[0], "of another set"),
        (forged, "not share number 1"),
        (renumbered, "not share number 2"),
        (grown, "not share number 1"),
        (SecretValue(new.shares[0].reveal()[:-1] + b"!"), "mistyped"),
        (SecretValue("hello"), "not a share"),
    ):
        with pytest.raises(InvalidInput, match=says):
            stored.check(wrong)
        with pytest.raises(InvalidInput, match=f"share 2: .*{says}"):
            await ShamirSeal(new.config).root_key(lines(new.shares[1], wrong))
    assert stored.check(new.shares[0]) == first


async def test_what_cannot_be_made() -> None:
    new = await ShamirSeal(None, (2, 3)).create()
    with pytest.raises(KeyProblem, match="rekey"):
        await ShamirSeal(new.config, (2, 3)).create()
    with pytest.raises(InvalidInput, match="shamir:K/N"):
        await ShamirSeal(None).create()
    with pytest.raises(KeyProblem, match="takes none"):
        await ShamirSeal(None, (2, 3)).create(SecretValue("x"))
    for numbers in ((1, 1), (3, 2), (2, 256)):
        with pytest.raises(InvalidInput):
            await ShamirSeal(None, numbers).create()


async def test_a_damaged_configuration_is_a_key_problem() -> None:
    new = await ShamirSeal(None, (2, 3)).create()
    fields = json.loads(new.config)
    for change in (
        {"format": 2},
        {"scheme": "x"},
        {"threshold": 4},
        {"threshold": "2"},
        {"digests": []},
        {"digests": 7},
        {"set": 1},
    ):
        with pytest.raises(KeyProblem):
            await ShamirSeal(json.dumps(fields | change).encode()).root_key()
    for config in (None, b"", b"[]", b"\xff", b"[" * 100_000):
        with pytest.raises(KeyProblem):
            await ShamirSeal(config).root_key()


def test_it_describes_its_numbers() -> None:
    assert "3 of 5 shares" in ShamirSeal(None, (3, 5)).describe()
    assert "shares that people keep" in ShamirSeal(None).describe()

"""The passphrase seal: opens with the passphrase, with nothing else, and survives a change of it without a new root key."""

from __future__ import annotations

import json
from typing import Any

import pytest

from overseer.core.errors import InvalidInput, KeyProblem, Sealed
from overseer.core.secret_value import SecretValue
from overseer.crypto.passwords import PASSPHRASE_PARAMETERS, Argon2Parameters
from overseer.server.seals.passphrase import PassphraseConfig, PassphraseSeal
from tests.unit.crypto.damage import cut_or_grown, flipped_bits

pytestmark = pytest.mark.anyio

CHEAP = Argon2Parameters(19_456, 1, 1)  # the least that the bounds allow: tests derive often
PASSPHRASE = SecretValue("correct horse battery staple")


async def made() -> tuple[bytes, Any]:
    new = await PassphraseSeal(None, CHEAP).create(PASSPHRASE)
    return new.config, new.root_key


async def test_the_passphrase_opens_the_seal() -> None:
    config, root_key = await made()
    assert await PassphraseSeal(config).root_key(PASSPHRASE) == root_key


async def test_the_default_parameters_are_stored_and_work() -> None:
    new = await PassphraseSeal(None).create(PASSPHRASE)
    assert PassphraseConfig.parse(new.config).parameters == PASSPHRASE_PARAMETERS
    assert await PassphraseSeal(new.config).root_key(PASSPHRASE) == new.root_key


async def test_the_stored_configuration_holds_neither_key_nor_passphrase() -> None:
    config, root_key = await made()
    assert root_key.reveal().hex() not in config.decode()
    assert b"horse" not in config


@pytest.mark.parametrize(
    "wrong", ["", "correct horse battery stapl", "Correct horse battery staple", "correct horse battery staple "]
)
async def test_a_wrong_passphrase_is_found(wrong: str) -> None:
    config, _ = await made()
    with pytest.raises(KeyProblem, match=r"passphrase is wrong.*nothing was written") as refused:
        await PassphraseSeal(config).root_key(SecretValue(wrong))
    assert "horse" not in refused.value.message


async def test_without_a_passphrase_the_server_stays_sealed() -> None:
    config, _ = await made()
    seal = PassphraseSeal(config)
    assert seal.needs_operator
    with pytest.raises(Sealed, match="seal unseal"):
        await seal.root_key()


async def test_every_damage_of_the_wrapped_key_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The derivation is done once: only the tag is under test, and 40 ms a bit would be 20 s."""
    config, root_key = await made()
    whole = PassphraseConfig.parse(config)
    from overseer.crypto.passwords import derive_key

    key = derive_key(PASSPHRASE, whole.salt, whole.parameters)
    monkeypatch.setattr("overseer.server.seals.passphrase.derive_key", lambda *given: key)
    assert await PassphraseSeal(config).root_key(PASSPHRASE) == root_key
    for damaged in (*flipped_bits(whole.wrapped), *cut_or_grown(whole.wrapped)):
        changed = PassphraseConfig(whole.parameters, whole.salt, damaged).serialise()
        with pytest.raises(KeyProblem):
            await PassphraseSeal(changed).root_key(PASSPHRASE)
    for salt in flipped_bits(whole.salt):  # even where the derived key is right, the salt and parameters are authenticated
        with pytest.raises(KeyProblem):
            await PassphraseSeal(PassphraseConfig(whole.parameters, salt, whole.wrapped).serialise()).root_key(PASSPHRASE)
    for parameters in (Argon2Parameters(19_457, 1, 1), Argon2Parameters(19_456, 2, 1), Argon2Parameters(19_456, 1, 2)):
        with pytest.raises(KeyProblem):
            await PassphraseSeal(PassphraseConfig(parameters, whole.salt, whole.wrapped).serialise()).root_key(PASSPHRASE)


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"kdf": "scrypt"},
        {"memory_kib": 8},
        {"memory_kib": 1 << 30},
        {"memory_kib": "19456"},
        {"iterations": 10_000},
        {"iterations": True},
        {"lanes": 0},
        {"salt": "00"},
        {"salt": "zz" * 16},
        {"salt": 5},
        {"wrapped": ""},
        {"wrapped": None},
    ],
)
async def test_a_changed_configuration_is_refused(change: dict[str, Any]) -> None:
    config, _ = await made()
    with pytest.raises(KeyProblem):
        await PassphraseSeal(json.dumps(json.loads(config) | change).encode()).root_key(PASSPHRASE)


@pytest.mark.parametrize("config", [b"{", b"[]", b"null", b"1", b"\xff", b"{}", b'{"format":1}', b"[" * 100_000])
async def test_garbage_in_place_of_the_configuration_is_refused(config: bytes) -> None:
    with pytest.raises(KeyProblem, match="damaged or of a newer version"):
        await PassphraseSeal(config).root_key(PASSPHRASE)


async def test_a_new_passphrase_keeps_the_root_key_and_ends_the_old_one() -> None:
    config, root_key = await made()
    new = SecretValue("another long passphrase")
    changed = await PassphraseSeal(config, CHEAP).change_passphrase(PASSPHRASE, new)
    assert await PassphraseSeal(changed).root_key(new) == root_key
    assert PassphraseConfig.parse(changed).salt != PassphraseConfig.parse(config).salt
    with pytest.raises(KeyProblem):
        await PassphraseSeal(changed).root_key(PASSPHRASE)
    with pytest.raises(KeyProblem):
        await PassphraseSeal(config, CHEAP).change_passphrase(SecretValue("not the old one"), new)


@pytest.mark.parametrize("passphrase", [None, SecretValue(""), SecretValue("eleven char"), SecretValue("ä" * 11)])
async def test_a_missing_or_short_passphrase_makes_no_seal(passphrase: SecretValue | None) -> None:
    with pytest.raises(InvalidInput, match="at least 12 characters"):
        await PassphraseSeal(None, CHEAP).create(passphrase)


async def test_a_seal_is_not_made_twice_nor_opened_before_it_is_made() -> None:
    config, _ = await made()
    with pytest.raises(KeyProblem, match="exists already"):
        await PassphraseSeal(config).create(PASSPHRASE)
    with pytest.raises(KeyProblem, match="no passphrase seal"):
        await PassphraseSeal(None).root_key(PASSPHRASE)

"""No type that holds a key shows it, in any way that Python has to show or carry an object."""

from __future__ import annotations

import copy
import json
import pickle
from uuid import uuid4

import pytest

from overseer.crypto.aead import Aead
from overseer.crypto.hpke import SealingKey
from overseer.crypto.keyring import Keyring
from overseer.crypto.keys import DataKey, HmacKey, Kek, Key, RootKey
from overseer.crypto.node_keys import NodeKeys
from overseer.crypto.signatures import SigningKey

MATERIAL = b"0123456789abcdefghijklmnopqrstuv"

HOLDERS: list[object] = [
    Key(MATERIAL),
    RootKey(MATERIAL),
    DataKey(MATERIAL),
    HmacKey(MATERIAL),
    SigningKey(MATERIAL),
    SealingKey(MATERIAL),
    Kek(Key(MATERIAL), 1),
    Aead(MATERIAL),
    NodeKeys(SealingKey(MATERIAL), SigningKey(MATERIAL)),
    NodeKeys(SealingKey(MATERIAL), SigningKey(MATERIAL)).serialise(),
    Keyring(uuid4(), RootKey(MATERIAL), {("kek", 1): Key(MATERIAL), ("fingerprint", 1): Key(MATERIAL)}),
]
names = [type(holder).__name__ for holder in HOLDERS]


@pytest.mark.parametrize("holder", HOLDERS, ids=names)
def test_no_way_of_printing_shows_the_key(holder: object) -> None:
    shown = [
        repr(holder),
        str(holder),
        f"{holder}",
        f"{holder!r}",
        repr([holder]),
        repr({"k": holder}),
    ]
    for text in shown:
        assert "redacted" in text
        for form in (MATERIAL.decode(), MATERIAL.hex(), "0123456789"):
            assert form not in text


@pytest.mark.parametrize("holder", HOLDERS, ids=names)
def test_no_key_can_be_pickled_copied_or_made_json(holder: object) -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError):
            pickle.dumps(holder, protocol)
    with pytest.raises(TypeError):
        copy.deepcopy(holder)
    with pytest.raises(TypeError):
        json.dumps(holder)
    assert not hasattr(holder, "__dict__")


@pytest.mark.parametrize("kind", [Key, RootKey, DataKey, HmacKey, SigningKey, SealingKey])
def test_a_key_has_exactly_32_bytes(kind: type[Key]) -> None:
    for length in (0, 31, 33, 64):
        with pytest.raises(ValueError, match="32 bytes"):
            kind(bytes(length))
    assert kind.generate().reveal() != kind.generate().reveal()


def test_terms_count_from_one() -> None:
    with pytest.raises(ValueError, match="counted from 1"):
        Kek(Key.generate(), 0)

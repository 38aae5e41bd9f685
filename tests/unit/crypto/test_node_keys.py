"""A node's keys: file form, and the proofs that it has both."""

from __future__ import annotations

import dataclasses
import os
from uuid import uuid4

import pytest

from overseer.core.errors import DecryptionFailed, InvalidInput, KeyProblem
from overseer.core.secret_value import SecretValue
from overseer.crypto.node_keys import (
    NodeKeys,
    NodePublicKeys,
    answer_challenge,
    answer_is_right,
    join_is_proven,
    new_challenge,
    prove_join,
)
from tests.unit.crypto.damage import cut_or_grown, flipped_bits

KEYS = NodeKeys.generate()
TOKEN_HASH, NONCE = os.urandom(32), os.urandom(32)
INSTANCE, NODE = uuid4(), uuid4()


def test_the_key_file_reads_back() -> None:
    read = NodeKeys.parse(KEYS.serialise())
    assert read.public == KEYS.public
    assert (read.sealing, read.signing) == (KEYS.sealing, KEYS.signing)


def test_a_key_file_of_another_form_is_refused() -> None:
    content = KEYS.serialise().reveal()
    newer = content.replace(b"v1", b"v2")
    for damaged in (*cut_or_grown(content), newer):
        with pytest.raises(KeyProblem):
            NodeKeys.parse(SecretValue(damaged))


def test_a_join_is_proven_for_exactly_its_keys_token_and_nonce() -> None:
    signature = prove_join(KEYS, TOKEN_HASH, NONCE)
    assert join_is_proven(KEYS.public, TOKEN_HASH, NONCE, signature)
    for damaged in (*flipped_bits(signature), *cut_or_grown(signature)):
        assert not join_is_proven(KEYS.public, TOKEN_HASH, NONCE, damaged)
    other = NodeKeys.generate().public
    assert not join_is_proven(dataclasses.replace(KEYS.public, sealing=other.sealing), TOKEN_HASH, NONCE, signature)
    assert not join_is_proven(dataclasses.replace(KEYS.public, signing=other.signing), TOKEN_HASH, NONCE, signature)
    assert not join_is_proven(KEYS.public, os.urandom(32), NONCE, signature)
    assert not join_is_proven(KEYS.public, TOKEN_HASH, os.urandom(32), signature)


def test_a_join_with_a_short_nonce_or_token_hash_is_not_proven() -> None:
    assert not join_is_proven(KEYS.public, TOKEN_HASH, b"", prove_join(KEYS, TOKEN_HASH, b""))
    assert not join_is_proven(KEYS.public, b"", NONCE, prove_join(KEYS, b"", NONCE))


def test_the_holder_of_the_sealing_key_answers_and_nobody_else() -> None:
    challenge = new_challenge(KEYS.public, INSTANCE, NODE, NONCE)
    answer = answer_challenge(challenge.sealed, KEYS, INSTANCE, NODE, NONCE)
    assert answer_is_right(answer, challenge.answer_hash)
    for damaged in (*flipped_bits(answer), b"", challenge.answer_hash):
        assert not answer_is_right(damaged, challenge.answer_hash)
    thief = NodeKeys(NodeKeys.generate().sealing, KEYS.signing)
    with pytest.raises(DecryptionFailed):
        answer_challenge(challenge.sealed, thief, INSTANCE, NODE, NONCE)


def test_a_node_does_not_answer_a_challenge_of_someone_elses_join() -> None:
    """An impostor who enrols with a victim's sealing key and its own signing key cannot use the victim as an oracle."""
    impostor = NodePublicKeys(KEYS.public.sealing, NodeKeys.generate().public.signing)
    challenge = new_challenge(impostor, INSTANCE, NODE, NONCE)
    for instance, node, nonce in ((INSTANCE, NODE, NONCE), (uuid4(), NODE, NONCE), (INSTANCE, uuid4(), NONCE)):
        with pytest.raises(DecryptionFailed):
            answer_challenge(challenge.sealed, KEYS, instance, node, nonce)
    own = new_challenge(KEYS.public, INSTANCE, NODE, NONCE)
    for instance, node, nonce in ((uuid4(), NODE, NONCE), (INSTANCE, uuid4(), NONCE), (INSTANCE, NODE, os.urandom(32))):
        with pytest.raises(DecryptionFailed):
            answer_challenge(own.sealed, KEYS, instance, node, nonce)


def test_each_challenge_is_new() -> None:
    one, other = (new_challenge(KEYS.public, INSTANCE, NODE, NONCE) for _ in range(2))
    assert one.answer_hash != other.answer_hash


def test_unusable_public_keys_are_refused() -> None:
    with pytest.raises(InvalidInput):
        NodePublicKeys(bytes(31), bytes(32))
    with pytest.raises(InvalidInput):
        NodePublicKeys(bytes(32), bytes(33))
    with pytest.raises(InvalidInput):
        new_challenge(NodePublicKeys(bytes(32), KEYS.public.signing), INSTANCE, NODE, NONCE)

"""A sealed bundle opens for its node, its deployment, its request and its time, by the pinned key; else it says why not."""

from __future__ import annotations

import dataclasses
import os
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overseer.core.errors import DecryptionFailed, InvalidInput, NodeProblem
from overseer.core.secret_value import SecretValue
from overseer.crypto.framing import frame
from overseer.crypto.hpke import SealingKey, seal_to
from overseer.crypto.sealed_bundle import BundleContext, BundleRequest, open_bundle, seal_bundle
from overseer.crypto.signatures import SigningKey
from tests.unit.crypto.damage import cut_or_grown, flipped_bits

NOW = datetime(2030, 1, 1, 12, 0, 0, tzinfo=UTC)
REQUEST = BundleRequest(uuid4(), uuid4(), uuid4(), os.urandom(32))
CONTEXT = BundleContext(REQUEST, NOW + timedelta(seconds=60))
NODE = SealingKey.generate()
SERVER = SigningKey.generate()
CANARY = b"canary-of-the-bundle"
BLOB = seal_bundle(SecretValue(CANARY), CONTEXT, NODE.public, SERVER)


def refusal(blob: bytes, expected: BundleRequest = REQUEST, now: datetime = NOW, server: bytes = SERVER.public) -> str:
    with pytest.raises(NodeProblem) as refused:
        open_bundle(blob, expected, NODE, server, now)
    assert CANARY.decode() not in refused.value.message
    [problem] = refused.value.problems
    return problem.code


@settings(max_examples=30)
@given(st.binary(max_size=3000))
def test_a_bundle_comes_back(plaintext: bytes) -> None:
    blob = seal_bundle(SecretValue(plaintext), CONTEXT, NODE.public, SERVER)
    assert open_bundle(blob, REQUEST, NODE, SERVER.public, NOW).reveal() == plaintext


def test_the_plaintext_is_not_in_the_blob() -> None:
    assert CANARY not in BLOB


def test_every_flipped_bit_is_refused() -> None:
    codes = {refusal(damaged) for damaged in flipped_bits(BLOB)}
    assert codes == {"not_a_bundle", "newer_format", "bad_signature"}


def test_every_cut_is_refused() -> None:
    assert {refusal(damaged) for damaged in cut_or_grown(BLOB)} <= {"not_a_bundle", "newer_format"}


@pytest.mark.parametrize(
    ("field", "code"),
    [
        ("instance_id", "other_instance"),
        ("node_id", "other_node"),
        ("deployment_id", "other_deployment"),
        ("nonce", "other_nonce"),
    ],
)
def test_a_bundle_for_something_else_says_for_what(field: str, code: str) -> None:
    other: Any = os.urandom(32) if field == "nonce" else uuid4()
    assert refusal(BLOB, dataclasses.replace(REQUEST, **{field: other})) == code


def test_a_replayed_answer_does_not_answer_the_next_request() -> None:
    again = dataclasses.replace(REQUEST, nonce=os.urandom(32))
    assert refusal(BLOB, again) == "other_nonce"


def test_expiry_holds_to_the_second_and_shows_both_clocks() -> None:
    last = CONTEXT.expires_at - timedelta(seconds=1)
    assert open_bundle(BLOB, REQUEST, NODE, SERVER.public, last).reveal() == CANARY
    for late in (CONTEXT.expires_at, CONTEXT.expires_at.astimezone(timezone(timedelta(hours=5))), NOW + timedelta(hours=1)):
        assert refusal(BLOB, now=late) == "expired"
    with pytest.raises(NodeProblem, match=r"2030-01-01T12:01:00Z.*2030-01-01T13:00:00Z.*set the clocks"):
        open_bundle(BLOB, REQUEST, NODE, SERVER.public, NOW + timedelta(hours=1))


def test_only_the_pinned_server_key_is_believed() -> None:
    forger = SigningKey.generate()
    assert refusal(seal_bundle(SecretValue(CANARY), CONTEXT, NODE.public, forger)) == "bad_signature"
    assert refusal(BLOB, server=forger.public) == "bad_signature"
    assert refusal(BLOB, server=b"") == "bad_signature"


def test_the_signature_is_checked_before_what_the_context_says() -> None:
    """A forged bundle for another node must not be told apart from a forged one for this node."""
    other = BundleContext(dataclasses.replace(REQUEST, node_id=uuid4()), NOW - timedelta(days=1))
    assert refusal(seal_bundle(SecretValue(CANARY), other, NODE.public, SigningKey.generate())) == "bad_signature"


def test_a_signature_over_the_same_bytes_for_another_purpose_is_refused() -> None:
    framed = CONTEXT.framed()
    sealed = seal_to(NODE.public, SecretValue(CANARY), frame(b"overseer sealed bundle v1 hpke", framed))
    for message in (frame(framed, sealed), frame(b"overseer enrolment join v1", framed, sealed), framed + sealed):
        assert refusal(b"overseer-bundle/1\n" + frame(framed, SERVER.sign(message), sealed)) == "bad_signature"
    right = SERVER.sign(frame(b"overseer sealed bundle v1 signature", framed, sealed))
    blob = b"overseer-bundle/1\n" + frame(framed, right, sealed)
    assert open_bundle(blob, REQUEST, NODE, SERVER.public, NOW).reveal() == CANARY


def test_a_signed_bundle_for_a_stolen_context_does_not_open() -> None:
    """Even a server that signs a ciphertext under the wrong context by mistake does not make it open: HPKE binds the context."""
    other = BundleContext(dataclasses.replace(REQUEST, deployment_id=uuid4()), CONTEXT.expires_at)
    sealed = seal_to(NODE.public, SecretValue(CANARY), frame(b"overseer sealed bundle v1 hpke", other.framed()))
    signature = SERVER.sign(frame(b"overseer sealed bundle v1 signature", CONTEXT.framed(), sealed))
    with pytest.raises(DecryptionFailed):
        open_bundle(b"overseer-bundle/1\n" + frame(CONTEXT.framed(), signature, sealed), REQUEST, NODE, SERVER.public, NOW)


def test_another_nodes_key_does_not_open_it() -> None:
    with pytest.raises(DecryptionFailed, match="enrol the node again"):
        open_bundle(BLOB, REQUEST, SealingKey.generate(), SERVER.public, NOW)


def test_a_signed_context_of_another_shape_is_refused() -> None:
    for framed in (b"", frame(b"a"), frame(b"", b"", b"", b"", b""), frame(*[bytes(16)] * 3, bytes(32), b"\xff" * 8)):
        signature = SERVER.sign(frame(b"overseer sealed bundle v1 signature", framed, b"x"))
        assert refusal(b"overseer-bundle/1\n" + frame(framed, signature, b"x")) == "not_a_bundle"


def test_formats_to_come_are_told_from_garbage() -> None:
    assert refusal(b"overseer-bundle/2\n" + BLOB[18:]) == "newer_format"
    for garbage in (b"", b"{}", b"<html>", os.urandom(300)):
        assert refusal(garbage) == "not_a_bundle"


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_a_nonce_has_32_bytes(length: int) -> None:
    with pytest.raises(InvalidInput):
        BundleRequest(uuid4(), uuid4(), uuid4(), bytes(length))

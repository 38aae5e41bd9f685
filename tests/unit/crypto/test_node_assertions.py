"""Assertions: the pinned algorithm, exact claims, and a distinct word for each way to fail."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from overseer.core.errors import Unauthenticated
from overseer.crypto.node_assertions import LIFETIME, Assertion, claimed_node_id, make_assertion, verify_assertion
from overseer.crypto.signatures import SigningKey

NOW = datetime(2030, 1, 1, 12, 0, 0, tzinfo=UTC)
KEY = SigningKey.generate()
NODE, INSTANCE = uuid4(), uuid4()
LEEWAY = timedelta(seconds=30)
HEADER = {"alg": "EdDSA", "typ": "JWT"}
TEXT = make_assertion(NODE, INSTANCE, KEY, NOW)


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def forge(header: Any = HEADER, key: SigningKey = KEY, raw: str | None = None, **changes: Any) -> str:
    """An assertion whose header and claims are free, with a right signature by ``key``. A claim of ``...`` is left out."""
    issued = int(NOW.timestamp())
    claims = {"iss": str(NODE), "sub": str(NODE), "aud": str(INSTANCE), "iat": issued, "exp": issued + 60, "jti": "a" * 22}
    claims = {name: value for name, value in (claims | changes).items() if value is not ...}
    signed = f"{encode(json.dumps(header).encode())}.{encode((raw or json.dumps(claims)).encode())}"
    return f"{signed}.{encode(key.sign(signed.encode()))}"


def refusal(text: str, now: datetime = NOW, audience: Any = INSTANCE) -> str:
    with pytest.raises(Unauthenticated) as refused:
        verify_assertion(text, KEY.public, audience, now, LEEWAY)
    [problem] = refused.value.problems
    assert str(refused.value) != ""
    return problem.code


def test_an_assertion_verifies_and_says_who_and_until_when() -> None:
    found = verify_assertion(TEXT, KEY.public, INSTANCE, NOW, LEEWAY)
    assert found == Assertion(NODE, found.jti, NOW, NOW + LIFETIME)
    assert claimed_node_id(TEXT) == NODE
    assert len(base64.urlsafe_b64decode(found.jti + "==")) == 16


def test_a_forged_one_with_the_right_key_verifies_so_the_refusals_below_are_earned() -> None:
    assert verify_assertion(forge(), KEY.public, INSTANCE, NOW, LEEWAY).node_id == NODE


def test_each_assertion_has_its_own_jti() -> None:
    assert (
        len({verify_assertion(make_assertion(NODE, INSTANCE, KEY, NOW), KEY.public, INSTANCE, NOW).jti for _ in range(200)})
        == 200
    )


def test_every_changed_character_is_refused() -> None:
    """Also those in the unused bits of the last character of each part, where lenient base64 sees no change."""
    alphabet = "AQgwxyz0189-_."
    for at, character in enumerate(TEXT):
        for other in alphabet:
            if other != character:
                assert refusal(TEXT[:at] + other + TEXT[at + 1 :]) in {"bad_assertion", "bad_signature"}


@pytest.mark.parametrize("suffix", ["=", "==", "\n", " ", ".", "é"])
def test_added_characters_are_refused(suffix: str) -> None:
    assert refusal(TEXT + suffix) == "bad_assertion"


def test_another_key_is_a_bad_signature() -> None:
    assert refusal(forge(key=SigningKey.generate())) == "bad_signature"


def test_another_audience_is_said() -> None:
    assert refusal(TEXT, audience=uuid4()) == "wrong_audience"


def test_the_signature_comes_before_audience_and_clock() -> None:
    assert refusal(forge(key=SigningKey.generate(), aud=str(uuid4())), now=NOW + timedelta(days=1)) == "bad_signature"


@pytest.mark.parametrize(
    ("seconds", "accepted"),
    [(-3600, False), (-31, False), (-30, True), (0, True), (60, True), (89, True), (90, False), (3600, False)],
)
def test_clocks_apart_are_skew_in_both_directions(seconds: int, accepted: bool) -> None:
    now = NOW + timedelta(seconds=seconds)
    if accepted:
        assert verify_assertion(TEXT, KEY.public, INSTANCE, now, LEEWAY).node_id == NODE
    else:
        assert refusal(TEXT, now=now) == "clock_skew"


def test_skew_tells_both_clocks_and_what_to_do() -> None:
    with pytest.raises(Unauthenticated, match=r"2030-01-01T12:00:00Z.*2030-01-01T13:00:00Z.*3600 seconds apart; set the clocks"):
        verify_assertion(TEXT, KEY.public, INSTANCE, NOW + timedelta(hours=1), LEEWAY)


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none", "typ": "JWT"},
        {"alg": "HS256", "typ": "JWT"},
        {"alg": "ES256", "typ": "JWT"},
        {"alg": "eddsa", "typ": "JWT"},
        {"alg": "EdDSA"},
        {**HEADER, "crit": ["exp"]},
        {**HEADER, "jwk": {"kty": "OKP"}},
        {**HEADER, "kid": "x"},
        [],
        None,
        "EdDSA",
    ],
)
def test_only_our_header_is_taken(header: Any) -> None:
    assert refusal(forge(header=header)) == "bad_assertion"


def test_no_algorithm_confusion() -> None:
    """An HMAC keyed with the public key, and no signature at all."""
    body = TEXT.split(".")[1]
    signed = f"{encode(json.dumps({'alg': 'HS256', 'typ': 'JWT'}).encode())}.{body}"
    assert refusal(f"{signed}.{encode(hmac.digest(KEY.public, signed.encode(), hashlib.sha256))}") == "bad_assertion"
    assert refusal(f"{encode(json.dumps({'alg': 'none'}).encode())}.{body}.") == "bad_assertion"
    assert refusal(".".join([*TEXT.split(".")[:2], ""])) == "bad_signature"


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": ...},
        {"sub": str(uuid4())},
        {"iss": "x", "sub": "x"},
        {"iss": 1, "sub": 1},
        {"aud": [str(INSTANCE)]},
        {"aud": ...},
        {"iat": str(int(NOW.timestamp()))},
        {"iat": True},
        {"iat": int(NOW.timestamp()) - 1},
        {"exp": int(NOW.timestamp()) + 61},
        {"exp": int(NOW.timestamp())},
        {"exp": float(int(NOW.timestamp()) + 60)},
        {"iat": 10**18, "exp": 10**18 + 60},
        {"jti": ...},
        {"jti": "short"},
        {"jti": "a" * 65},
        {"jti": 12345678901234567890},
        {"scope": "all"},
    ],
)
def test_only_exact_claims_are_taken(changes: dict[str, Any]) -> None:
    assert refusal(forge(**changes)) == "bad_assertion"


def test_a_claim_that_appears_twice_is_refused() -> None:
    claims = json.dumps({"sub": str(NODE), "aud": str(INSTANCE), "iat": int(NOW.timestamp()), "exp": int(NOW.timestamp()) + 60})
    once = f'{{"jti":"{"a" * 22}","iss":"{NODE}",' + claims[1:]
    assert verify_assertion(forge(raw=once), KEY.public, INSTANCE, NOW).node_id == NODE
    assert refusal(forge(raw=f'{{"iss":"{uuid4()}",' + once[1:])) == "bad_assertion"


@pytest.mark.parametrize("text", ["", ".", "..", "...", "a.b.c", "a" * 3000, "x." * 900, "[" * 1500, "\ud800.\ud800.\ud800"])
def test_garbage_is_refused(text: str) -> None:
    assert refusal(text) == "bad_assertion"
    with pytest.raises(Unauthenticated):
        claimed_node_id(text)


def test_deep_json_is_refused() -> None:
    assert refusal(f"{encode(json.dumps(HEADER).encode())}.{encode(b'[' * 1200)}.{encode(bytes(64))}") == "bad_assertion"

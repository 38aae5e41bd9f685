"""Tokens of others: every kind of signature that is accepted, and keys that are not used."""

from __future__ import annotations

from typing import Any

import pytest
from joserfc import jwt
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from overseer.core.secret_value import SecretValue
from overseer.crypto.identity_tokens import MAX_KEYS, PublishedKeys, Refusal, Rules, key_id, verified_claims

NOW = 1_700_000_000
CLAIMS: dict[str, Any] = {"iss": "https://id.example", "aud": "me", "sub": "s", "iat": NOW, "exp": NOW + 300}
KEYS: dict[str, Any] = {
    "RS256": RSAKey.generate_key(2048, {"kid": "RS256"}),
    "PS256": RSAKey.generate_key(2048, {"kid": "PS256"}),
    "ES256": ECKey.generate_key("P-256", {"kid": "ES256"}),
    "ES384": ECKey.generate_key("P-384", {"kid": "ES384"}),
    "Ed25519": OKPKey.generate_key("Ed25519", {"kid": "Ed25519"}),
}
RULES = Rules("https://id.example", "me", tuple(KEYS))


def published(*more: dict[str, Any]) -> PublishedKeys:
    return PublishedKeys.read({"keys": [*(key.as_dict(private=False) for key in KEYS.values()), *more]})


def token(algorithm: str, claims: dict[str, Any] | None = None, key: Any = None, **header: Any) -> SecretValue:
    signing = key or KEYS[algorithm]
    text = jwt.encode({"alg": algorithm, "kid": algorithm, **header}, claims or CLAIMS, signing, algorithms=[algorithm])
    return SecretValue(text)


@pytest.mark.parametrize("algorithm", list(KEYS))
def test_asymmetric_signatures_of_published_keys_are_accepted(algorithm: str) -> None:
    assert verified_claims(token(algorithm), published(), RULES, NOW) == CLAIMS
    others = tuple(one for one in KEYS if one != algorithm)
    assert verified_claims(token(algorithm), published(), Rules(RULES.issuer, "me", others), NOW) == Refusal("bad_algorithm")


def test_the_key_and_the_signature_have_to_fit() -> None:
    """A token that says ES256 and names an RSA key, and a key that says it is for another signature."""
    assert verified_claims(token("ES256", kid="RS256"), published(), RULES, NOW) == Refusal("bad_algorithm")
    bound = {**KEYS["RS256"].as_dict(private=False), "kid": "bound", "alg": "RS512"}
    assert verified_claims(token("RS256", kid="bound"), published(bound), RULES, NOW) == Refusal("bad_algorithm")
    assert verified_claims(token("RS256", kid="PS256"), published(), RULES, NOW) == Refusal("bad_signature")


@pytest.mark.parametrize(
    ("seconds", "code"), [(NOW + 359, None), (NOW + 361, "expired"), (NOW - 59, None), (NOW - 61, "not_yet_valid")]
)
def test_times_have_a_minute_of_leeway(seconds: int, code: str | None) -> None:
    found = verified_claims(token("ES256"), published(), RULES, seconds)
    assert found == (CLAIMS if code is None else Refusal(code))


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"exp": True}, "bad_times"),
        ({"exp": -1}, "bad_times"),
        ({"exp": 1e300}, "bad_times"),
        ({"iat": "now"}, "bad_times"),
        ({"nbf": []}, "bad_times"),
        ({"sub": ""}, "bad_subject"),
        ({"sub": 5}, "bad_subject"),
        ({"sub": "a\nb"}, "bad_subject"),
        ({"sub": "x" * 501}, "bad_subject"),
        ({"aud": []}, "wrong_audience"),
        ({"aud": None}, "wrong_audience"),
        ({"aud": ["me", "you"], "azp": "you"}, "wrong_audience"),
        ({"iss": ["https://id.example"]}, "wrong_issuer"),
    ],
)
def test_claims_of_other_kinds_are_refused(changes: dict[str, Any], code: str) -> None:
    assert verified_claims(token("ES256", CLAIMS | changes), published(), RULES, NOW) == Refusal(code)


def test_several_audiences_need_the_authorised_party() -> None:
    claims = CLAIMS | {"aud": ["me", "you"], "azp": "me"}
    assert verified_claims(token("ES256", claims), published(), RULES, NOW) == claims


def test_keys_that_are_weak_symmetric_or_for_something_else_are_left_out() -> None:
    with pytest.warns(SecurityWarning):
        weak = RSAKey.generate_key(1024, {"kid": "weak"})
    symmetric = OctKey.generate_key(256, {"kid": "oct"})
    sealing = {**KEYS["RS256"].as_dict(private=False), "kid": "enc", "use": "enc"}
    keys = published(
        weak.as_dict(private=False), symmetric.as_dict(private=True), sealing, {"kty": "RSA", "kid": "broken", "n": "!"}, {}
    )
    assert set(keys.keys) == set(KEYS)
    private = {**KEYS["ES256"].as_dict(private=True), "kid": "private"}
    assert not PublishedKeys.read({"keys": [private]}).keys["private"].is_private


@pytest.mark.parametrize("document", [None, [], {}, {"keys": {}}, {"keys": [{}] * (MAX_KEYS + 1)}])
def test_what_is_no_key_set_is_refused(document: Any) -> None:
    with pytest.raises(ValueError, match="key set"):
        PublishedKeys.read(document)


@pytest.mark.parametrize("text", ["", "a", "a.b", "a.b.c.d", "!.b.c", "bnVsbA.b.c", "e30.b.", "x" * 40_000])
def test_what_is_no_token_is_malformed_or_has_no_known_algorithm(text: str) -> None:
    found = verified_claims(SecretValue(text), published(), RULES, NOW)
    assert found in (Refusal("malformed"), Refusal("bad_algorithm"))


def test_a_key_id_that_is_no_text_is_refused() -> None:
    import base64
    import json

    first = base64.urlsafe_b64encode(json.dumps({"alg": "ES256", "kid": {"a": 1}}).encode()).rstrip(b"=").decode()
    assert key_id(SecretValue(f"{first}.e30.AAAA")) == Refusal("bad_key_id")

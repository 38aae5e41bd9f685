"""Fingerprints, bundle addresses and request digests: equal exactly where everything they cover is equal."""

from __future__ import annotations

from uuid import uuid4

from hypothesis import given
from hypothesis import strategies as st

from overseer.core.secret_value import SecretValue
from overseer.crypto.fingerprints import deployment_key, fingerprint, fingerprints_match
from overseer.crypto.keyed_digests import bundle_address, request_digest
from overseer.crypto.keys import HmacKey

KEY = HmacKey(bytes(range(32)))
ONE, OTHER = uuid4(), uuid4()


@given(st.text(max_size=5), st.binary(max_size=5), st.text(max_size=5), st.binary(max_size=5))
def test_fingerprints_are_equal_exactly_for_the_same_name_and_value(n1: str, v1: bytes, n2: str, v2: bytes) -> None:
    one, other = fingerprint(KEY, n1, SecretValue(v1)), fingerprint(KEY, n2, SecretValue(v2))
    assert fingerprints_match(one, other) == ((n1, v1) == (n2, v2))


def test_name_and_value_do_not_run_together() -> None:
    assert fingerprint(KEY, "ab", SecretValue("c")) != fingerprint(KEY, "a", SecretValue("bc"))


def test_the_same_value_in_two_deployments_has_unrelated_fingerprints() -> None:
    one, other = deployment_key(KEY, ONE), deployment_key(KEY, OTHER)
    assert one != other
    assert one != KEY
    assert deployment_key(KEY, ONE) == one
    assert fingerprint(one, "A", SecretValue("x")) != fingerprint(other, "A", SecretValue("x"))


def test_a_cut_fingerprint_does_not_match() -> None:
    whole = fingerprint(KEY, "A", SecretValue("x"))
    assert fingerprints_match(whole, bytes(whole))
    for cut in (b"", whole[:16], whole[:-1], whole + b"\0"):
        assert not fingerprints_match(whole, cut)


def test_a_bundle_address_ignores_order_and_nothing_else() -> None:
    files = {"compose.yaml": SecretValue("services: {}"), ".env": SecretValue("A=1")}
    address = bundle_address(KEY, ONE, files)
    assert len(address) == 32
    assert bundle_address(KEY, ONE, dict(reversed(files.items()))) == address
    others = [
        bundle_address(HmacKey(bytes(32)), ONE, files),
        bundle_address(KEY, OTHER, files),
        bundle_address(KEY, ONE, {}),
        bundle_address(KEY, ONE, {"compose.yaml": files["compose.yaml"]}),
        bundle_address(KEY, ONE, files | {".env": SecretValue("A=2")}),
        bundle_address(KEY, ONE, files | {"empty": SecretValue("")}),
        bundle_address(KEY, ONE, {"compose.yaml": files[".env"], ".env": files["compose.yaml"]}),
        bundle_address(KEY, ONE, {"compose.yam": SecretValue("lservices: {}"), ".env": files[".env"]}),
    ]
    assert len({address, *others}) == 9


def test_a_request_digest_covers_who_where_and_what() -> None:
    digest = request_digest(KEY, ONE, "POST /api/secrets", b"{}")
    others = [
        request_digest(HmacKey(bytes(32)), ONE, "POST /api/secrets", b"{}"),
        request_digest(KEY, OTHER, "POST /api/secrets", b"{}"),
        request_digest(KEY, ONE, "POST /api/secret", b"s{}"),
        request_digest(KEY, ONE, "PUT /api/secrets", b"{}"),
        request_digest(KEY, ONE, "POST /api/secrets", b"{ }"),
    ]
    assert len({digest, *others}) == 6


def test_no_use_of_one_key_equals_another_use_of_it() -> None:
    """The labels keep the uses apart even if one key served all of them."""
    same = {
        deployment_key(KEY, ONE).reveal(),
        fingerprint(KEY, "", SecretValue(ONE.bytes)),
        bundle_address(KEY, ONE, {}),
        request_digest(KEY, ONE, "", b""),
    }
    assert len(same) == 4

from __future__ import annotations

import hashlib

import pytest

from overseer.server.api.session_cookies import credential_hash, no_session_cookie, session_cookie, session_hash

SESSION = b"ovss_" + b"a" * 49
HASH = hashlib.sha256(SESSION).digest()
PROOF = {b"x-overseer-csrf": [b"1"]}
ORIGIN = {b"origin": [b"http://127.0.0.1:8420"]}


def cookie(text: bytes, name: bytes = b"overseer") -> dict[bytes, list[bytes]]:
    return {b"cookie": [name + b"=" + text]}


def test_a_session_comes_with_its_proof() -> None:
    assert credential_hash(cookie(SESSION) | PROOF, "GET", secure=False) == HASH
    assert credential_hash(cookie(SESSION) | PROOF | ORIGIN, "POST", secure=False) == HASH


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_without_the_proof_a_cookie_is_as_good_as_absent(method: str) -> None:
    for headers in ({}, PROOF, ORIGIN, {b"x-overseer-csrf": [b"1", b"1"]} | ORIGIN):
        assert credential_hash(cookie(SESSION) | headers, method, secure=False) is None
    assert credential_hash(cookie(SESSION), "GET", secure=False) is None


def test_a_bearer_token_comes_first_even_where_it_is_none() -> None:
    bearer = {b"authorization": [b"Bearer ovs_x"]}
    assert credential_hash(cookie(SESSION) | PROOF | ORIGIN | bearer, "POST", secure=False) == hashlib.sha256(b"ovs_x").digest()
    nothing = {b"authorization": [b"Basic eA=="]}
    assert credential_hash(cookie(SESSION) | PROOF | ORIGIN | nothing, "POST", secure=False) is None


def test_over_tls_only_the_name_that_no_other_host_can_set_is_read() -> None:
    assert session_hash(cookie(SESSION), secure=True) is None
    assert session_hash(cookie(SESSION, b"__Host-overseer"), secure=True) == HASH
    assert session_hash(cookie(SESSION, b"__Host-overseer"), secure=False) is None


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {b"cookie": [b"overseer=" + SESSION + b"; overseer=" + SESSION]},
        {b"cookie": [b"overseer=" + SESSION, b"overseer=ovss_other"]},
        cookie(b""),
        cookie(b"ovs_" + b"a" * 49),
        cookie(b"ovss_" + b"a" * 600),
        {b"cookie": [b"overseers=" + SESSION]},
        {b"cookie": [b"xoverseer=" + SESSION]},
    ],
)
def test_what_is_not_one_session_is_none(headers: dict[bytes, list[bytes]]) -> None:
    assert session_hash(headers, secure=False) is None


def test_it_is_found_among_others() -> None:
    assert session_hash({b"cookie": [b"a=b;overseer=" + SESSION + b";  c=d"]}, secure=False) == HASH


def test_cookies_are_bound_to_this_host_and_out_of_reach_of_scripts() -> None:
    assert session_cookie("ovss_x", secure=True) == "__Host-overseer=ovss_x; Path=/; HttpOnly; SameSite=Lax; Secure"
    assert session_cookie("ovss_x", secure=False) == "overseer=ovss_x; Path=/; HttpOnly; SameSite=Lax"
    assert no_session_cookie(secure=True).endswith("; Secure; Max-Age=0")

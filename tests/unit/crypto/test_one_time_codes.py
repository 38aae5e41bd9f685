"""TOTP against the vectors of RFC 6238, appendix B (SHA-1, cut to six digits), and recovery codes."""

from __future__ import annotations

import hashlib

import pytest

from overseer.core.secret_value import SecretValue
from overseer.crypto.one_time_codes import (
    RECOVERY_CODES,
    STEP_SECONDS,
    code_at,
    is_totp_form,
    key_uri,
    matching_step,
    new_recovery_codes,
    new_secret,
    recovery_hash,
    secret_text,
)

RFC = SecretValue(b"12345678901234567890")


@pytest.mark.parametrize(
    ("seconds", "code"),
    [
        (59, "287082"),
        (1111111109, "081804"),
        (1111111111, "050471"),
        (1234567890, "005924"),
        (2000000000, "279037"),
        (20000000000, "353130"),
    ],
)
def test_the_vectors_of_the_rfc(seconds: int, code: str) -> None:
    assert code_at(RFC, seconds // STEP_SECONDS) == code
    assert matching_step(RFC, code, seconds, 0) == seconds // STEP_SECONDS


@pytest.mark.parametrize(("steps", "found"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_one_step_to_either_side_is_accepted(steps: int, found: bool) -> None:
    now = 1_700_000_000
    step = now // STEP_SECONDS + steps
    assert (matching_step(RFC, code_at(RFC, step), now, 0) == step) is found


def test_a_step_that_was_used_and_those_before_it_are_not() -> None:
    now = 1_700_000_000
    step = now // STEP_SECONDS
    assert matching_step(RFC, code_at(RFC, step), now, step) is None
    assert matching_step(RFC, code_at(RFC, step - 1), now, step) is None
    assert matching_step(RFC, code_at(RFC, step + 1), now, step) == step + 1
    assert matching_step(RFC, code_at(RFC, step), now, step + 10) is None


@pytest.mark.parametrize("code", ["", "12345", "1234567", "abcdef", "١٢٣٤٥٦", "é"])
def test_what_is_no_code_matches_nothing(code: str) -> None:
    assert not is_totp_form(code)
    assert matching_step(RFC, code, 59, 0) is None


def test_secrets_are_random_and_typed_in_base32() -> None:
    assert len(new_secret()) == 20
    assert new_secret() != new_secret()
    assert secret_text(RFC) == "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
    assert key_uri(RFC, "Over seer", "a/b").startswith("otpauth://totp/Over%20seer:a%2Fb?secret=GEZD")


def test_recovery_codes_have_120_bits_and_are_read_however_they_are_written() -> None:
    codes, hashes = new_recovery_codes()
    assert len(codes) == len(set(hashes)) == RECOVERY_CODES
    text = codes[0].reveal().decode()
    assert len(text.replace("-", "")) == 24
    assert recovery_hash(f" {text.upper().replace('-', ' ')} ") == hashes[0]
    assert hashes[0] == hashlib.sha256(text.replace("-", "").encode()).digest()

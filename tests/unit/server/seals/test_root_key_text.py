"""The written form of a root key: exact, and never repeated in an error."""

from __future__ import annotations

import pytest

from overseer.core.errors import KeyProblem
from overseer.core.secret_value import SecretValue
from overseer.crypto.keys import RootKey
from overseer.server.seals.root_key_text import MAX_BYTES, read_root_key, write_root_key

ROOT = RootKey.generate()
DIGITS = ROOT.reveal().hex()
HEAD = "overseer-root-key-v1"


def test_what_was_written_reads_back() -> None:
    written = write_root_key(ROOT)
    assert read_root_key(written, "here") == ROOT
    assert len(written) < MAX_BYTES


@pytest.mark.parametrize("text", [f"{HEAD}\n{DIGITS}", f"{HEAD}\r\n{DIGITS}\r\n", f" {HEAD}\n\n{DIGITS.upper()}\n"])
def test_line_ends_and_case_do_not_matter(text: str) -> None:
    assert read_root_key(SecretValue(text), "here") == ROOT


@pytest.mark.parametrize(
    "text",
    [
        "",
        HEAD,
        DIGITS,
        f"{HEAD}\n{DIGITS[:-1]}",
        f"{HEAD}\n{DIGITS}0",
        f"{HEAD}\n{DIGITS}\n{DIGITS}",
        f"{HEAD}\n{DIGITS[:-1]}g",
        f"{HEAD}\n{DIGITS[:32]} {DIGITS[32:]}",
        f"overseer-root-key-v2\n{DIGITS}",
        f"{DIGITS}\n{HEAD}",
        b"\xff" * 86,
        f"{HEAD}\n{DIGITS}{' ' * 300}",
    ],
)
def test_anything_else_is_refused_without_repeating_it(text: str | bytes) -> None:
    with pytest.raises(KeyProblem, match=r"^here: .*64 hexadecimal digits") as refused:
        read_root_key(SecretValue(text), "here")
    assert DIGITS[:16] not in refused.value.message
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


def test_a_variable_may_hold_the_digits_alone() -> None:
    assert read_root_key(SecretValue(DIGITS), "here", head_required=False) == ROOT
    assert read_root_key(write_root_key(ROOT), "here", head_required=False) == ROOT
    with pytest.raises(KeyProblem):
        read_root_key(SecretValue(f"{DIGITS} {DIGITS}"), "here", head_required=False)

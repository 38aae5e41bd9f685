"""References have one spelling, and a binding's pattern says the same thing as the reference it is compared with."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overseer.core.access import NamePattern
from overseer.core.backend_references import BackendReference, check_field, grant_name, is_grant_pattern
from overseer.core.errors import InvalidInput


@pytest.mark.parametrize("text", ["db", "apps/shop/db", "a/b@3", "x_y.z+q=1,2-3", ".hidden", "..a", "a/...", "n@AWSPREVIOUS"])
def test_accepted_and_the_same_again(text: str) -> None:
    assert str(BackendReference.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    ["", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "../a", "a/.", "a/..@1", "a%2fb", "a?b", "a#b", "a b", "a\n", "é", "a@",
     "a@b/c", "a\\b", "a:b", "a\x00", "a" * 513],
)  # fmt: skip
def test_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        BackendReference.parse(text)
    assert len(text) < 4 or text not in caught.value.message


@given(st.text(alphabet="ab./@%-", max_size=12))
def test_what_is_accepted_stays_inside_its_prefix(text: str) -> None:
    try:
        reference = BackendReference.parse(text)
    except InvalidInput:
        return
    assert not {"", ".", ".."} & set(reference.parts)
    assert "%" not in text
    assert grant_name("corp", text) == f"corp:{reference.path}"


def test_patterns() -> None:
    for text in ("corp:", "corp:apps/", "corp:apps/shop/", "corp:apps/shop/db", "corp:ap"):
        assert is_grant_pattern(text), text
    for text in ("", "corp", ":apps", "corp:/apps", "corp:a//b", "corp:a/../b", "corp:a/..", "corp:a%2e", "c:rp:a", "corp:a b"):
        assert not is_grant_pattern(text), text
    pattern = NamePattern.parse("corp:apps/shop/*")
    assert pattern.accepts(grant_name("corp", "apps/shop/db@3"))
    assert not pattern.accepts(grant_name("corp", "apps/shopping/db"))
    assert not pattern.accepts(grant_name("corp2", "apps/shop/db"))


def test_fields() -> None:
    assert check_field("a.b c", "x") == "a.b c"
    for text in ("a\n", "a" * 257):
        with pytest.raises(InvalidInput):
            check_field(text, "x")

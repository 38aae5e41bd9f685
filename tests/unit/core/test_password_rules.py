from __future__ import annotations

import pytest

from overseer.core.errors import InvalidInput
from overseer.core.password_rules import COMMON_PIECES, check_password


@pytest.mark.parametrize(
    "password",
    [
        "plum tractor violet moss",
        "x7$Kq!9wLmZ2#vT",
        "ärger über fünf öfen",
        "🦊 runs over the hill",
        "a" * 4 + "bcdefghijklmnopq" * 15,
    ],
)
def test_good_passwords_of_any_characters_pass(password: str) -> None:
    check_password(password, "ann", "body.password")


@pytest.mark.parametrize("password", ["", "x7$Kq!9wLmZ2#v", "x" * 257, "ﬁ" * 7])
def test_the_length_is_counted_after_nfkc(password: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_password(password, "ann", "body.password")
    assert caught.value.problems[0].code == "bad_password"


@pytest.mark.parametrize(
    "password",
    [
        "aaaaaaaaaaaaaaaaaaaa",
        "abababababababababab",
        "passwordpassword",
        "PassWord 12345678 2026",
        "correct-horse-battery-staple",
        "correct horse battery staple",
        "qwertyuiopasdfghjkl",
        "overseeroverseer1",
        "annabel-annabel-annabel",
        "Annabel password 1234",
    ],
)
def test_what_is_guessed_first_is_refused_and_not_said_back(password: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_password(password, "Annabel", "body.password")
    assert caught.value.problems[0].code == "weak_password"
    assert password not in caught.value.message


def test_longer_pieces_come_first_and_each_once() -> None:
    assert [len(piece) for piece in COMMON_PIECES] == sorted((len(piece) for piece in COMMON_PIECES), reverse=True)
    assert len(set(COMMON_PIECES)) == len(COMMON_PIECES)
    assert all(piece == piece.lower() for piece in COMMON_PIECES)

"""Shamir's shares: any k give the key, fewer say nothing, and what is typed wrongly is named."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overseer.core.errors import InvalidInput, KeyProblem
from overseer.core.secret_value import SecretValue
from overseer.crypto.keys import Key
from overseer.crypto.shares import Share, combine, evaluate, interpolate, parse_share, split

KEY = Key(bytes(range(32)))


@pytest.mark.parametrize(("threshold", "count"), [(2, 2), (2, 5), (3, 5), (5, 5), (4, 7)])
def test_every_choice_of_k_shares_gives_the_key(threshold: int, count: int) -> None:
    shares = split(KEY, threshold, count)
    assert [share.number for share in shares] == list(range(1, count + 1))
    for chosen in itertools.permutations(shares, threshold):
        assert combine(chosen) == KEY
    assert combine(shares) == KEY


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_any_numbers_and_any_shares(data: st.DataObject) -> None:
    count = data.draw(st.integers(2, 40))
    threshold = data.draw(st.integers(2, count))
    key = Key(data.draw(st.binary(min_size=32, max_size=32)))
    shares = split(key, threshold, count)
    chosen = data.draw(st.permutations(shares))[:threshold]
    assert combine(chosen) == key
    assert combine([parse_share(share.text()) for share in chosen]) == key


def test_the_largest_numbers() -> None:
    shares = split(KEY, 255, 255)
    assert combine(shares) == KEY
    assert combine(split(KEY, 2, 255)[253:]) == KEY


def test_fewer_shares_say_nothing() -> None:
    """Counted over the whole space of one byte: with k - 1 shares known, each of the 256 secrets is explained by exactly as many
    choices of coefficients as every other."""
    seen: dict[tuple[int, int], Counter[int]] = {}
    for secret, c1 in itertools.product(range(256), repeat=2):  # k = 2, one share known
        y = evaluate([bytes([secret]), bytes([c1])], 3)[0]
        seen.setdefault((3, y), Counter())[secret] += 1
    assert len(seen) == 256
    assert all(counts == Counter(dict.fromkeys(range(256), 1)) for counts in seen.values())


def test_fewer_shares_say_nothing_for_three() -> None:
    """k = 3, the shares 1 and 2 known to be (17, 200): for every secret there is exactly one third share that explains it."""
    known = [(1, b"\x11"), (2, b"\xc8")]
    secrets = [interpolate([*known, (3, bytes([third]))])[0] for third in range(256)]
    assert sorted(secrets) == list(range(256))


def test_too_few_and_mixed_shares_are_refused() -> None:
    shares, others = split(KEY, 3, 5), split(KEY, 3, 5)
    with pytest.raises(KeyProblem, match="2 different shares are too few: 3"):
        combine(shares[:2])
    with pytest.raises(KeyProblem, match="too few"):
        combine([shares[0], shares[0], shares[1]])
    with pytest.raises(KeyProblem, match="not of one set"):
        combine([*shares[:2], others[2]])
    with pytest.raises(KeyProblem):
        combine([])


@pytest.mark.parametrize(("threshold", "count"), [(1, 1), (1, 3), (4, 3), (0, 0), (2, 256), (256, 256), (-1, 2)])
def test_numbers_that_make_no_sense(threshold: int, count: int) -> None:
    with pytest.raises(InvalidInput, match="2 <= k <= n <= 255"):
        split(KEY, threshold, count)


def test_a_forged_share_gives_another_key_and_has_another_digest() -> None:
    first, second, _ = split(KEY, 2, 3)
    forged = Share(first.set_id, 2, 3, 1, Key.generate())
    assert parse_share(forged.text()) == forged, "a checksum is no signature"
    assert combine([forged, second]) != KEY
    assert forged.digest() != first.digest()


def test_sets_are_told_apart() -> None:
    assert split(KEY, 2, 2)[0].set_id != split(KEY, 2, 2)[0].set_id


def test_the_text_is_read_again_however_it_is_typed() -> None:
    share = split(KEY, 3, 5)[4]
    text = share.text().reveal().decode()
    assert text.startswith("ovshare1-")
    assert len(text.split("-")) == 13
    for typed in (text, text.upper(), text.replace("-", " "), text.replace("-", ""), f"  {text}\n", text.replace("-", " - ")):
        assert parse_share(SecretValue(typed)) == share


def test_every_single_mistyped_character_is_found() -> None:
    text = split(KEY, 2, 3)[0].text().reveal().decode()
    for at in range(len("ovshare1-"), len(text)):
        if text[at] == "-":
            continue
        for wrong in ("a", "7", "0", "é"):
            if wrong != text[at]:
                with pytest.raises(InvalidInput) as caught:
                    parse_share(SecretValue(text[:at] + wrong + text[at + 1 :]))
                assert text[9:20] not in caught.value.message


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not a share"),
        ("overseer-root-key-v1", "not a share"),
        ("ovshare1-aaaaaa", "cut"),
        ("x" * 300, "not a share"),
        ("ovshare2-" + "a" * 72, "not a share"),
        ("ovshare1-" + "a" * 72, "mistyped"),
        ("ovshare1-" + "a" * 73, "cut or has too much"),
        ("ovshare1-" + "1" * 72, "letters a to z"),
    ],
)
def test_what_is_no_share_is_named(text: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        parse_share(SecretValue(text))


def test_numbers_that_contradict_each_other_are_refused_despite_a_right_checksum() -> None:
    for threshold, count, number in ((1, 3, 1), (4, 3, 1), (2, 3, 0), (2, 3, 4)):
        with pytest.raises(InvalidInput, match="contradict"):
            parse_share(Share(b"\0\0\0\0", threshold, count, number, KEY).text())


def test_a_share_does_not_show_itself() -> None:
    share = split(KEY, 2, 2)[0]
    hidden = share.value.reveal().hex()
    assert hidden not in repr(share)
    assert repr(share.value.reveal()) not in repr(share)
    assert "ovshare1" not in f"{share.text()!r} {share.text()}"

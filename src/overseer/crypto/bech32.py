"""Bech32 (BIP 173), the written form of age's keys: a readable prefix, 5 bits a character, a checksum of 6 characters.

Guarantee: up to four wrong characters are always found. What it will not do: Bech32m, or mixed case.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

_ALPHABET: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR: Final = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_CHECKSUM: Final = 6


def encode(prefix: str, data: bytes) -> str:
    """``data`` behind a lower-case ``prefix``."""
    words = _regrouped(data, 8, 5, pad=True)
    checksum = _polymod([*_expanded(prefix), *words, *[0] * _CHECKSUM]) ^ 1
    words += [(checksum >> 5 * (_CHECKSUM - 1 - place)) & 31 for place in range(_CHECKSUM)]
    return f"{prefix}1" + "".join(_ALPHABET[word] for word in words)


def decode(text: str) -> tuple[str, bytes]:
    """The lower-case prefix and the data. Raises ValueError, which does not repeat ``text``."""
    if text not in (text.lower(), text.upper()) or not text.isascii():
        raise ValueError("mixed case")
    prefix, separator, rest = text.lower().rpartition("1")
    if not (separator and prefix) or len(rest) < _CHECKSUM or not set(rest) <= set(_ALPHABET):
        raise ValueError("not Bech32")
    words = [_ALPHABET.index(character) for character in rest]
    if _polymod([*_expanded(prefix), *words]) != 1:
        raise ValueError("the checksum is wrong")
    return prefix, bytes(_regrouped(words[:-_CHECKSUM], 5, 8, pad=False))


def _expanded(prefix: str) -> list[int]:
    return [ord(character) >> 5 for character in prefix] + [0] + [ord(character) & 31 for character in prefix]


def _polymod(values: Iterable[int]) -> int:
    checksum = 1
    for value in values:
        top = checksum >> 25
        checksum = (checksum & 0x1FFFFFF) << 5 ^ value
        for place in range(5):
            checksum ^= _GENERATOR[place] if top >> place & 1 else 0
    return checksum


def _regrouped(data: Iterable[int], before: int, after: int, *, pad: bool) -> list[int]:
    held, bits, out = 0, 0, []
    for value in data:
        held, bits = held << before | value, bits + before
        while bits >= after:
            bits -= after
            out.append(held >> bits & (1 << after) - 1)
        held &= (1 << bits) - 1
    if pad and bits:
        out.append(held << after - bits & (1 << after) - 1)
    elif not pad and (bits >= before or held):
        raise ValueError("bits are left over")
    return out

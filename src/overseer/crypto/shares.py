"""A key in ``count`` shares of which any ``threshold`` give it back: Shamir's scheme (CACM 22/11, 1979) over GF(2^8), byte by
byte, as in draft-mcgrew-tss-03.

Guarantees: fewer than ``threshold`` shares say nothing about the key, not even to whoever can compute without limit: every key
is as likely as any other. Coefficients come from the kernel's random generator, all of them, also a highest one that happens
to be zero (leaving it out would tell something). A share carries its number, its set and a checksum, so a mistyped one and
one of another set are named for what they are; a *forged* one is found by the set's digests (:meth:`Share.digest`).

What it will not do: tell a forged share from a right one without the digests; take back a share that is out: make a new set.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from overseer.core.errors import InvalidInput, KeyProblem
from overseer.core.secret_value import SecretValue
from overseer.crypto.framing import frame
from overseer.crypto.gf256 import inverse, multiply, scale
from overseer.crypto.keys import Key

MIN_THRESHOLD: Final = 2
MAX_SHARES: Final = 255
HEAD: Final = "ovshare1"
MAX_TEXT: Final = 256
SET_BYTES: Final = 4
_KEY_BYTES: Final = 32
_CHECK_BYTES: Final = 6
_GROUP: Final = 6
_BODY_BYTES: Final = SET_BYTES + 3 + _KEY_BYTES
_CHECK_LABEL: Final = b"overseer share checksum v1"
_DIGEST_LABEL: Final = b"overseer share digest v1"


@dataclass(frozen=True, slots=True)
class Share:
    """One share. Its text is ``ovshare1-`` and twelve groups of six letters and digits (base32 of RFC 4648, without padding):
    set (4 bytes), threshold, count, number (a byte each), the share itself (32), and six bytes of SHA-256 over all of it.

    Evolution rule: another layout gets another head (``ovshare2``); ``tests/vectors/shares-v1.json`` must combine forever.
    """

    set_id: bytes
    threshold: int
    count: int
    number: int
    value: Key = field(repr=False)

    def text(self) -> SecretValue:
        """What an operator keeps."""
        body = self._body()
        letters = base64.b32encode(body + _checksum(body)).decode("ascii").lower()
        groups = [letters[at : at + _GROUP] for at in range(0, len(letters), _GROUP)]
        return SecretValue("-".join([HEAD, *groups]))

    def digest(self) -> bytes:
        """SHA-256 of the whole share: tells a right share from a forged one. A share has 256 random bits, so the digest gives
        nothing to a guesser that the keyring's check value would not."""
        return hashlib.sha256(frame(_DIGEST_LABEL, self._body())).digest()

    def _body(self) -> bytes:
        return self.set_id + bytes((self.threshold, self.count, self.number)) + self.value.reveal()


def parse_share(text: SecretValue) -> Share:
    """The share in ``text``; capitals, blanks and missing dashes do not matter.

    Raises :class:`InvalidInput` that says what is wrong with it (no share, cut, mistyped) and never repeats it.
    """
    try:
        plain = "".join(text.reveal().decode("ascii").replace("-", " ").split()).lower() if len(text) <= MAX_TEXT else ""
    except UnicodeDecodeError:
        plain = ""
    if not plain.startswith(HEAD):
        raise InvalidInput(f"this is not a share: a share begins with {HEAD}-")
    letters = plain[len(HEAD) :]
    if len(letters) != (_BODY_BYTES + _CHECK_BYTES) * 8 // 5:
        raise InvalidInput("this share is cut or has too much: after its head it has twelve groups of six characters")
    try:
        raw = base64.b32decode(letters.upper())
    except ValueError:
        raise InvalidInput("this share is mistyped: it has the letters a to z and the digits 2 to 7 only") from None
    body, check = raw[:_BODY_BYTES], raw[_BODY_BYTES:]
    if check != _checksum(body):  # an error of typing is meant to be seen, so nothing is gained by a comparison in constant time
        raise InvalidInput("this share is mistyped: its checksum does not fit")
    threshold, count, number = body[SET_BYTES : SET_BYTES + 3]
    if not (MIN_THRESHOLD <= threshold <= count and 1 <= number <= count):
        raise InvalidInput("this share was not made by Overseer: its numbers contradict each other")
    return Share(body[:SET_BYTES], threshold, count, number, Key(body[SET_BYTES + 3 :]))


def check_numbers(threshold: int, count: int) -> None:
    """Raises :class:`InvalidInput` unless 2 <= threshold <= count <= 255."""
    if not MIN_THRESHOLD <= threshold <= count <= MAX_SHARES:
        raise InvalidInput(f"shares are k of n with {MIN_THRESHOLD} <= k <= n <= {MAX_SHARES}")


def split(key: Key, threshold: int, count: int) -> tuple[Share, ...]:
    """``count`` shares of ``key``, of a new set. Raises :class:`InvalidInput` for numbers that make no sense."""
    check_numbers(threshold, count)
    set_id = os.urandom(SET_BYTES)
    coefficients = [key.reveal(), *(os.urandom(_KEY_BYTES) for _ in range(threshold - 1))]
    return tuple(Share(set_id, threshold, count, number, Key(evaluate(coefficients, number))) for number in range(1, count + 1))


def combine(shares: Iterable[Share]) -> Key:
    """The key that the shares were made of. Further ones than the threshold are not looked at.

    Raises :class:`KeyProblem` for shares of different sets or too few different ones. A forged share gives a wrong key: the
    caller checks what it gets.
    """
    by_number = {share.number: share for share in shares}
    sets = {(share.set_id, share.threshold, share.count) for share in by_number.values()}
    if len(sets) != 1:
        raise KeyProblem("the shares are not of one set")
    [(_, threshold, _)] = sets
    if len(by_number) < threshold:
        raise KeyProblem(f"{len(by_number)} different shares are too few: {threshold} are needed")
    used = [by_number[number] for number in sorted(by_number)[:threshold]]
    return Key(interpolate([(share.number, share.value.reveal()) for share in used]))


def evaluate(coefficients: Sequence[bytes], x: int) -> bytes:
    """The polynomials with these coefficients (lowest first, one polynomial a byte) at ``x``, by Horner's rule."""
    size = len(coefficients[0])
    result = 0
    for coefficient in reversed(coefficients):
        result = scale(result, x, size) ^ int.from_bytes(coefficient, "big")
    return result.to_bytes(size, "big")


def interpolate(points: Sequence[tuple[int, bytes]]) -> bytes:
    """The value at 0 of the polynomials through ``points`` (x not 0, all different), by Lagrange's formula.

    The weights come from the public x alone; the secret bytes are only scaled and added.
    """
    size = len(points[0][1])
    result = 0
    for x, y in points:
        weight = 1
        for other, _ in points:
            if other != x:
                weight = multiply(weight, multiply(other, inverse(other ^ x)))  # in this field minus is plus is XOR
        result ^= scale(int.from_bytes(y, "big"), weight, size)
    return result.to_bytes(size, "big")


def _checksum(body: bytes) -> bytes:
    return hashlib.sha256(frame(_CHECK_LABEL, body)).digest()[:_CHECK_BYTES]

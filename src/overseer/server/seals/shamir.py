"""The ``shamir`` seal: the root key exists only as shares that people keep, any k of n of which give it back.

Guarantee: the database keeps the numbers, the set and a SHA-256 of each share, so that every wrong share is named (mistyped, of
another set, forged) before it counts; it keeps no part of the key. Shares are shown once, when they are made.

What it will not do: open by itself, take a share back (make a new set: ``overseer seal rekey``), or know who keeps which.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from overseer.core.errors import InvalidInput, KeyProblem, Sealed
from overseer.core.secret_value import SecretValue
from overseer.crypto.keys import RootKey
from overseer.crypto.shares import Share, check_numbers, combine, parse_share, split
from overseer.server.seals.contract import NewSeal

SHAMIR: Final = "shamir"
_FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class ShareSet:
    """What the database keeps: JSON of these fields, bytes in hexadecimal.

    Evolution rule: ``format`` is the first thing read; another scheme is a new number, and every number stays readable.
    """

    set_id: bytes
    threshold: int
    digests: tuple[bytes, ...]

    @property
    def count(self) -> int:
        return len(self.digests)

    def serialise(self) -> bytes:
        fields = {
            "format": _FORMAT,
            "scheme": "shamir-gf256",
            "set": self.set_id.hex(),
            "threshold": self.threshold,
            "digests": [digest.hex() for digest in self.digests],
        }
        return json.dumps(fields, separators=(",", ":")).encode("ascii")

    @classmethod
    def parse(cls, config: bytes | None) -> ShareSet:
        """What :meth:`serialise` gave, else :class:`KeyProblem`."""
        if config is None:
            raise KeyProblem("the database holds no shamir seal; this instance was made with another seal, or not yet")
        try:
            fields = json.loads(config)
            if (fields["format"], fields["scheme"]) != (_FORMAT, "shamir-gf256"):
                raise ValueError("format")
            digests = tuple(bytes.fromhex(text) for text in fields["digests"])
            check_numbers(fields["threshold"], len(digests))
            return cls(bytes.fromhex(fields["set"]), fields["threshold"], digests)
        except (ValueError, KeyError, TypeError, RecursionError, InvalidInput):
            raise KeyProblem("the stored configuration of the shamir seal is damaged or of a newer version") from None

    def check(self, text: SecretValue) -> Share:
        """The share in ``text``, which is one of this set; :class:`InvalidInput` says what else it is and never repeats it."""
        share = parse_share(text)
        if share.set_id != self.set_id:
            raise InvalidInput(
                "this share is of another set: of another instance, or made before the seal was changed. "
                "Give one of the present set"
            )
        if (share.threshold, share.count) != (self.threshold, self.count) or share.digest() != self.digests[share.number - 1]:
            raise InvalidInput(f"this is not share number {share.number} of the set, as it says: it was changed or forged")
        return share


class ShamirSeal:
    """The seal ``shamir:K/N`` (for a new set) or ``shamir``; ``config`` is what the database keeps, None for a new one."""

    kind = SHAMIR
    needs_operator = True
    asks_service = False

    def __init__(self, config: bytes | None, numbers: tuple[int, int] | None = None) -> None:
        self._config = config
        self._numbers = numbers

    def describe(self) -> str:
        if self._config is not None:
            stored = ShareSet.parse(self._config)
            how = f"{stored.threshold} of {stored.count} shares that people keep"
        else:
            how = (
                "shares that people keep" if self._numbers is None else "{} of {} shares that people keep".format(*self._numbers)
            )
        return f"{how}: protects a stolen machine too, and no one person opens it; every start waits for `overseer seal unseal`"

    async def create(self, given: SecretValue | None = None) -> NewSeal:
        """A new root key in new shares. :class:`KeyProblem` where the seal exists, :class:`InvalidInput` for k and n."""
        if given is not None:
            raise KeyProblem("the shamir seal makes its own shares and takes none when it is made")
        if self._config is not None:
            raise KeyProblem("the shamir seal exists already; make new shares with `overseer seal rekey`")
        if self._numbers is None:
            raise InvalidInput("say how many shares: OVERSEER_SEAL=shamir:K/N, such as shamir:3/5 (3 of 5 open the seal)")
        root_key = RootKey.generate()
        shares = split(root_key, *self._numbers)
        stored = ShareSet(shares[0].set_id, shares[0].threshold, tuple(share.digest() for share in shares))
        return NewSeal(root_key, stored.serialise(), tuple(share.text() for share in shares))

    async def root_key(self, given: SecretValue | None = None) -> RootKey:
        """The root key of the shares in ``given``, one a line; :class:`Sealed` without any, :class:`InvalidInput` naming the line
        of a wrong one, :class:`KeyProblem` for too few."""
        stored = ShareSet.parse(self._config)
        if given is None:
            raise Sealed(f"the server waits for {stored.threshold} of its {stored.count} shares: run `overseer seal unseal`")
        return root_of_shares(self._checked(stored, given))

    def _checked(self, stored: ShareSet, given: SecretValue) -> Iterable[Share]:
        for number, line in enumerate(given.reveal().splitlines(), 1):
            if line.strip():
                try:
                    yield stored.check(SecretValue(line))
                except InvalidInput as error:
                    raise InvalidInput(f"share {number}: {error.message}") from None


def root_of_shares(shares: Iterable[Share]) -> RootKey:
    """The root key of enough shares of one set, else :class:`KeyProblem`."""
    return RootKey(combine(shares).reveal())

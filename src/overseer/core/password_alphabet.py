"""Which passwords obey a rule, and a fair draw of one of them.

Guarantee: each password that obeys the rule is equally likely: a draw that does not is thrown away whole. So rules that nearly
every draw breaks are not accepted (:meth:`Alphabet.feasible`).
"""

from __future__ import annotations

import secrets
import string
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

PUNCTUATION: Final = "-._~"
"""The unreserved punctuation of RFC 3986, section 2.3: safe in URLs, and in shells and YAML behind a letter or digit."""
CLASSES: Final[dict[str, str]] = {
    "lower": string.ascii_lowercase,
    "upper": string.ascii_uppercase,
    "digits": string.digits,
    "symbols": PUNCTUATION,
}


@dataclass(frozen=True, slots=True)
class Alphabet:
    """The characters of each class that is used, and at least how many of them a password has."""

    classes: tuple[tuple[str, int], ...]

    @property
    def characters(self) -> str:
        return "".join(characters for characters, _ in self.classes)

    def feasible(self, length: int) -> bool:
        """Whether a fair share of all texts of ``length`` obeys: each minimum about its class's share, all of them together
        less than three quarters. At the bounds a draw in some hundreds is taken."""
        total = len(self.characters)
        fair = all(least <= 2 + length * len(characters) // max(total, 1) for characters, least in self.classes)
        some_first = bool(set(self.characters) - set(PUNCTUATION))
        return fair and some_first and sum(least for _, least in self.classes) <= length * 3 // 4

    def draw(self, length: int) -> str:
        """One of the passwords; its first character is a letter or a digit."""
        characters = self.characters
        while True:
            text = "".join(secrets.choice(characters) for _ in range(length))
            if text[0] not in PUNCTUATION and all(sum(map(text.count, some)) >= least for some, least in self.classes):
                return text


def read_alphabet(options: Mapping[str, str]) -> Alphabet:
    """The alphabet by the options of a password; one without characters (which is not feasible) where they are nonsense."""
    excluded = set(options.get("exclude", ""))
    classes = []
    for name, characters in CLASSES.items():
        least = options.get(name, "1")
        if least == "none":
            continue
        left = "".join(one for one in characters if one not in excluded)
        if not (least.isascii() and least.isdecimal() and len(least) <= 3) or (not left and int(least)):
            return Alphabet(())
        classes.append((left, int(least)))
    return Alphabet(tuple(classes))

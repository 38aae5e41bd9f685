"""Passphrases of words from the EFF's long list: 7776 words, so log2(7776) = 12.9 bits each, drawn independently.

The list (``eff_large_wordlist.txt``) is by the Electronic Frontier Foundation, Joseph Bonneau, under CC BY 3.0 US; only the
numbers of the dice were left out.
"""

from __future__ import annotations

import secrets
from functools import cache
from importlib.resources import files
from typing import Final

LIST: Final = "eff_large_wordlist.txt"
SIZE: Final = 6**5


def passphrase(words: int, separator: str) -> str:
    """So many words, joined. Four of the list's words have a hyphen themselves: nobody has to split a passphrase again."""
    known = word_list()
    return separator.join(secrets.choice(known) for _ in range(words))


@cache
def word_list() -> tuple[str, ...]:
    """The words. Raises RuntimeError where the file is not whole."""
    found = tuple((files("overseer.core") / LIST).read_text(encoding="ascii").split())
    if len(found) != SIZE or len(set(found)) != SIZE:
        raise RuntimeError("the list of words is damaged: install Overseer again")
    return found

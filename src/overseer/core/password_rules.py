"""What a password for signing in must be, after NIST SP 800-63B (revision 4, section 3.1.1.2).

At least fifteen characters (its rule where a password may be the only factor), at most 256 (it asks for at least 64), any
characters, no rules of composition, no change by date. What everybody would guess is refused: well-known passwords and
rows of keys, the user's own name and this product's, alone or strung together. A password is measured without
them: what is left has to have eight characters and the whole five different ones.

The list is short on purpose: lists of leaked passwords are made of shorter ones, which the length refuses. Length is counted in
code points after NFKC, which is what is hashed.
"""

from __future__ import annotations

import unicodedata
from typing import Final

from overseer.core.errors import InvalidInput, Problem

MIN_CHARACTERS: Final = 15
MAX_CHARACTERS: Final = 256
MIN_DIFFERENT: Final = 5
MIN_LEFT: Final = 8
PASSWORD_RULE: Final = f"a password has {MIN_CHARACTERS} to {MAX_CHARACTERS} characters; a few words in a row are a good one"
WEAK_RULE: Final = "this password would be guessed soon: it is a common one, your name or a row of keys; choose another one"

_GUESSED_FIRST: Final = """
correcthorsebatterystaple correct-horse-battery-staple thequickbrownfox jumpsoverthelazydog loremipsum iloveyou
letmein welcome password passwort passw0rd p@ssw0rd p@ssword pa55word secret admin administrator root changeme default
master qwertyuiop asdfghjkl zxcvbnm qwerty qwertz azerty 1qaz2wsx 3edc4rfv 1q2w3e4r5t6y 1q2w3e4r q1w2e3r4 zaq12wsx
1234567890 0123456789 123456789 12345678 1234567 123456 12345 1234 987654321 654321 abcdefghijklmnopqrstuvwxyz
abcdefgh abcdef abc123 abcd1234 111111 000000 123123 monkey dragon sunshine princess football baseball superman batman
trustno1 shadow michael whatever freedom starwars computer internet server overseer docker compose postgres summer
winter spring autumn 2023 2024 2025 2026 2027
"""
#: Lower case; longest first, so that a longer one is not cut up by a shorter one.
COMMON_PIECES: Final = tuple(sorted(_GUESSED_FIRST.split(), key=len, reverse=True))


def check_password(text: str, name: str, place: str) -> None:
    """Raise :class:`InvalidInput` (it names ``place`` and the rule, never the text) where ``text`` will not do for ``name``."""
    normal = unicodedata.normalize("NFKC", text)
    if not MIN_CHARACTERS <= len(normal) <= MAX_CHARACTERS:
        raise InvalidInput(PASSWORD_RULE, problems=[Problem(place, PASSWORD_RULE, "bad_password")])
    if len(set(normal)) < MIN_DIFFERENT or _left(normal.casefold(), name.casefold()) < MIN_LEFT:
        raise InvalidInput(WEAK_RULE, problems=[Problem(place, WEAK_RULE, "weak_password")])


def _left(text: str, name: str) -> int:
    """How many characters are left without blanks and everything that is guessed first."""
    rest = "".join(text.split())
    for piece in (name, *COMMON_PIECES) if len(name) >= 3 else COMMON_PIECES:
        rest = rest.replace(piece, "")
    return len(rest)

"""Putting values into the scalars of one file: what fits, what does not, and what to say about it.

Guarantees: no problem or warning holds a value; a value that would not arrive exactly is refused with its place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from overseer.compose.advice import Advice
from overseer.compose.edits import Edit, braced
from overseer.compose.emit import dollars
from overseer.compose.grammar import Reference, Token
from overseer.compose.positions import EXPOSED, METADATA, Kind, refusal
from overseer.core.errors import Problem, ReferencesRefused
from overseer.core.secret_value import SecretValue


@dataclass(frozen=True)
class Rendered:
    """``text`` is the rendered file; ``references`` what was looked up; ``warnings`` what people should know."""

    text: SecretValue
    references: tuple[Reference, ...]
    warnings: tuple[Problem, ...]


class Placing:
    """Puts values into scalars of one file; gathers problems and warnings with their places."""

    def __init__(self, path: str, values: Mapping[Reference, SecretValue], advice: Advice, refused: frozenset[Kind]) -> None:
        self.path, self.values, self.advice, self.refused = path, values, advice, refused
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self.references: dict[Reference, None] = {}

    def place(self, line: int, column: int) -> str:
        """``file:line:column``."""
        return f"{self.path}:{line}:{column}"

    def judge(self, kind: Kind, place: str) -> None:
        """Refuse or warn about the kind of place."""
        refused = refusal(kind, self.refused)
        if refused is not None:
            self.problems.append(Problem(place, *refused))
        elif kind in METADATA | EXPOSED:
            warned = refusal(kind, frozenset({kind}))
            if warned is not None:
                self.warnings.append(Problem(place, warned[0], warned[1]))

    def value(self, token: Token, place: str) -> str | None:
        """The text for ``token``; ``None`` where its default applies. A missing or unfit value is a problem and empty text."""
        self.references[token.reference] = None
        secret = self.values.get(token.reference)
        if secret is None or (not len(secret) and (token.default is not None or token.message is not None)):
            if token.default is not None:
                return None
            rule = self.advice.unavailable(token.reference)
            if token.message is not None:
                rule = f'secret "{token.reference}" is required: {token.message}'.rstrip(": ")
            self.problems.append(Problem(place, rule, "secret_unavailable"))
            return ""
        try:
            text = secret.reveal().decode("utf-8")
        except UnicodeDecodeError:
            rule = f'the value of secret "{token.reference}" is not UTF-8 text and cannot stand here; deliver it as a file'
            self.problems.append(Problem(place, rule, "value_not_text"))
            return ""
        if "\0" in text:
            rule = f'the value of secret "{token.reference}" holds a NUL byte and cannot stand here; deliver it as a file'
            self.problems.append(Problem(place, rule, "value_has_nul"))
            return ""
        return text

    def filled(self, text: str, tokens: tuple[Token, ...], places: list[str], encode: Callable[[str], str]) -> list[Edit]:
        """The edits that put values into ``text``: (start, end, new text), sorted and disjoint."""
        edits: list[Edit] = []
        covered = -1
        for token, place in zip(tokens, places, strict=True):
            if token.start < covered:
                continue  # in a default that does not apply
            value = self.value(token, place)
            if value is None and token.default is not None:
                edits += [(token.start, token.default[0], ""), (token.default[1], token.end, ""), *braced(text, token.bares)]
                continue
            covered = token.end
            edits += braced(text, [bare for bare in token.bares if bare[1] == token.start])
            value = dollars(value or "")
            if token.nested and not fits_in_expression(value, text[token.start - 1 : token.start]):
                rule = (
                    f'the value of secret "{token.reference}" cannot stand in a Compose expression '
                    "(unbalanced braces or a line break); use the reference on its own"
                )
                self.problems.append(Problem(place, rule, "value_unfit_for_expression"))
            edits.append((token.start, token.end, encode(value)))
        return sorted(edits)


def fits_in_expression(value: str, before: str) -> bool:
    """True where ``value`` inside ``${NAME:-…}`` leaves Compose's way of counting braces undisturbed."""
    if "\n" in value:
        return False
    if before == "{" and (not value or value[0] in "{}"):
        return False  # Compose skips the character after an opening brace
    opened = 0
    for found in re.finditer(r"\{.?|\}", value, re.DOTALL):
        opened += -1 if found.group() == "}" else 1
        if opened < 0 or found.group() == "{":
            return False
    return opened == 0


def result_of(placing: Placing, text: bytes) -> Rendered:
    """The rendered file, or :class:`ReferencesRefused` with all problems."""
    if placing.problems:
        raise ReferencesRefused("the file cannot be rendered", problems=tuple(dict.fromkeys(placing.problems)))
    return Rendered(SecretValue(text), tuple(placing.references), tuple(dict.fromkeys(placing.warnings)))

"""References into a backend: the one spelling of each place in somebody else's vault, and what a binding may say about them.

Guarantees: a reference has exactly one form. No empty part, no ``.`` or ``..``, no ``%`` or other escape, no ``?`` and ``#``, no
slash at either end, ASCII alone: what a binding's prefix was compared with is what is asked for, letter by letter. Comparing is
case-sensitive even where the backend is not. What it will not do: know whether something is there.

A permission is asked for the name ``BACKEND:REFERENCE``, so that the pattern of a binding (``corp:apps/shop/*``) bounds what the
secrets of a scope may come from. The colon keeps these names apart from those of secrets.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from overseer.core.errors import InvalidInput, Problem
from overseer.core.identifiers import is_name

REFERENCE_RULE: Final = (
    "a reference is parts of letters, digits and _ . + = , - (ASCII) with / between them, none of them . or .., at most 512 "
    "characters; @VERSION may follow"
)
MAX_REFERENCE: Final = 512
MAX_FIELD: Final = 256
_PART: Final = r"(?!\.{1,2}(?:/|@|$))[A-Za-z0-9_.+=,-]+"
_PATH: Final = re.compile(rf"{_PART}(?:/{_PART})*")
_WHOLE: Final = re.compile(rf"({_PART}(?:/{_PART})*)(?:@([A-Za-z0-9_.-]{{1,64}}))?")


@dataclass(frozen=True, slots=True)
class BackendReference:
    """``path`` in the backend and, where one is pinned, its ``version`` there (a number, a stage, an id; '' is the newest)."""

    path: str
    version: str = ""

    @classmethod
    def parse(cls, text: str, place: str = "body.ref") -> BackendReference:
        """The parts of ``PATH[@VERSION]``. Raises :class:`InvalidInput` with the rule, never with the text."""
        found = _WHOLE.fullmatch(text) if len(text) <= MAX_REFERENCE else None
        if found is None:
            raise InvalidInput(f"{place}: {REFERENCE_RULE}", problems=[Problem(place, REFERENCE_RULE, "bad_reference")])
        return cls(found[1], found[2] or "")

    @property
    def parts(self) -> list[str]:
        """What stands between the slashes; at least one."""
        return self.path.split("/")

    def __str__(self) -> str:
        return f"{self.path}@{self.version}" if self.version else self.path


def check_folder(text: str, place: str) -> str:
    """A path whose contents are listed ('' is the top). Raises as :meth:`BackendReference.parse`."""
    return BackendReference.parse(text, place).path if text else ""


def check_field(text: str, place: str) -> str:
    """The name of a field of a JSON value; '' is the whole. Raises :class:`InvalidInput`."""
    if len(text) > MAX_FIELD or not text.isprintable():
        rule = f"a field is at most {MAX_FIELD} printable characters"
        raise InvalidInput(f"{place}: {rule}", problems=[Problem(place, rule, "bad_field")])
    return text


def grant_name(backend: str, reference: str) -> str:
    """The name that ``backend:use`` is decided for. A version says nothing about who may: it is left out."""
    return f"{backend}:{reference.partition('@')[0]}"


def is_grant_pattern(text: str) -> bool:
    """True for ``BACKEND:`` and a reference, or the beginning of one (what stands before the ``*`` of a pattern)."""
    backend, colon, beginning = text.partition(":")
    path = beginning.removesuffix("/")
    return bool(colon) and is_name(backend) and len(beginning) <= MAX_REFERENCE and (not beginning or bool(_PATH.fullmatch(path)))

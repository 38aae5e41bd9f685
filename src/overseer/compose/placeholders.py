"""The placeholder way, first half: a bundle without references, for the real ``docker compose config`` to flatten.

Each reference becomes a random alphanumeric word that survives YAML, dotenv, shell splitting and Compose's interpolation as one
piece, so no port of Compose's language decides where a value ends up. A reference with a default becomes an opening word, the
default's own text (Compose interpolates it) and a closing word. The words tell nothing about names or values; the bundle with
words in it may be written to disk, the filled model (``model.fill``) may not.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from overseer.compose.bundle import Bundle
from overseer.compose.bundle_reading import FileScan
from overseer.compose.document import Document, splice
from overseer.compose.edits import Edit, braced, replaced
from overseer.compose.grammar import Reference, Token
from overseer.compose.references import BundleScan, find_references
from overseer.core.errors import ReferencesRefused

_DIGITS: Final = 8


@dataclass(frozen=True, slots=True)
class Slot:
    """What a placeholder stands for: ``closing`` is the word after the default's text, empty where there is no default."""

    reference: Reference
    closing: str
    message: str | None
    place: str


@dataclass(frozen=True)
class Placeholders:
    """The words of one bundle. ``slots`` by opening word."""

    prefix: str
    slots: Mapping[str, Slot] = field(repr=False)

    @property
    def variables_key(self) -> str:
        """The key of the model under which Compose reports the variables that top-level secrets and configs name."""
        return f"x-{self.prefix}"

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Matches every word, opening or closing."""
        return re.compile(f"{self.prefix}[0-9]{{{_DIGITS}}}")

    def in_text(self, text: str) -> tuple[Slot, ...]:
        """The slots whose opening words stand in ``text``, in order."""
        if self.prefix not in text:
            return ()
        return tuple(self.slots[word] for word in self.pattern.findall(text) if word in self.slots)


@dataclass(frozen=True)
class PlaceholderBundle:
    """``files`` replace the bundle's; ``compose_files``, in this order, go to ``docker compose -f … config --format json``."""

    files: Mapping[str, bytes]
    compose_files: tuple[str, ...]
    placeholders: Placeholders

    @property
    def mapping(self) -> dict[str, Reference]:
        """Opening word to reference."""
        return {word: slot.reference for word, slot in self.placeholders.slots.items()}


def to_placeholders(bundle: Bundle, *, allow_persisting: bool = False) -> PlaceholderBundle:
    """Replace every reference of ``bundle``. Raises :class:`ReferencesRefused` with all problems; then nothing was made."""
    scan = find_references(bundle, allow_persisting=allow_persisting)
    if scan.problems:
        raise ReferencesRefused("the bundle's references are refused; nothing was rendered", problems=scan.problems)
    return from_scan(scan)


def from_scan(scan: BundleScan) -> PlaceholderBundle:
    """The same for a scan that was already made and has no problems."""
    maker = _Maker()
    files = dict(scan.bundle.files)
    for path, file in scan.scans.items():
        if file.tokens:
            files[path] = _yaml(file, file.document, maker) if file.document is not None else _dotenv(file, maker)
    words = Placeholders(maker.prefix, maker.slots)
    compose_files = scan.bundle.main_files()
    if scan.variables:
        # Compose itself says what a variable holds: no second reader of .env files decides what becomes a secret's text.
        name = f"{maker.prefix}.yaml"
        lines = "".join(f'  {one}: ["${{{one}+set}}", "${{{one}-}}"]\n' for one in scan.variables)
        files[name] = f"{words.variables_key}:\n{lines}".encode()
        compose_files = (*compose_files, name)
    return PlaceholderBundle(files, compose_files, words)


class _Maker:
    """Makes words: one random prefix of 128 bits for the bundle and a number, so that words never run into their neighbours."""

    def __init__(self) -> None:
        self.prefix = "ovs" + secrets.token_hex(16)
        self.slots: dict[str, Slot] = {}
        self._count = 0

    def word(self) -> str:
        self._count += 1
        return f"{self.prefix}{self._count:0{_DIGITS}d}"

    def edits(self, text: str, tokens: tuple[Token, ...], path: str, places: tuple[tuple[int, int], ...]) -> list[Edit]:
        """What to replace in the scalar's ``text``, sorted."""
        edits: list[Edit] = []
        for token, (line, column) in zip(tokens, places, strict=True):
            edits += braced(text, token.bares)  # a word is alphanumeric: it would become part of the name
            word = self.word()
            if token.default is None:
                edits.append((token.start, token.end, word))
                closing = ""
            else:
                closing = self.word()
                edits += [(token.start, token.default[0], word), (token.default[1], token.end, closing)]
            self.slots[word] = Slot(token.reference, closing, token.message, f"{path}:{line}:{column}")
        return sorted(edits)


def _yaml(file: FileScan, document: Document, maker: _Maker) -> bytes:
    values = {
        index: replaced(
            document.events[index].value, maker.edits(document.events[index].value, tokens, file.path, file.places[index])
        )
        for index, tokens in file.tokens.items()
    }
    return splice(document, values)


def _dotenv(file: FileScan, maker: _Maker) -> bytes:
    edits: list[Edit] = []
    for number, tokens in file.tokens.items():
        entry = file.entries[number]
        edits += [
            (*entry.raw_span(start, end), new)
            for start, end, new in maker.edits(entry.text, tokens, file.path, file.places[number])
        ]
    return replaced(file.text, sorted(edits)).encode("utf-8")

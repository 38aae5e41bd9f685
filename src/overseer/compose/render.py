"""The splice way: a Compose file with values in the place of references, every other byte as it was.

Guarantees: a file without references comes back byte for byte; only the scalars that hold a reference are written anew, in double
quotes; a value is text, whatever it holds (its dollars are doubled, it is never interpolated again). What cannot be exact is a
problem with its place, and with any problem there is no text. Nothing is fetched: ``values`` holds what is available.
The result is plaintext: it belongs into a pipe, never into a file on disk, a log or an argument.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from overseer.compose import dotenv
from overseer.compose.advice import Advice
from overseer.compose.document import Document, DocumentFault, decode, locate, parse, splice
from overseer.compose.dotenv import DotenvFault
from overseer.compose.edits import Edit, replaced
from overseer.compose.emit import dollars
from overseer.compose.grammar import Reference, Token, scan
from overseer.compose.positions import EXPOSED, METADATA, Kind, refusal
from overseer.compose.walk import Scalar, Walk
from overseer.core.errors import Problem, ReferencesRefused
from overseer.core.secret_value import SecretValue

_SHELL_SAFE: Final = re.compile(r"[A-Za-z0-9_@%+=:,./-]+")
_WHOLE: Final = re.compile(r"\$\{SECRET:([A-Za-z0-9_][A-Za-z0-9_.-]{0,127})\}")
_REFERENCE_BYTES: Final = re.compile(rb"secret\s*:", re.IGNORECASE)
_TEXT_TAGS: Final = frozenset({None, "!", "tag:yaml.org,2002:str", "!reset", "!override"})


@dataclass(frozen=True)
class Rendered:
    """``text`` is the rendered file; ``references`` what was looked up, in order; ``warnings`` what people should know."""

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
                edits += [(token.start, token.default[0], ""), (token.default[1], token.end, "")]
                continue
            covered = token.end
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


def render_file(
    data: bytes,
    values: Mapping[Reference, SecretValue],
    *,
    path: str = "compose.yaml",
    advice: Advice | None = None,
    allow_persisting: bool = False,
) -> Rendered:
    """Render one Compose file. Raises :class:`ReferencesRefused` with all problems; ``path`` is only for their places.

    ``allow_persisting`` lets references stand in image names, labels, build arguments and container names.
    """
    placing = Placing(path, values, advice or Advice(), frozenset() if allow_persisting else METADATA)
    text = data
    try:
        document = parse(data)
        walk = Walk(document).run()
        if document.fault is not None:
            raise document.fault
        text = _rendered(document, walk.scalars, placing)
    except DocumentFault as fault:
        if _REFERENCE_BYTES.search(data):  # without a reference it is Compose's business, and the bytes stay
            placing.problems.append(Problem(placing.place(fault.line, fault.column), fault.rule, fault.code))
    return _result(placing, text)


def _result(placing: Placing, text: bytes) -> Rendered:
    if placing.problems:
        raise ReferencesRefused("the file cannot be rendered", problems=tuple(dict.fromkeys(placing.problems)))
    return Rendered(SecretValue(text), tuple(placing.references), tuple(dict.fromkeys(placing.warnings)))


def _rendered(document: Document, scalars: list[Scalar], placing: Placing) -> bytes:
    texts: dict[int, str] = {}
    for scalar in scalars:
        if (whole := _whole(scalar, placing)) is not None and document.events[scalar.event].tag is None:
            texts[scalar.event] = whole
            continue
        found = scan(scalar.value)
        if not found.tokens and not found.faults:
            continue
        offsets = [token.start for token in found.tokens] + [fault.offset for fault in found.faults]
        places = [placing.place(*one) for one in locate(document, scalar.event, scalar.value, offsets)]
        for fault, place in zip(found.faults, places[len(found.tokens) :], strict=True):
            placing.problems.append(Problem(place, fault.rule, fault.code))
        equals = scalar.value.find("=") if scalar.pair else -1
        typed = document.events[scalar.event].tag not in _TEXT_TAGS
        for token, place in zip(found.tokens, places, strict=False):
            in_key = scalar.pair and (equals < 0 or token.start < equals)
            placing.judge(Kind.KEY if in_key else Kind.TYPED if typed else scalar.kind, place)
            if scalar.splits:
                _check_shell(token, place, placing)
        if scalar.event not in texts and found.tokens:
            edits = placing.filled(scalar.value, found.tokens, places[: len(found.tokens)], str)
            texts[scalar.event] = replaced(scalar.value, edits)
    return splice(document, texts) if texts else document.source


def _whole(scalar: Scalar, placing: Placing) -> str | None:
    """The short way for what nearly every reference is: a whole variable, available and plain. ``None`` for all else."""
    found = _WHOLE.fullmatch(scalar.value)
    if found is None or scalar.kind is not Kind.ENVIRONMENT or scalar.pair:
        return None
    reference = Reference(found.group(1))
    secret = placing.values.get(reference)
    if secret is None:
        return None
    placing.references[reference] = None
    value = secret.reveal()
    return None if not value.isascii() or b"\0" in value else dollars(value.decode("ascii"))


def _check_shell(token: Token, place: str, placing: Placing) -> None:
    """Compose splits a command's text like a shell after interpolation: only a plain word arrives as one argument."""
    value = placing.values.get(token.reference)
    if value is None or _SHELL_SAFE.fullmatch(value.reveal().decode("utf-8", "replace")):
        return
    rule = (
        f'the value of secret "{token.reference}" holds blanks or quotes and Compose splits this text like a shell; '
        'write the command as a list: ["program", "${SECRET:name}"]'
    )
    placing.problems.append(Problem(place, rule, "value_unfit_for_shell"))


def render_env_file(
    data: bytes, values: Mapping[Reference, SecretValue], *, path: str = ".env", advice: Advice | None = None
) -> Rendered:
    """The same for an ``env_file``: only values with a reference are written anew, in dotenv's double quotes."""
    placing = Placing(path, values, advice or Advice(), frozenset())
    text = data
    try:
        text = _rendered_env(decode(data), data, placing)
    except DocumentFault as fault:
        if _REFERENCE_BYTES.search(data):
            placing.problems.append(Problem(placing.place(fault.line, fault.column), fault.rule, fault.code))
    except DotenvFault as fault:
        if _REFERENCE_BYTES.search(data):
            place = placing.place(*dotenv.locate(decode(data), fault.offset))
            placing.problems.append(Problem(place, fault.rule, "broken_env_file"))
    return _result(placing, text)


def _rendered_env(text: str, data: bytes, placing: Placing) -> bytes:
    edits: list[Edit] = []
    for entry in dotenv.entries(text):
        found = scan(entry.text) if entry.quote != "'" else scan("")
        for fault in found.faults:
            place = placing.place(*dotenv.locate(text, entry.raw_span(fault.offset, fault.offset + 1)[0]))
            placing.problems.append(Problem(place, fault.rule, fault.code))
        if not found.tokens:
            continue
        places = [placing.place(*dotenv.locate(text, entry.raw_span(one.start, one.end)[0])) for one in found.tokens]
        inner = placing.filled(entry.text, found.tokens, places, dotenv.escaped)
        if entry.quote:
            edits += [(*entry.raw_span(start, end), new) for start, end, new in inner if start < end]
        else:
            edits.append((entry.start, entry.end, '"' + replaced(entry.text, inner, dotenv.escaped) + '"'))
    return replaced(text, sorted(edits)).encode("utf-8") if edits else data

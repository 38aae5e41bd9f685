"""The grammar of references: one pass over the text of one scalar.

Our tokens stand beside Compose's own in the same pass, so neither can be cut by the other::

    $$                                  Compose's escape: one literal dollar
    $NAME  ${NAME}  ${NAME:-default}    Compose's own variables (NAME may be SECRET), nested without limit of form
    ${SECRET:name@3#field:-default}     a reference: version, field, default or ``:?message``, in that order, all optional

Guarantees: every reference is found once, also inside a default or inside Compose's own expression; what looks like a reference
and is none is an error with its offset, never text that slips through. Time is linear in the text (nesting is bounded).
It does not interpolate anything: ``${HOME}`` stays Compose's.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from overseer.core.identifiers import NAME_RULE

MAX_NESTING: Final = 32
MAX_TOKENS: Final = 10_000  # references and faults of one scalar
MAX_REFERENCE: Final = 4096  # characters of one reference with its default
MAX_VERSION: Final = 2_147_483_647

_HEAD: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_VERSION: Final = re.compile(r"@([1-9][0-9]{0,9})")
_FIELD: Final = re.compile(r"#([A-Za-z0-9_][A-Za-z0-9_.-]{0,127})")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# The second form is what YAML leaves of an unquoted "${SECRET: name}" in a list: the key of a mapping ends at the colon.
_LOOKALIKE: Final = re.compile(r"\s*secret\s*(?::|\Z)", re.IGNORECASE)
_OPERATORS: Final = ("-", "?", "+")
# After Compose's own "${SECRET:-}" a closing brace that nothing opened: somebody meant a secret of that strange name.
_BRACE: Final = re.compile(r"\{.?|\}", re.DOTALL)
_STRAY_BRACE: Final = re.compile(r"[^\s{}$]*\}")


class Reference(NamedTuple):
    """What to fetch: a name, perhaps a pinned version, perhaps one field of a JSON value. The key of a mapping of values."""

    name: str
    version: int | None = None
    field: str | None = None

    def __str__(self) -> str:
        version = "" if self.version is None else f"@{self.version}"
        return f"{self.name}{version}" if self.field is None else f"{self.name}{version}#{self.field}"


class Token(NamedTuple):
    """One ``${SECRET:…}``: ``text[start:end]``; ``default`` spans the default's text; ``nested`` inside Compose's expression."""

    reference: Reference
    start: int
    end: int
    default: tuple[int, int] | None = None
    message: str | None = None
    nested: bool = False
    depth: int = 0
    #: Spans of bare variables (``$NAME``) that end where the reference or its default's closing begins: what is put there would
    #: run into their names, so whoever replaces the reference writes them as ``${NAME}``.
    bares: tuple[tuple[int, int], ...] = ()


class Fault(NamedTuple):
    """Text that looks like a reference and is none: ``offset`` into the text, ``rule`` says what to do, ``code`` for programs."""

    offset: int
    rule: str
    code: str


class Scan(NamedTuple):
    """All that one scalar holds. ``plain_variables`` are offsets of Compose's own variable named SECRET (legal, suspicious)."""

    tokens: tuple[Token, ...]
    faults: tuple[Fault, ...]
    plain_variables: tuple[int, ...]


NOTHING: Final = Scan((), (), ())


def scan(text: str) -> Scan:
    """Every reference of ``text``, in order of their start; a reference in another's default follows it with a greater depth."""
    if "${" not in text and "$SECRET" not in text:
        return NOTHING
    run = _Run(text)
    run.over(0, len(text), nested=False, depth=0)
    if run.bares:
        run.tokens = [token._replace(bares=_touching(token, run.bares)) for token in run.tokens]
    return Scan(tuple(run.tokens), tuple(run.faults), tuple(run.plain))


def _touching(token: Token, bares: dict[int, int]) -> tuple[tuple[int, int], ...]:
    ends = (token.start,) if token.default is None else (token.start, token.default[1])
    return tuple((bares[end], end) for end in ends if end in bares)


class _Run:
    """The state of one pass."""

    __slots__ = ("bares", "faults", "line", "plain", "text", "tokens", "work")

    def __init__(self, text: str) -> None:
        self.text = text
        self.work = 0
        self.line = (0, -1)  # where the line that was looked at last begins and ends
        self.tokens: list[Token] = []
        self.faults: list[Fault] = []
        self.plain: list[int] = []
        self.bares: dict[int, int] = {}  # end of a bare variable -> its start

    def over(self, start: int, end: int, *, nested: bool, depth: int) -> None:
        """Scan ``text[start:end]``."""
        text = self.text
        if depth > MAX_NESTING:
            self.faults.append(Fault(start, f"expressions are nested more than {MAX_NESTING} deep", "too_deep"))
            return
        at = text.find("$", start, end)
        while at >= 0:
            if len(self.tokens) + len(self.faults) > MAX_TOKENS:
                self.faults.append(Fault(at, f"one text holds more than {MAX_TOKENS} references", "too_many_references"))
                return
            following = text[at + 1 : at + 2]
            if following == "$":
                after = at + 2
            elif following == "{":
                after = self.braced(at, end, nested=nested, depth=depth)
            else:
                after = self.bare(at)
            at = text.find("$", after, end)

    def bare(self, at: int) -> int:
        """``$NAME`` or a lone dollar: Compose's."""
        found = _VARIABLE.match(self.text, at + 1)
        if found is None:
            return at + 1
        if found.group() == "SECRET":
            self.plain.append(at)
        self.bares[found.end()] = at
        return found.end()

    def braced(self, at: int, end: int, *, nested: bool, depth: int) -> int:
        """``${…``: ours, Compose's or neither. Returns where to go on."""
        text = self.text
        if text.startswith("SECRET:", at + 2) and text[at + 9 : at + 10] not in _OPERATORS:
            return self.ours(at, end, nested=nested, depth=depth)
        variable = _VARIABLE.match(text, at + 2, end)
        operator = _operator(text, variable.end()) if variable else ""
        if variable is None or not (operator or text.startswith("}", variable.end())):
            if _LOOKALIKE.match(text, at + 2, end):
                self.fault(at, "write a reference as ${SECRET:name}: SECRET in capitals, no blanks", "malformed_reference")
                return _after_brace(text, at, end)
            return at + 2
        close = self.close(at, min(end, self.line_end(at)))  # Compose's own expressions never span lines
        if variable.group() == "SECRET":
            if operator in {":-", ":?"} and close == variable.end() + 2 and _STRAY_BRACE.match(text, close + 1, end):
                self.fault(at, f"the name of a secret is missing or malformed: {NAME_RULE}", "malformed_reference")
                return close + 1
            self.plain.append(at)
        if close < 0:
            if "${SECRET:" in text[at + 2 : end]:
                self.fault(at, "'${' is never closed; add the missing '}'", "unterminated")
            return end
        body = variable.end() + len(operator)
        if operator in {"?", ":?"} and "${SECRET:" in text[body:close]:
            self.fault(at, "a reference cannot stand in an error message: Compose would print the value", "reference_in_message")
        elif operator:
            self.over(body, close, nested=True, depth=depth + 1)
        return close + 1

    def ours(self, at: int, end: int, *, nested: bool, depth: int) -> int:
        """``${SECRET:`` and not one of Compose's operators: a reference or a fault."""
        text = self.text
        head = _HEAD.match(text, at + 9, end)
        if head is None or len(head.group()) > 128:
            self.fault(at, f"the name of a secret is missing or malformed: {NAME_RULE}", "malformed_reference")
            return _after_brace(text, at, end)
        cursor, version, field = head.end(), None, None
        if found := _VERSION.match(text, cursor, end):
            cursor, version = found.end(), int(found.group(1))
        if found := _FIELD.match(text, cursor, end):
            cursor, field = found.end(), found.group(1)
        reference = Reference(head.group(), version, field)
        if version is not None and version > MAX_VERSION:
            self.fault(at, f"a version is a number from 1 to {MAX_VERSION}", "malformed_reference")
            return _after_brace(text, at, end)
        if text.startswith("}", cursor) and cursor < end:
            self.tokens.append(Token(reference, at, cursor + 1, nested=nested, depth=depth))
            return cursor + 1
        operator = text[cursor : min(cursor + 2, end)]
        close = self.close(at, min(end, at + MAX_REFERENCE))
        if operator not in {":-", ":?"} or close < 0:
            self.fault(at, *_what_is_wrong(close))
            return _after_brace(text, at, end)
        body = (cursor + 2, close)
        if operator == ":?":
            self.tokens.append(Token(reference, at, close + 1, None, text[slice(*body)], nested, depth))
            return close + 1
        self.tokens.append(Token(reference, at, close + 1, body, None, nested, depth))
        self.over(*body, nested=nested, depth=depth + 1)
        return close + 1

    def close(self, at: int, end: int) -> int:
        """Where the expression at ``at`` closes; -1 for never, or once looking has cost many times the text's length."""
        if self.work > 3 * len(self.text) + 65536:
            return -1
        close = _closing_brace(self.text, at, end)
        # A count that never came back to zero has looked at everything, also where the last brace was taken instead.
        self.work += end - at if close < 0 or close + 1 >= end else close - at
        return close

    def line_end(self, at: int) -> int:
        """Where the line of ``at`` ends. Expressions are met in their order, so that a line is searched once."""
        if not self.line[0] <= at <= self.line[1]:
            found = self.text.find("\n", at)
            self.line = (at, len(self.text) if found < 0 else found)
        return self.line[1]

    def fault(self, offset: int, rule: str, code: str) -> None:
        self.faults.append(Fault(offset, rule, code))


def _closing_brace(text: str, at: int, end: int) -> int:
    """The brace that closes the ``${`` at ``at``, as Compose counts: every brace counts, the character after ``{`` does not.

    Where the count never comes back to zero Compose takes the last brace of the line; -1 where there is none.
    """
    opened = 0
    for found in _BRACE.finditer(text, at + 1, end):
        opened += -1 if found.group() == "}" else 1
        if opened == 0:
            return found.start()
    line_end = text.find("\n", at, end)
    return text.rfind("}", at, end if line_end < 0 else line_end)


def _what_is_wrong(close: int) -> tuple[str, str]:
    if close < 0:
        return "the reference is never closed; add the missing '}'", "unterminated"
    return "after the name come, in this order: @version, #field, then :-default or :?message", "malformed_reference"


def _operator(text: str, at: int) -> str:
    """Compose's operator at ``at``: ``:-``, ``-``, ``:?``, ``?``, ``:+``, ``+`` or nothing."""
    length = 2 if text.startswith(":", at) else 1
    return text[at : at + length] if text[at + length - 1 : at + length] in _OPERATORS else ""


def _after_brace(text: str, at: int, end: int) -> int:
    close = text.find("}", at, end)
    return close + 1 if close >= 0 else end

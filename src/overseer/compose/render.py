"""The splice way: a Compose file with values in the place of references, every other byte as it was.

Guarantees: a file without references comes back byte for byte; only the scalars that hold a reference are written anew, in double
quotes; a value is text, whatever it holds (its dollars are doubled, it is never interpolated again). What cannot be exact is a
problem with its place, and with any problem there is no text. Nothing is fetched: ``values`` holds what is available.
The result is plaintext: it belongs into a pipe, never into a file on disk, a log or an argument.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from overseer.compose.advice import Advice
from overseer.compose.document import Document, DocumentFault, locate, parse, splice
from overseer.compose.edits import replaced
from overseer.compose.emit import dollars
from overseer.compose.grammar import Reference, Token, scan
from overseer.compose.placing import Placing, Rendered, result_of
from overseer.compose.positions import METADATA, TEXT_TAGS, Kind
from overseer.compose.walk import Scalar, Walk
from overseer.core.errors import Problem
from overseer.core.secret_value import SecretValue

MAX_PROBLEMS: Final = 10_000
_SHELL_SAFE: Final = re.compile(r"[A-Za-z0-9_@%+=:,./-]+")
_WHOLE: Final = re.compile(r"\$\{SECRET:([A-Za-z0-9_][A-Za-z0-9_.-]{0,127})\}")
_ENVIRONMENT: Final = Kind.ENVIRONMENT  # a look at an enum's member costs more than the comparison
#: Anything that may be meant as a reference; without it a file is Compose's business alone.
REFERENCE_BYTES: Final = re.compile(rb"secret\s*:", re.IGNORECASE)


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
        faults = document.faults
        text = _rendered(document, Walk(document).run().scalars, placing)
    except DocumentFault as fault:
        faults = [fault]
    if faults and REFERENCE_BYTES.search(data):  # without a reference it is Compose's business, and the bytes stay
        placing.problems += [Problem(placing.place(one.line, one.column), one.rule, one.code) for one in faults]
    return result_of(placing, text)


def _rendered(document: Document, scalars: list[Scalar], placing: Placing) -> bytes:
    texts = _whole(document, scalars, placing)
    for scalar in scalars:
        if scalar.event in texts and scalar.kind is Kind.ENVIRONMENT and not scalar.pair:
            continue
        if len(placing.problems) > MAX_PROBLEMS:
            break
        found = scan(scalar.value)
        if not found.tokens and not found.faults:
            continue
        offsets = [token.start for token in found.tokens] + [fault.offset for fault in found.faults]
        places = [placing.place(*one) for one in locate(document, scalar.event, scalar.value, offsets)]
        for fault, place in zip(found.faults, places[len(found.tokens) :], strict=True):
            placing.problems.append(Problem(place, fault.rule, fault.code))
        equals = scalar.value.find("=") if scalar.pair else -1
        typed = document.events[scalar.event].tag not in TEXT_TAGS
        for token, place in zip(found.tokens, places, strict=False):
            in_key = scalar.pair and (equals < 0 or token.start < equals)
            placing.judge(Kind.KEY if in_key else Kind.TYPED if typed else scalar.kind, place)
            if scalar.splits:
                _check_shell(token, place, placing)
        if scalar.event not in texts and found.tokens:
            edits = placing.filled(scalar.value, found.tokens, places[: len(found.tokens)], str)
            texts[scalar.event] = replaced(scalar.value, edits)
    return splice(document, texts) if texts else document.source


def _whole(document: Document, scalars: list[Scalar], placing: Placing) -> dict[int, str]:
    """The short way for what nearly every reference is: the whole text of a variable, available and plain. By number of event."""
    texts: dict[int, str] = {}
    match, values, events, references = _WHOLE.fullmatch, placing.values, document.events, placing.references
    for event, text, kind, pair, _service, _key, _splits, _by_alias in scalars:
        if kind is not _ENVIRONMENT or pair or (found := match(text)) is None or events[event].tag is not None:
            continue
        reference = Reference(found[1])
        secret = values.get(reference)
        if secret is None:
            continue
        value = secret.reveal()
        if value.isascii() and b"\0" not in value:
            references[reference] = None
            texts[event] = dollars(value.decode())
    return texts


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

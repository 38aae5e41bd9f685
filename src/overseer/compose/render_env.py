"""The splice way for ``env_file`` files and ``.env``: only values with a reference are written anew, in double quotes."""

from __future__ import annotations

from collections.abc import Mapping

from overseer.compose import dotenv
from overseer.compose.advice import Advice
from overseer.compose.document import DocumentFault, decode
from overseer.compose.dotenv import DotenvFault
from overseer.compose.edits import Edit, replaced
from overseer.compose.grammar import Reference, scan
from overseer.compose.lines import Lines
from overseer.compose.placing import Placing, Rendered, result_of
from overseer.compose.render import REFERENCE_BYTES
from overseer.core.errors import Problem
from overseer.core.secret_value import SecretValue


def render_env_file(
    data: bytes, values: Mapping[Reference, SecretValue], *, path: str = ".env", advice: Advice | None = None
) -> Rendered:
    """Render an env_file; arguments and errors as in ``render.render_file``."""
    placing = Placing(path, values, advice or Advice(), frozenset())
    text = data
    try:
        text = _rendered_env(decode(data), data, placing)
    except DocumentFault as fault:
        if REFERENCE_BYTES.search(data):
            placing.problems.append(Problem(placing.place(fault.line, fault.column), fault.rule, fault.code))
    except DotenvFault as fault:
        if REFERENCE_BYTES.search(data):
            place = placing.place(*Lines(decode(data)).at(fault.offset))
            placing.problems.append(Problem(place, fault.rule, "broken_env_file"))
    return result_of(placing, text)


def _rendered_env(text: str, data: bytes, placing: Placing) -> bytes:
    edits: list[Edit] = []
    lines = Lines(text)
    for entry in dotenv.entries(text):
        found = scan(entry.text) if entry.quote != "'" else scan("")
        for fault in found.faults:
            place = placing.place(*lines.at(entry.raw_span(fault.offset, fault.offset + 1)[0]))
            placing.problems.append(Problem(place, fault.rule, fault.code))
        if not found.tokens:
            continue
        places = [placing.place(*lines.at(entry.raw_span(one.start, one.end)[0])) for one in found.tokens]
        inner = placing.filled(entry.text, found.tokens, places, dotenv.escaped)
        if entry.quote:
            edits += [(*entry.raw_span(start, end), new) for start, end, new in inner if start < end]
        else:
            edits.append((entry.start, entry.end, '"' + replaced(entry.text, inner, dotenv.escaped) + '"'))
    return replaced(text, sorted(edits)).encode("utf-8") if edits else data

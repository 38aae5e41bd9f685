"""``lint --fix``: only changes that cannot change the meaning of a file that works.

Three: a malformed reference (``${secret: a}``; Compose refuses the file as it stands), an unquoted reference in flow style (no
YAML as it stands), and a command written as text whose words are plain (a list of the same words). Everything else of the file
stays byte for byte.
"""

from __future__ import annotations

import re
from typing import Final

from overseer.compose.document import BOM, Document, DocumentFault, decode, parse, span
from overseer.compose.edits import Edit, replaced
from overseer.compose.emit import double_quoted
from overseer.compose.grammar import scan
from overseer.compose.walk import Walk

_MALFORMED: Final = re.compile(
    r"(?<!\$)((?:\$\$)*)\$\{[ \t]*secret[ \t]*:(?![-?+])[ \t]*([A-Za-z0-9_][A-Za-z0-9_.@#-]*)[ \t]*\}", re.IGNORECASE
)
_FLOW_WORD: Final = re.compile(r"[^\s,\[\]{}\"'#&*!|>%@`:$]*\$\{SECRET:[A-Za-z0-9_][A-Za-z0-9_.@#-]*\}(?=[ \t]*[,\]}\r\n])")
_PLAIN_WORDS: Final = re.compile(r"(?:[A-Za-z0-9_@%+=:,./-]|\$\{SECRET:[A-Za-z0-9_][A-Za-z0-9_.@#-]*\})+")
_MAX_ROUNDS: Final = 10  # of as many faults as the parser goes on behind


def fix_file(data: bytes) -> bytes:
    """The fixed file; ``data`` itself where nothing can be fixed safely, or where the result would not be readable."""
    try:
        text = decode(data)
    except DocumentFault:
        return data
    bom = text.startswith(BOM)
    fixed = _quoted(_spelled(text.removeprefix(BOM)))
    fixed = _listed(fixed)
    result = ((BOM if bom else "") + fixed).encode("utf-8")
    before, after = parse(data).fault, parse(result).fault
    return data if after is not None and before is None else result


def _spelled(text: str) -> str:
    """``${secret: a}`` as ``${SECRET:a}``, outside of comments."""
    lines = text.split("\n")
    for number, line in enumerate(lines):
        if not line.lstrip().startswith("#"):
            lines[number] = _MALFORMED.sub(lambda found: f"{found.group(1)}${{SECRET:{found.group(2)}}}", line)
    return "\n".join(lines)


def _quoted(text: str) -> str:
    """Quotes around references that end the parser's understanding of flow style."""
    for _ in range(_MAX_ROUNDS):
        edits: dict[tuple[int, int], str] = {}
        for fault in parse(text.encode("utf-8")).faults:
            if fault.code != "quote_reference" or fault.reference is None:
                continue
            at = fault.reference[0]
            words = _FLOW_WORD.finditer(text, text.rfind("\n", 0, at) + 1, text.find("\n", at) + 1 or len(text))
            word = next((one for one in words if one.start() <= at < one.end()), None)
            if word is not None:
                edits[word.span()] = double_quoted(word.group())
        if not edits:
            return text
        text = replaced(text, sorted((*span, new) for span, new in edits.items()))
    return text


def _listed(text: str) -> str:
    """Commands of plain words as lists."""
    document = parse(text.encode("utf-8"))
    if document.fault is not None:
        return text
    try:
        scalars = Walk(document).run().scalars
    except DocumentFault:
        return text
    edits: dict[int, Edit] = {}
    for scalar in scalars:
        if scalar.splits and scan(scalar.value).tokens and (edit := _as_list(document, scalar.event, scalar.value)) is not None:
            edits[scalar.event] = edit
    return replaced(text, sorted(edits.values()))


def _as_list(document: Document, event: int, value: str) -> Edit | None:
    words = value.split(" ")
    if document.events[event].style in {"|", ">"} or not all(_PLAIN_WORDS.fullmatch(word) for word in words):
        return None
    start, end = span(document, event)
    return start, end, "[" + ", ".join(double_quoted(word) for word in words) + "]"

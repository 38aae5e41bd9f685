"""What of the text that ``docker compose config`` writes is told to the server.

Compose quotes from the files it reads, and its messages change from version to version. So nothing is passed on as it is: only
lines of a shape known here, made of Compose's own words, and only where every other part of the line stands in the bundle, whose
author knows it. Text of any other file of the node, should Compose ever be led to one, is not told, whatever the message.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

_UNTOLD: Final = "more was said; run 'docker compose config' on the project to see it"
_MAX_LINES: Final = 50
_MAX_LINE: Final = 500
_PREFIX: Final = re.compile(r'time="[0-9TZ:.+-]+" level=(?:warning|error|fatal) msg="(.*)"')
_NOTHING: Final = re.compile(r"decoding failed due to the following error\(s\):|")
_BROKEN: Final = (
    r"found character that cannot start any token|found a tab character that violates indentation|found unexpected end of stream|"
    r"did not find expected (?:key|node content|'-' indicator|',' or '[\]}]'|<document start>)|could not find expected ':'|"
    r"(?:mapping values|block sequence entries) are not allowed in this context"
)
#: Compose's sentences. What is captured must stand in the bundle; what is not captured is fixed, a number, or a kind of thing.
_SHAPES: Final = tuple(
    re.compile(shape)
    for shape in (
        r"validating (\S+): +(\S+ )?additional properties '([^']+)' not allowed",
        r"validating (\S+): +(\S+) must be (?:an? )?(?:string|number|integer|boolean|array|object|null|or|,| )+",
        r'service "([^"]+)" has neither an image nor a build context specified: invalid compose project',
        r'service "([^"]+)" depends on undefined service "([^"]+)": invalid compose project',
        r'service "([^"]+)" refers to undefined (?:network|volume|secret|config|model) (\S+): invalid compose project',
        r'cannot extend service "([^"]+)" in (\S+): service "([^"]+)" not found',
        r"dependency cycle detected: (.+)",
        r"error while interpolating (\S+): required variable (\w+) is missing a value(?:: (.*))?",
        r'The \\?"(\w+)\\?" variable is not set\. Defaulting to a blank string\.',
        r"invalid interpolation format for (\S+)\.",
        r"You may need to escape any \$ with another \$\.",
        rf"(?:failed to parse (\S+): )?(?:yaml: )?(?:line [0-9]+: )?(?:{_BROKEN})",
        r'(?:failed to parse (\S+): )?line [0-9]+: mapping key "([^"]+)" already defined at line [0-9]+',
        r"no such service: (\S+)",
    )
)
_PATH: Final = re.compile(r"services|networks|volumes|secrets|configs|models|include|\[[0-9]+\]|[0-9]+")


def told(text: str, known: Iterable[bytes], directory: str) -> str:
    """The lines of ``text`` that can be told, and whether there were others.

    ``known``: the contents of the bundle's files, their paths and the names of the deployment's variables. ``directory``: where
    the bundle lies for Compose; it is taken out of the text.
    """
    facts = b"\n".join(known)
    kept: list[str] = []
    untold = False
    for line in text.splitlines():
        sentence = line.strip()
        logged = _PREFIX.fullmatch(sentence)
        sentence = (logged[1] if logged else sentence).replace(directory + "/", "")
        if _NOTHING.fullmatch(sentence):
            continue
        if len(kept) < _MAX_LINES and len(sentence) <= _MAX_LINE and _is_known(sentence, facts):
            kept.append(sentence)
        else:
            untold = True
    return "\n".join([*dict.fromkeys(kept), *([_UNTOLD] if untold else [])])


def _is_known(sentence: str, facts: bytes) -> bool:
    for shape in _SHAPES:
        found = shape.fullmatch(sentence)
        if found is not None:
            return all(_stands(part, facts) for part in found.groups() if part)
    return False


def _stands(part: str, facts: bytes) -> bool:
    """The part, or each name of a dotted path or of a chain, is a whole word of the bundle."""
    if _word(part, facts):
        return True
    names = [name for name in re.split(r"\.| -> ", part.strip()) if name]
    return bool(names) and all(_PATH.fullmatch(name) or _word(name, facts) for name in names)


def _word(text: str, facts: bytes) -> bool:
    return re.search(rb"(?<![\w-])" + re.escape(text.strip().encode("utf-8", "replace")) + rb"(?![\w-])", facts) is not None

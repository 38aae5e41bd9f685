"""dotenv files, by the grammar of ``compose.dotenv``. Written values stand in double quotes, so that every reader agrees."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from overseer.compose.dotenv import DotenvFault, entries
from overseer.compose.dotenv_values import values
from overseer.compose.lines import Lines
from overseer.core.secret_value import SecretValue
from overseer.interchange.found import Found, Refusals, broken, decoded

_KEY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ESCAPES: Final = {"\\": "\\\\", '"': '\\"', "$": "\\$", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v", "\f": "\\f"}


def read(data: bytes) -> list[Found]:
    """Raises :class:`InvalidInput` with line and column of what breaks the grammar."""
    text = decoded(data)
    try:
        return [Found(key, SecretValue(value)) for key, value in values(entries(text)).items()]
    except DotenvFault as fault:
        line, column = Lines(text).at(fault.offset)
        raise broken(fault.rule, f"line {line}, column {column}") from None


def write(secrets: Sequence[tuple[str, SecretValue]]) -> bytes:
    """``db-password`` is written as ``DB_PASSWORD``. Raises :class:`InvalidInput` for what the format cannot carry."""
    refusals = Refusals()
    lines: list[str] = []
    seen: dict[str, str] = {}
    for name, value in secrets:
        key = re.sub(r"[.-]", "_", name).upper()
        if not _KEY.fullmatch(key):
            refusals.add(name, "a variable's name does not begin with a digit: export it as JSON or YAML", "format_name")
        elif key in seen:
            refusals.add(name, f"would be the variable {key}, as {seen[key]} is: export it as JSON or YAML", "format_name")
        seen.setdefault(key, name)
        try:
            text = value.reveal().decode("utf-8")
        except UnicodeDecodeError:
            refusals.add(name, "is not UTF-8 text: export it as JSON or YAML", "format_value")
            continue
        if "\0" in text:
            refusals.add(name, "holds a NUL byte: export it as JSON or YAML", "format_value")
        lines.append(f'{key}="' + "".join(_ESCAPES.get(one, one) for one in text) + '"\n')
    refusals.stop("nothing was exported: a dotenv file cannot carry some of these secrets")
    return "".join(lines).encode("utf-8")

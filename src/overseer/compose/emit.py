"""Text that Compose's YAML reader gives back exactly.

Compose reads YAML, not JSON: surrogate pairs and ``\\/`` are errors there, raw C1 controls and U+FFFF are refused, a raw U+0085
silently becomes a blank. So: double quotes, printable ASCII as it is, everything else escaped (``\\xXX``, ``\\uXXXX``,
``\\UXXXXXXXX``). A dollar is not touched here: whether it is Compose's or a value's is the caller's knowledge (see ``dollars``).
"""

from __future__ import annotations

import math
import re
from typing import Any, Final

_UNSAFE: Final = re.compile(r"[^ !#-\[\]-~]")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_SHORT: Final = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\0": "\\0"}


def _escape(found: re.Match[str]) -> str:
    character = found.group()
    short = _SHORT.get(character)
    if short is not None:
        return short
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02X}"
    return f"\\u{code:04X}" if code < 0x10000 else f"\\U{code:08X}"


def double_quoted(text: str) -> str:
    """``text`` as a YAML 1.1/1.2 double-quoted scalar on one line. Lone surrogates are a ``ValueError``: they are no text."""
    if _UNSAFE.search(text) is None:
        return f'"{text}"'
    if not text.isascii() and _SURROGATE.search(text):
        raise ValueError("a lone surrogate is not text")
    return f'"{_UNSAFE.sub(_escape, text)}"'


def dollars(value: str) -> str:
    """A value's own dollars as Compose reads them back: ``$`` becomes ``$$``."""
    return value.replace("$", "$$")


def emit(model: Any) -> str:
    """A JSON-like model (mappings with text keys, lists, text, numbers, booleans, ``None``) as YAML in flow style.

    ``ValueError`` for anything else. Dollars are left as they are.
    """
    parts: list[str] = []
    _emit(model, parts, 0)
    parts.append("\n")
    return "".join(parts)


def _emit(node: Any, parts: list[str], depth: int) -> None:
    if depth > 500:
        raise ValueError("the model is nested too deeply")
    if isinstance(node, str):
        parts.append(double_quoted(node))
    elif node is None or isinstance(node, bool):
        parts.append("null" if node is None else "true" if node else "false")
    elif isinstance(node, (int, float)):
        parts.append(_number(node))
    elif isinstance(node, dict):
        parts.append("{")
        for position, (key, value) in enumerate(node.items()):
            if not isinstance(key, str):
                raise ValueError("a key is not text")
            parts.append(", " if position else "")
            # "? " lets a key be longer than the 1024 characters that YAML allows an implicit one.
            parts += ("? " if len(key) > 100 else "", double_quoted(key), ": ")
            _emit(value, parts, depth + 1)
        parts.append("}")
    elif isinstance(node, (list, tuple)):
        parts.append("[")
        for position, value in enumerate(node):
            parts.append(", " if position else "")
            _emit(value, parts, depth + 1)
        parts.append("]")
    else:
        raise ValueError(f"{type(node).__name__} is not part of a model")


def _number(node: float) -> str:
    if isinstance(node, int):
        return str(node)
    if not math.isfinite(node):
        raise ValueError("not a finite number")
    text = repr(node)
    # YAML wants a dot before an exponent: 1e16 would be read as text.
    return text if "." in text or "e" not in text else text.replace("e", ".0e", 1)

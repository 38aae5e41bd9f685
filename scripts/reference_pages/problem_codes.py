"""The codes of single problems, found in the source: each call that makes a problem with a word of its own.

A code is for programs; what is wrong and what to do stands in the ``rule`` beside it, which may change.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Final

SOURCE: Final = Path(__file__).resolve().parent.parent.parent / "src" / "overseer"
#: Functions that make a problem, and where their code stands among the arguments.
MAKERS: Final = {"Problem": 2, "refusal": 2, "_refused": 2}


def problem_codes(source: Path = SOURCE) -> dict[str, set[str]]:
    """Every code with the packages that use it, as ``server.services``."""
    found: dict[str, set[str]] = {}
    for path in sorted(source.rglob("*.py")):
        package = ".".join(path.relative_to(source).parent.parts)
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            code = _code(node)
            if code is not None:
                found.setdefault(code, set()).add(package)
    return found


def _code(node: ast.AST) -> str | None:
    if not isinstance(node, ast.Call):
        return None
    name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr if isinstance(node.func, ast.Attribute) else ""
    if name not in MAKERS:
        return None
    given = [one.value for one in node.keywords if one.arg == "code"]
    given += node.args[MAKERS[name] : MAKERS[name] + 1]
    if given and isinstance(given[0], ast.Constant) and isinstance(given[0].value, str) and given[0].value.isidentifier():
        return given[0].value
    return None

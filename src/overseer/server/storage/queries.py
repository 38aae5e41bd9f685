"""Named SQL: every statement of the server lies in ``sql/queries/*.sql`` as a block that begins with ``-- name: NAME``.

A name is unique over all files; text before the first block of a file is its comment. Loaded once at import of the package's
data, so that a missing or doubled name fails at start and not at the first request.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

_HEADER = re.compile(r"^-- name: ([a-z][a-z0-9_]*)\s*$", re.MULTILINE)


@cache
def named_queries() -> dict[str, str]:
    """All statements by name. Raises ValueError where a name is given twice."""
    found: dict[str, str] = {}
    folder = files("overseer.server.storage") / "sql" / "queries"
    for file in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if not file.name.endswith(".sql"):
            continue
        parts = _HEADER.split(file.read_text(encoding="utf-8"))
        for name, text in zip(parts[1::2], parts[2::2], strict=True):
            if name in found:
                raise ValueError(f"the query {name} is defined twice")
            found[name] = text.strip().rstrip(";")
    return found

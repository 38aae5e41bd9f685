"""Named SQL: every statement of the server lies in ``sql/queries/*.sql`` as a block that begins with ``-- name: NAME``.

A name is unique over all files; text before the first block of a file is its comment. What several statements share is written
once, as a block that begins with ``-- fragment: NAME``, and stands in them as ``@{NAME}``: text put in place of text when the
files are loaded, never anything of a request. Loaded once, so that a missing or doubled name fails at start and not at the
first request.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from importlib.resources import files

_HEADER = re.compile(r"^-- (name|fragment): ([a-z][a-z0-9_]*)\s*$", re.MULTILINE)
_USE = re.compile(r"@\{([a-z][a-z0-9_]*)\}")


@cache
def named_queries() -> dict[str, str]:
    """All statements by name. Raises ValueError where a name is given twice or a fragment does not exist."""
    folder = files("overseer.server.storage") / "sql" / "queries"
    found = sorted(folder.iterdir(), key=lambda entry: entry.name)
    return parse_queries(file.read_text(encoding="utf-8") for file in found if file.name.endswith(".sql"))


def parse_queries(texts: Iterable[str]) -> dict[str, str]:
    """The statements of several files, their fragments filled in. Raises as :func:`named_queries`."""
    blocks: dict[str, dict[str, str]] = {"name": {}, "fragment": {}}
    for file in texts:
        parts = _HEADER.split(file)
        for kind, name, text in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
            if name in blocks["name"] or name in blocks["fragment"]:
                raise ValueError(f"the query {name} is defined twice")
            blocks[kind][name] = text.strip().rstrip(";")
    fragments = blocks["fragment"]

    def fill(text: str, above: tuple[str, ...] = ()) -> str:
        def one(use: re.Match[str]) -> str:
            if use[1] not in fragments or use[1] in above:
                raise ValueError(f"the fragment {use[1]} does not exist, or it uses itself")
            return fill(fragments[use[1]], (*above, use[1]))

        return _USE.sub(one, text)

    return {name: fill(text) for name, text in blocks["name"].items()}

"""Markdown out of the texts that stand in code, and the page that a module of this package returns."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

NOTICE: Final = "<!-- Made from the code by `make docs`. Change the code, not this page. -->"


@dataclass(frozen=True, slots=True)
class Page:
    """A finished page; ``complaints`` name what it should describe and cannot, because the code gives no description."""

    text: str
    complaints: tuple[str, ...] = ()


def page(title: str, parts: Iterable[str], complaints: Iterable[str] = ()) -> Page:
    """A page with its title, the notice that it is generated, and its parts with blank lines between."""
    return Page("\n\n".join([f"# {title}", NOTICE, *parts]) + "\n", tuple(complaints))


def prose(text: str | None) -> str:
    """A docstring or a comment as one line of Markdown: roles and doubled backticks become code, ``<`` is escaped."""
    line = " ".join((text or "").split())
    line = re.sub(r":[a-z]+:`~?([^`]+)`", r"`\1`", line).replace("``", "`")
    pieces = re.split(r"(`[^`]*`)", line)
    return "".join(piece if piece.startswith("`") else piece.replace("<", "&lt;").replace("*", r"\*") for piece in pieces)


def code(text: object) -> str:
    """``text`` as code, empty where there is none."""
    return f"`{text}`" if text not in ("", None) else ""


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; a bar inside a cell does not end it."""
    lines = [" | ".join(titles), " | ".join("---" for _ in titles)]
    lines += [" | ".join(cell.replace("|", r"\|").replace("\n", " ") for cell in row) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)

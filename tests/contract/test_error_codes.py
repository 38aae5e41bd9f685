"""Every code that the source can raise stands on the page of errors."""

from __future__ import annotations

import re
from pathlib import Path

from overseer.core.errors import error_classes
from scripts.reference_pages.problem_codes import SOURCE, problem_codes

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "errors.md"


def documented() -> set[str]:
    return set(re.findall(r"^\| `([a-z0-9_]+)` \|", PAGE.read_text("utf-8"), re.MULTILINE))


def test_every_error_and_every_problem_is_documented() -> None:
    codes = {cls.code for cls in error_classes()} | problem_codes().keys()
    assert len(codes) > 60
    assert codes - documented() == set()


def test_error_classes_have_codes_of_their_own() -> None:
    codes = [cls.code for cls in error_classes()]
    assert len(codes) == len(set(codes))


def test_the_search_sees_what_a_text_search_sees() -> None:
    """A second way to find codes: whatever is written as the last word of a problem on one line."""
    written = set()
    for path in SOURCE.rglob("*.py"):
        written |= set(re.findall(r'Problem\([^()]*, "([a-z0-9_]+)"\)', path.read_text("utf-8")))
    assert len(written) > 30
    assert written - problem_codes().keys() == set()

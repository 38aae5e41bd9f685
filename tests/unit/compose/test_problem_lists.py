"""Lists of problems of several nodes and of two sides become one."""

from __future__ import annotations

from overseer.compose.problem_lists import joined, on_nodes
from overseer.core.errors import Problem


def _missing(node: str, place: str = "compose.yaml:2:1") -> Problem:
    return Problem(place, f'secret "a" does not exist for app=shop node={node}; make it', "missing")


def test_what_is_alike_on_several_nodes_is_said_once_with_their_names() -> None:
    same = Problem("compose.yaml:10:1", "write it otherwise", "malformed")
    found = on_nodes([("n1", [_missing("n1"), same]), ("n10", [same, _missing("n10")]), ("n2", [_missing("n2", "a.yaml:1:1")])])
    assert found == [
        _missing("n2", "a.yaml:1:1"),
        Problem("compose.yaml:2:1", _missing("n1").rule + " (the same on n10)", "missing"),
        same,
    ]


def test_another_reason_at_the_same_place_stays() -> None:
    denied = Problem("compose.yaml:2:1", "you lack secret:use", "denied")
    assert on_nodes([("n1", [_missing("n1")]), ("n2", [denied])]) == [_missing("n1"), denied]


def test_what_both_sides_found_is_told_in_the_words_of_the_first() -> None:
    own = [Problem("b.yaml:9:1", "here", "malformed"), Problem("b.yaml:9:1", "here again", "malformed")]
    told = [Problem("b.yaml:9:1", "there", "malformed"), Problem("b.yaml:9:1", "there", "missing"), _missing("n1")]
    assert joined(own, told) == [*own, told[1], _missing("n1")]

"""The winner of a name: against the published order, written out once more."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from overseer.core.scope_selection import by_precedence, covering_scopes, select_winner, select_winners
from overseer.core.scopes import PRECEDENCE, Scope

ONE, TWO = UUID(int=1), UUID(int=2)
PARTS = st.sampled_from([None, ONE, TWO])
SCOPES = st.builds(Scope, PARTS, PARTS, PARTS)


@dataclass(frozen=True)
class Candidate:
    name: str
    scope: Scope[UUID]


CANDIDATES = st.sets(st.builds(Candidate, st.sampled_from(["a", "b"]), SCOPES))


def _shape(scope: Scope[UUID]) -> str:
    parts = [("app", scope.app), ("node", scope.node), ("environment", scope.environment)]
    return "+".join(label for label, part in parts if part is not None) or "global"


def _applies(scope: Scope[UUID], place: Scope[UUID]) -> bool:
    pairs = zip((scope.app, scope.environment, scope.node), (place.app, place.environment, place.node), strict=True)
    return all(mine is None or mine == theirs for mine, theirs in pairs)


@given(CANDIDATES, SCOPES)
def test_the_winner_is_the_first_shape_of_the_published_order(found: set[Candidate], place: Scope[UUID]) -> None:
    winners = select_winners(found, place)
    for name in ("a", "b"):
        fitting = [one for one in found if one.name == name and _applies(one.scope, place)]
        expected = min(fitting, key=lambda one: PRECEDENCE.index(_shape(one.scope)), default=None)
        assert winners.get(name) == expected
        assert select_winner((one for one in found if one.name == name), place) == expected


@given(CANDIDATES, SCOPES)
def test_order_and_completeness(found: set[Candidate], place: Scope[UUID]) -> None:
    ordered = by_precedence(found, place)
    assert set(ordered) == {one for one in found if _applies(one.scope, place)}
    ranks = [PRECEDENCE.index(_shape(one.scope)) for one in ordered]
    assert ranks == sorted(ranks)


@given(SCOPES)
def test_covering_scopes(place: Scope[UUID]) -> None:
    every = [Scope(a, e, n) for a in (None, ONE, TWO) for e in (None, ONE, TWO) for n in (None, ONE, TWO)]
    assert set(covering_scopes(place)) == {scope for scope in every if _applies(scope, place)}
    assert len(covering_scopes(place)) == len(set(covering_scopes(place)))

"""A rollout's decisions over any facts: never two canaries, never an end too early, never a step where something is under way."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overseer.server.services.rollout_decisions import (
    PATIENCE,
    Moves,
    Place,
    Standing,
    decide,
    places_of,
    returns,
)
from overseer.server.storage.rollout_rows import PlacedDeployment, RolloutNodeRow

NOW = datetime(2030, 1, 1, tzinfo=UTC)
OLD, NEW = 1, 2
ROLLOUT = UUID(int=99)


def deployment(node: int, project: str, state: str, version: int | None, minute: int, **more: object) -> PlacedDeployment:
    fields = {
        "id": UUID(int=minute + 1000 * node),
        "node_id": UUID(int=node),
        "node": f"n{node}",
        "node_state": "active",
        "project": project,
        "action": "deploy",
        "state": state,
        "attempts": 0 if state == "queued" else 1,
        "rollout": None,
        "step": None,
        "finished_at": NOW + timedelta(minutes=minute) if state in {"succeeded", "failed"} else None,
        "current": state == "succeeded",
        "versions": frozenset() if version is None else frozenset({version}),
    }
    return PlacedDeployment(**{**fields, **more})  # type: ignore[arg-type]


def node_row(node: int, state: str, **more: object) -> RolloutNodeRow:
    started = NOW if state != "waiting" else None
    fields = {"node_state": "active", "started_at": started, "acknowledged_at": None, **more}
    return RolloutNodeRow(ROLLOUT, UUID(int=node), f"n{node}", state=state, **fields)  # type: ignore[arg-type]


@st.composite
def facts(draw: st.DrawFn) -> tuple[list[RolloutNodeRow], list[Place]]:
    """Up to five nodes with up to three projects each, in any state, in the rollout or not."""
    rows, found = [], []
    for node in range(1, draw(st.integers(1, 5)) + 1):
        live = draw(st.sampled_from(["active", "active", "active", "revoked"]))
        state = draw(st.sampled_from(["waiting", "candidate", "acknowledged", "withdrawn", None]))
        if state is not None:
            rows.append(node_row(node, state, node_state=live))
        for project in "abc"[: draw(st.integers(0, 3))]:
            more = {"node_state": live}
            if draw(st.booleans()):
                found.append(deployment(node, project, "succeeded", draw(st.sampled_from([OLD, NEW, None])), 1, **more))
            if draw(st.integers(0, 3)) == 0:
                found.append(deployment(node, project, "failed", NEW, draw(st.sampled_from([0, 2])), step="candidate", **more))
            if draw(st.integers(0, 2)) == 0:
                state = draw(st.sampled_from(["queued", "released", "applying"]))
                found.append(deployment(node, project, state, draw(st.sampled_from([OLD, NEW])), 3, **more))
    return rows, places_of(found)


def after(rows: list[RolloutNodeRow], moves: Moves) -> dict[UUID, str]:
    return {row.node_id: row.state for row in rows} | dict.fromkeys(moves.add, "waiting") | moves.states


@given(facts())
def test_whatever_the_facts_are(drawn: tuple[list[RolloutNodeRow], list[Place]]) -> None:
    rows, places = drawn
    moves = decide(rows, places, NEW, NOW)
    states = after(rows, moves)
    began = {one for one, state in moves.states.items() if state == "candidate"}
    if "acknowledged" not in states.values():
        held = {row.node_id for row in rows if row.state == "candidate"}
        assert len(began) <= 1
        assert not began or not (held & {one for one, state in states.items() if state == "candidate"} - began)
    if moves.unhealthy:
        assert not began
        assert not moves.finished
    for place in moves.steps:
        assert place.standing(NEW) is Standing.BEHIND
        assert states[place.node_id] == "candidate"
        assert place.live
    if moves.finished:
        left = [one for one in places if one.live and one.standing(NEW) in {Standing.BEHIND, Standing.PENDING}]
        assert all(states[one.node_id] == "acknowledged" for one in left)
        assert not {"waiting", "candidate"} & set(states.values())


@given(facts())
def test_deciding_again_without_news_begins_nothing_twice(drawn: tuple[list[RolloutNodeRow], list[Place]]) -> None:
    rows, places = drawn
    moves = decide(rows, places, NEW, NOW)
    stepped = {(one.node_id, one.project) for one in moves.steps}
    names = {one.node_id: one.node for one in places} | {row.node_id: row.node for row in rows}
    again_rows = [
        RolloutNodeRow(ROLLOUT, one, names[one], _live(one, rows, places), state, NOW, None)
        for one, state in after(rows, moves).items()
    ]
    again_places = [_with_step(one) if (one.node_id, one.project) in stepped else one for one in places]
    again = decide(again_rows, again_places, NEW, NOW)
    assert not stepped & {(one.node_id, one.project) for one in again.steps}


@given(facts())
def test_going_back_reaches_every_place_that_runs_the_candidate(drawn: tuple[list[RolloutNodeRow], list[Place]]) -> None:
    rows, places = drawn
    touched = {row.node_id for row in rows if row.state in {"candidate", "acknowledged", "unhealthy"}}
    back = {(place.node_id, place.project) for place, _ in returns(rows, places, NEW)}
    for place in places:
        newest = place.open[-1] if place.open else place.current
        holds = newest is not None and NEW in newest.versions
        if holds and place.live and place.node_id in touched:
            assert (place.node_id, place.project) in back
        if place.node_id not in touched:
            assert (place.node_id, place.project) not in back


@pytest.mark.parametrize(("late", "state"), [(timedelta(0), "running"), (timedelta(seconds=1), "unhealthy")])
def test_patience_has_an_end(late: timedelta, state: str) -> None:
    rows = [node_row(1, "candidate", started_at=NOW - PATIENCE - late)]
    places = places_of([deployment(1, "a", "succeeded", OLD, 1), deployment(1, "a", "queued", NEW, 2)])
    moves = decide(rows, places, NEW, NOW)
    assert bool(moves.unhealthy) == (state == "unhealthy")
    assert moves.overdue == ([UUID(int=1)] if moves.unhealthy else [])


def _live(node_id: UUID, rows: list[RolloutNodeRow], places: list[Place]) -> str:
    known = next((row.node_state for row in rows if row.node_id == node_id), None)
    return known or ("active" if any(one.live for one in places if one.node_id == node_id) else "revoked")


def _with_step(place: Place) -> Place:
    node = int(place.node_id)
    step = deployment(node, place.project, "queued", NEW, 9, rollout=str(ROLLOUT), step="candidate")
    return Place(place.node_id, place.node, place.live, place.project, place.current, (*place.open, step), place.failed)

"""What a rollout does next, decided from facts alone: which nodes it has, and what runs on them. Pure.

Nothing is remembered but each node's state, so deciding twice, late, or on another replica comes to the same. A place is one
project on one node; it stands

- ``pending`` while any deployment of it is open, whoever made that,
- ``unhealthy`` where the candidate was tried after what runs there now and failed,
- ``behind`` where the current deployment has another version, ``done`` where it has the candidate,
- ``gone`` where nothing there refers to the secret without a version any more.

The first node (fewest places, then by name) is the canary: until one node has acknowledged, no second one is given the candidate.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import groupby
from typing import Final
from uuid import UUID

from overseer.server.storage.rollout_rows import PlacedDeployment, RolloutNodeRow

PATIENCE: Final = timedelta(minutes=10)
"""How long the agent of a node may leave a step untouched before it counts as unhealthy."""
OPEN_STATES: Final = frozenset({"queued", "released", "applying"})
NOT_TAKEN: Final = "the node's agent did not take this step in time"


class Standing(StrEnum):
    """See the module's text."""

    PENDING = "pending"
    UNHEALTHY = "unhealthy"
    BEHIND = "behind"
    DONE = "done"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Place:
    """One project of one node; ``open`` and ``failed`` in order of making."""

    node_id: UUID
    node: str
    live: bool
    project: str
    current: PlacedDeployment | None
    open: tuple[PlacedDeployment, ...]
    failed: tuple[PlacedDeployment, ...]

    @property
    def tried_and_failed(self) -> bool:
        """The candidate failed here, and nothing succeeded since."""
        ended = [one.finished_at for one in self.failed if one.finished_at is not None]
        since = self.current.finished_at if self.current is not None else None
        return bool(ended) and (since is None or max(ended) > since)

    def standing(self, candidate: int) -> Standing:
        if self.open:
            untouched = all(one.state == "queued" and not one.attempts for one in self.open)
            # What never ran here and no agent has begun may wait for ever; a rollout does not wait for it.
            return Standing.GONE if self.current is None and untouched else Standing.PENDING
        if self.current is None or not self.current.versions:
            return Standing.GONE
        if self.tried_and_failed:
            return Standing.UNHEALTHY
        return Standing.DONE if self.current.versions == {candidate} else Standing.BEHIND


@dataclass
class Moves:
    """What to do: nodes to add, states to write (in order), places that get the candidate, nodes where it is unhealthy."""

    add: list[UUID] = field(default_factory=list)
    states: dict[UUID, str] = field(default_factory=dict)
    steps: list[Place] = field(default_factory=list)
    unhealthy: list[str] = field(default_factory=list)
    overdue: list[UUID] = field(default_factory=list)
    finished: bool = False


def places_of(deployments: Iterable[PlacedDeployment]) -> list[Place]:
    """The places behind rows that are ordered by node and project."""
    places = []
    for _, group in groupby(deployments, key=lambda one: (one.node_id, one.project)):
        rows = list(group)
        first = rows[0]
        places.append(
            Place(
                node_id=first.node_id,
                node=first.node,
                live=first.node_state == "active",
                project=first.project,
                current=next((one for one in rows if one.current), None),
                open=tuple(one for one in rows if one.state in OPEN_STATES),
                failed=tuple(one for one in rows if one.state == "failed"),
            )
        )
    return places


def consumers(places: Iterable[Place], candidate: int) -> list[UUID]:
    """The nodes with an agent where something runs now that has another version than ``candidate``."""
    behind = [one for one in places if one.live and one.current and one.current.versions - {candidate}]
    return sorted({one.node_id for one in behind})


def decide(nodes: Sequence[RolloutNodeRow], places: Sequence[Place], candidate: int, now: datetime) -> Moves:
    """The moves of a running rollout; :attr:`Moves.finished` where every node has the candidate or no use for it."""
    moves = Moves()
    at = {node_id: [one for one in places if one.node_id == node_id] for node_id in {one.node_id for one in places}}
    states = {row.node_id: row.state for row in nodes}
    for node_id, here in at.items():
        wanted = {Standing.BEHIND, Standing.PENDING} & {one.standing(candidate) for one in here}
        if not (here[0].live and wanted) or states.get(node_id, "withdrawn") != "withdrawn":
            continue
        # New to the rollout, or back after it had left: it has to wait for its turn (again).
        if node_id in states:
            moves.states[node_id] = "waiting"
        else:
            moves.add.append(node_id)
        states[node_id] = "waiting"
    for row in nodes:
        if row.state in {"waiting", "candidate"}:
            _judge(row, at.get(row.node_id, []), candidate, now, moves)
    states |= moves.states
    _begin(states, at, candidate, moves)
    states |= moves.states
    moves.finished = not moves.unhealthy and not {"waiting", "candidate"} & set(states.values())
    return moves


def returns(nodes: Sequence[RolloutNodeRow], places: Sequence[Place], candidate: int) -> list[tuple[Place, PlacedDeployment]]:
    """Where a withdrawn rollout left the candidate, or may have, with the deployment to repeat with the previous version."""
    touched = {row.node_id for row in nodes if row.state in {"candidate", "acknowledged", "unhealthy"}}
    found = []
    for place in places:
        if place.node_id not in touched or not place.live:
            continue
        newest = place.open[-1] if place.open else place.current
        if newest is None or newest.action != "deploy":
            continue
        if candidate in newest.versions or (not place.open and newest.versions and place.tried_and_failed):
            found.append((place, newest))
    return found


def _judge(row: RolloutNodeRow, here: Sequence[Place], candidate: int, now: datetime, moves: Moves) -> None:
    """Whether a node that was given the candidate, or waits for it, is through."""
    standings = {one.standing(candidate) for one in here}
    if row.node_state != "active":
        moves.states[row.node_id] = "withdrawn"
    elif Standing.UNHEALTHY in standings and row.state == "candidate":
        moves.states[row.node_id] = "unhealthy"
        moves.unhealthy.append(row.node)
    elif standings <= {Standing.DONE, Standing.GONE}:
        moves.states[row.node_id] = "acknowledged" if Standing.DONE in standings else "withdrawn"
    elif row.state == "candidate" and _overdue(row, here, now):
        moves.states[row.node_id] = "unhealthy"
        moves.unhealthy.append(row.node)
        moves.overdue.append(row.node_id)
    elif row.state == "candidate":
        moves.steps += [one for one in here if one.standing(candidate) is Standing.BEHIND]


def _begin(states: dict[UUID, str], at: dict[UUID, list[Place]], candidate: int, moves: Moves) -> None:
    """Give the candidate to the canary, or once that has acknowledged to all who wait."""
    if moves.unhealthy:
        return
    waiting = sorted(
        (node_id for node_id, state in states.items() if state == "waiting"),
        key=lambda node_id: (len(at[node_id]), at[node_id][0].node),
    )
    if "acknowledged" not in states.values():
        waiting = [] if "candidate" in states.values() else waiting[:1]
    for node_id in waiting:
        moves.states[node_id] = "candidate"
        moves.steps += [one for one in at[node_id] if one.standing(candidate) is Standing.BEHIND]


def _overdue(row: RolloutNodeRow, here: Sequence[Place], now: datetime) -> bool:
    since = row.started_at
    return since is not None and since + PATIENCE < now and any(d.state == "queued" for one in here for d in one.open)

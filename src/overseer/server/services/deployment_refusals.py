"""Refusing a deployment with all that is wrong with it, on every node it was to go to: one list, each problem once.

It has an end: past :data:`MAX_TOLD` problems no further node is looked at, and the refusal says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from overseer.compose.problem_lists import on_nodes
from overseer.core.errors import ReferencesRefused
from overseer.server.services.deployment_planning import Place, Plan

MAX_TOLD: Final = 10_000


def refuse_problems(places: Sequence[Place], plans: Sequence[Plan]) -> None:
    """:class:`ReferencesRefused` with the problems of ``plans``, those of the first ``places``, where there are any."""
    found = [(place.names.node or "", plan.problems) for place, plan in zip(places, plans, strict=False) if plan.problems]
    if found:
        where = f"on {', '.join(node for node, _ in found)}" if len(places) > 1 else "there"
        if len(plans) < len(places):
            where += f" ({len(places) - len(plans)} further nodes were not looked at)"
        raise ReferencesRefused(f"the bundle cannot be deployed {where}; nothing was changed", problems=on_nodes(found))

"""Refusing a deployment with all that is wrong with it, on every node it was to go to: one list, each problem once."""

from __future__ import annotations

from collections.abc import Sequence

from overseer.compose.problem_lists import on_nodes
from overseer.core.errors import ReferencesRefused
from overseer.server.services.deployment_planning import Place, Plan


def refuse_problems(plans: Sequence[tuple[Place, Plan]]) -> None:
    """:class:`ReferencesRefused` with the problems of all ``plans``, sorted by place, where there are any."""
    found = [(place.names.node or "", plan.problems) for place, plan in plans if plan.problems]
    if found:
        where = f"on {', '.join(node for node, _ in found)}" if len(plans) > 1 else "there"
        raise ReferencesRefused(f"the bundle cannot be deployed {where}; nothing was changed", problems=on_nodes(found))

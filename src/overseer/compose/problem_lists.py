"""One list of problems out of several: what a bundle has on each of the nodes that it goes to, what two sides found in it.

Guarantee: nothing is left out; what is said twice stands once; sorted by file, line and column.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from overseer.compose.lines import by_place
from overseer.core.errors import Problem


def on_nodes(found: Iterable[tuple[str, Sequence[Problem]]]) -> list[Problem]:
    """The problems on each node, by its name; what is wrong in the same way on several is said of the first, with the others."""
    alike: dict[tuple[str, str, str], tuple[Problem, list[str]]] = {}
    for node, problems in found:
        for one in problems:
            # A rule names its place as people write scopes: that is all by which the same problem differs between nodes.
            key = (one.place, one.code, " ".join(word for word in one.rule.split(" ") if word.strip(",;:") != f"node={node}"))
            nodes = alike.setdefault(key, (one, []))[1]
            nodes += [node] if node not in nodes else []
    return _sorted(_with_others(one, nodes) for one, nodes in alike.values())


def joined(own: Sequence[Problem], told: Iterable[Problem]) -> list[Problem]:
    """``own`` and what another side told beyond them: two versions of the program may word the same problem differently."""
    known = {(one.place, one.code) for one in own}
    return _sorted([*own, *(one for one in told if (one.place, one.code) not in known)])


def _with_others(problem: Problem, nodes: list[str]) -> Problem:
    if len(nodes) == 1 or f"node={nodes[0]}" not in problem.rule:
        return problem
    return Problem(problem.place, f"{problem.rule} (the same on {', '.join(nodes[1:])})", problem.code)


def _sorted(problems: Iterable[Problem]) -> list[Problem]:
    return sorted(dict.fromkeys(problems), key=lambda one: by_place(one.place))

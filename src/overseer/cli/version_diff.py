"""What a deployment would change: the versions that a node runs against those that it would get now. No value is fetched."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from overseer.cli.compose_values import advice_for, available_versions
from overseer.cli.output import paint, print_line, printable
from overseer.compose.grammar import Reference, scan
from overseer.compose.references import BundleScan
from overseer.compose.versions import Change, VersionChange, diff_versions
from overseer.core.errors import Problem
from overseer.core.scopes import Scope

if TYPE_CHECKING:
    from overseer.client.api import Client
    from overseer.wire.deployments import DeploymentView

_MOST_DEPLOYMENTS: Final = 1000
_COLOURS: Final = {Change.ADDED: "green", Change.CHANGED: "yellow", Change.REMOVED: "red", Change.UNAVAILABLE: "red"}


@dataclass(frozen=True)
class NodeDiff:
    """One node (``None``: no node has the app yet). ``deployment`` is the one that runs; ``unsure`` where a later one failed."""

    node: str | None
    deployment: str | None
    unsure: bool
    changes: tuple[VersionChange, ...]
    refused: dict[Reference, str]

    @property
    def differs(self) -> bool:
        """True where a deployment would change a version."""
        return any(change.change is not Change.SAME for change in self.changes)

    def as_json(self) -> dict[str, Any]:
        """For ``--json``."""
        changes = [
            {
                "reference": one.reference,
                "change": one.change.value,
                "before": one.before,
                "after": one.after,
                "services": list(one.services),
                "places": list(one.places),
            }
            for one in self.changes
        ]
        return {"node": self.node, "deployment": self.deployment, "unsure": self.unsure, "changes": changes}


def node_diffs(client: Client, scanned: BundleScan, app: str, environment: str | None, node: str | None) -> list[NodeDiff]:
    """The differences on ``node``, or on every node that runs ``app`` in ``environment``. Needs deployment and secret lists."""
    running = _running(client, app, environment, node)
    nodes: list[str | None] = [*sorted(running)] if node is None else [node]
    found = []
    for one in nodes or [None]:
        last, unsure = running.get(one, (None, False)) if one is not None else (None, False)
        versions, refused = available_versions(client, scanned.references, Scope(app, environment, one))
        before = {} if last is None else {_reference(held.reference): held for held in last.references}
        changes = diff_versions(
            {reference: held.version for reference, held in before.items()},
            scanned,
            versions,
            {reference: held.services for reference, held in before.items()},
        )
        found.append(NodeDiff(one, None if last is None else last.id, unsure, changes, refused))
    return found


def refusals(client: Client, scanned: BundleScan, diff: NodeDiff, scope: Scope[str]) -> list[Problem]:
    """Every use of a reference that a deployment would refuse, with its place in the bundle and what to do."""
    missing = {one.reference for one in diff.changes if one.change is Change.UNAVAILABLE}
    unknown = [one for one in scanned.references if str(one) in missing and one not in diff.refused]
    return _told(client, scanned, unknown, diff.refused, scope)


def unavailable(client: Client, scanned: BundleScan, scope: Scope[str]) -> list[Problem]:
    """The same of a project at ``scope``, whatever runs. Needs secret lists."""
    versions, refused = available_versions(client, scanned.references, scope)
    unknown = [one for one in scanned.references if one not in versions and one not in refused]
    return _told(client, scanned, unknown, refused, scope)


def _told(
    client: Client, scanned: BundleScan, unknown: Sequence[Reference], refused: Mapping[Reference, str], scope: Scope[str]
) -> list[Problem]:
    advice = advice_for(client, {one.name for one in unknown}, scope)
    rules = {**{one: advice.unavailable(one) for one in unknown}, **refused}
    return [
        Problem(one.place, rules[one.reference], "secret_unavailable")
        for one in scanned.occurrences
        if one.reference in rules and not (one.has_default and one.reference in unknown)
    ]


def _running(
    client: Client, app: str, environment: str | None, node: str | None
) -> dict[str, tuple[DeploymentView | None, bool]]:
    """Of each node what last succeeded there (nothing after an undeployment), and whether something failed after it."""
    found: dict[str, tuple[DeploymentView | None, bool]] = {}
    failed: set[str] = set()
    for view in islice(client.deployments.list(app=app, environment=environment, node=node), _MOST_DEPLOYMENTS):
        if view.environment != environment or view.node in found:
            continue
        if view.state == "failed":
            failed.add(view.node)
        elif view.state == "succeeded":
            found[view.node] = (view if view.action == "deploy" else None, view.node in failed)
            if node is not None:
                break
    return {name: state for name, state in found.items() if node is not None or state[0] is not None}


def _reference(text: str) -> Reference:
    tokens = scan(f"${{SECRET:{text}}}").tokens
    return tokens[0].reference if tokens else Reference(text)


def print_diffs(diffs: Sequence[NodeDiff]) -> None:
    """One line for each reference that changes, below its node; how many stay."""
    for diff in diffs:
        against = f"deployment {diff.deployment}" if diff.deployment else "nothing deployed yet"
        print_line(paint(f"{printable(diff.node or 'any node')}: {against}", "bold", sys.stdout))
        if diff.unsure:
            print_line("  (a later deployment failed: what runs may differ from this)")
        for change in diff.changes:
            if change.change is not Change.SAME:
                print_line("  " + paint(printable(str(change)), _COLOURS[change.change], sys.stdout))
        print_line(f"  {_count(diff.changes)}")


def _count(changes: Sequence[VersionChange]) -> str:
    counts = {kind: sum(one.change is kind for one in changes) for kind in Change}
    words = {Change.SAME: "unchanged"}
    said = [f"{count} {words.get(kind, kind.value)}" for kind, count in counts.items() if count]
    return ", ".join(said) or "no references"

"""A deployment as people read it: its states while it runs, what each reference got, and how it ended."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from overseer.cli.output import moment, one_line, paint, print_fields, print_line, print_table, printable, say
from overseer.core.errors import NodeProblem
from overseer.wire.deployments import (
    DeploymentEvent,
    DeploymentGroupView,
    DeploymentReference,
    DeploymentView,
    VerificationView,
)

STATE_MEANING = {
    "queued": "waiting for the node's agent",
    "released": "the agent has the sealed bundle",
    "applying": "the agent is at work on the containers",
    "succeeded": "done",
    "failed": "failed",
    "superseded": "a later deployment took its place",
}
_HOLD = {"matches": "what they should", "differs": "something else", "unknown": "not reported"}
_COLOURS = {"succeeded": "green", "failed": "red", "superseded": "yellow"}


class Progress:
    """Lines of progress on stderr: each state once, with its node where there are several; the output, too, if asked for."""

    def __init__(self, nodes: Sequence[str] = (), *, output: bool = False) -> None:
        self._width = max(map(len, nodes), default=0) if len(nodes) > 1 else 0
        self._output = output
        self._states: dict[str, str] = {}

    def __call__(self, event: DeploymentEvent) -> None:
        """What a deployment just did."""
        before = f"  {printable(event.node).ljust(self._width)} " if self._width else "  "
        if event.output:
            for line in event.output.splitlines() if self._output else ():
                say(f"{before}{paint(printable(line), 'dim', sys.stderr)}")
        elif self._states.get(event.deployment) != event.state:
            self._states[event.deployment] = event.state
            state = paint(event.state.ljust(10), _COLOURS.get(event.state, "cyan"), sys.stderr)
            said = event.error.partition("\n")[0] or STATE_MEANING.get(event.state, "")
            if self._width and event.state == "queued":
                said = "waiting for its turn"
            say(f"{before}{state} {printable(one_line(said))}".rstrip())


def print_references(view: DeploymentView) -> None:
    """What each reference got: secret, version, form, whether it stays on the node's disk, and the fingerprint's verdict."""
    if not view.references:
        return
    print_table(
        ("REFERENCE", "VERSION", "SERVICES", "FORM", "ON DISK", "ARRIVED"),
        [
            (r.reference, str(r.version), " ".join(r.services), " ".join(r.kinds), "persists" if r.persists else "no", arrived(r))
            for r in view.references
        ],
    )


def arrived(reference: DeploymentReference) -> str:
    """Whether the container holds what it should, as the agent saw by fingerprint."""
    return {True: "yes", False: "no", None: "not reported"}[reference.matches]


def print_group(group: DeploymentGroupView) -> None:
    """The deployments of a group, in their turn."""
    print_table(
        ("NODE", "STATE", "DEPLOYMENT", "ERROR"),
        [(one.node, one.state, one.id, one.error.partition("\n")[0]) for one in group.deployments],
    )


def print_verification(seen: VerificationView) -> None:
    """What the agent last said about each reference of a deployment."""
    print_fields(
        [
            ("deployment", seen.deployment),
            ("runs now", "yes" if seen.current else "no: another deployment took its place, or it never succeeded"),
            ("last check", moment(seen.checked_at)),
            ("result", seen.result),
        ]
    )
    if seen.references:
        print_line("")
        print_table(
            ("REFERENCE", "VERSION", "SERVICES", "CONTAINERS HOLD", "CHECKED"),
            [(r.reference, str(r.version), " ".join(r.services), _HOLD[r.result], moment(r.checked_at)) for r in seen.references],
        )


def print_deployment(view: DeploymentView) -> None:
    """Everything about one deployment."""
    print_fields(
        [
            ("deployment", view.id),
            ("action", view.action),
            ("app", view.app),
            ("environment", view.environment or ""),
            ("node", view.node),
            ("project", view.project),
            ("bundle", view.bundle or ""),
            ("state", view.state),
            *((name, value) for name, value in origin(view) if value),
            ("created", f"{moment(view.created_at)} by {view.created_by or 'somebody who is gone'}"),
            ("finished", moment(view.finished_at)),
        ]
    )
    if view.references:
        print_line("")
        print_references(view)
    if view.services:
        print_line("")
        print_services(view)
    if view.error or view.output:
        print_line("")
    if view.error:
        print_line(f"error: {printable(one_line(view.error))}")
    for line in view.output.splitlines():
        print_line(f"  {printable(line)}")


def origin(view: DeploymentView) -> list[tuple[str, str]]:
    """What a deployment came of, beside an order for this one node."""
    return [
        ("group", view.group or ""),
        ("plan", view.plan or ""),
        ("goes back to", view.rollback_of or ""),
        ("rollout", view.rollout or ""),
    ]


def print_services(view: DeploymentView) -> None:
    """The containers as the agent saw them."""
    print_table(
        ("SERVICE", "STATE", "HEALTH", "EXIT", "CONTAINER"),
        [
            (s.service, s.state, s.health, "" if s.exit_code is None else str(s.exit_code), s.container_id[:12])
            for s in view.services
        ],
    )


def require_all(group: DeploymentGroupView) -> None:
    """:class:`NodeProblem` (exit 76) with each failed node's redacted output where not all deployments succeeded."""
    bad = [one for one in group.deployments if one.state != "succeeded"]
    for one in bad:
        for line in one.output.splitlines():
            say(f"  {printable(one.node)}: {printable(line)}")
    if bad:
        failed = ", ".join(f"{one.node} ({one.state})" for one in bad)
        raise NodeProblem(f"{len(bad)} of {len(group.deployments)} deployments did not succeed: {failed}")


def require_success(view: DeploymentView) -> None:
    """:class:`NodeProblem` (exit 76) with the agent's redacted output where the deployment did not succeed."""
    if view.state == "succeeded":
        return
    for line in view.output.splitlines():
        say(f"  {printable(line)}")
    raise NodeProblem(f"deployment {view.id} {view.state}" + (f": {view.error}" if view.error else ""))

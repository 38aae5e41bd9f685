"""A deployment as people read it: its states while it runs, what each reference got, and how it ended."""

from __future__ import annotations

import sys

from overseer.cli.output import moment, paint, print_fields, print_line, print_table, printable, say
from overseer.core.errors import NodeProblem
from overseer.wire.deployments import DeploymentReference, DeploymentView

STATE_MEANING = {
    "queued": "waiting for the node's agent",
    "released": "the agent has the sealed bundle",
    "applying": "the agent is starting containers",
    "succeeded": "done",
    "failed": "failed",
    "superseded": "a later deployment took its place",
}
_COLOURS = {"succeeded": "green", "failed": "red", "superseded": "yellow"}


def tell_state(view: DeploymentView) -> None:
    """One line of progress on stderr."""
    state = paint(view.state.ljust(10), _COLOURS.get(view.state, "cyan"), sys.stderr)
    say(f"  {state} {STATE_MEANING.get(view.state, '')}".rstrip())


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
        print_line(f"error: {printable(view.error)}")
    for line in view.output.splitlines():
        print_line(f"  {printable(line)}")


def print_services(view: DeploymentView) -> None:
    """The containers as the agent saw them."""
    print_table(
        ("SERVICE", "STATE", "HEALTH", "EXIT", "CONTAINER"),
        [
            (s.service, s.state, s.health, "" if s.exit_code is None else str(s.exit_code), s.container_id[:12])
            for s in view.services
        ],
    )


def require_success(view: DeploymentView) -> None:
    """:class:`NodeProblem` (exit 76) with the agent's redacted output where the deployment did not succeed."""
    if view.state == "succeeded":
        return
    for line in view.output.splitlines():
        say(f"  {printable(line)}")
    raise NodeProblem(f"deployment {view.id} {view.state}" + (f": {view.error}" if view.error else ""))

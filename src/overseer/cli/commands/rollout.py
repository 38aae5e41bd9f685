"""``overseer rollout …``."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import click

from overseer.cli.options import DURATION, json_option, pass_client, yes_option
from overseer.cli.output import moment, print_fields, print_json, print_line, print_table, say
from overseer.core.errors import Conflict
from overseer.core.scopes import Scope

if TYPE_CHECKING:
    from overseer.client.api import Client
    from overseer.wire.rollouts import RolloutView


@click.group()
def rollout() -> None:
    """Show, await and withdraw rollouts of new versions."""


@rollout.command("list")
@click.option("--state", metavar="STATE", help="running, succeeded or withdrawn.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, metavar="N", help="At most N rows.")
@json_option
@pass_client
def list_(client: Client, state: str | None, limit: int, as_json: bool) -> None:
    """List rollouts, newest first."""
    views = list(islice(client.rollouts.list(state=state), limit))
    if as_json:
        print_json(views)
        return
    print_table(
        ("ID", "SECRET", "SCOPE", "VERSION", "STATE", "NODES", "CREATED"),
        [(v.id, v.name, _scope(v), _versions(v), v.state, str(v.node_count), moment(v.created_at)) for v in views],
        empty="no rollout that you may list",
    )


@rollout.command()
@click.argument("rollout_id", metavar="ID")
@json_option
@pass_client
def show(client: Client, rollout_id: str, as_json: bool) -> None:
    """Show a rollout: its nodes, what became of each, and the deployments that it made."""
    _print(client.rollouts.get(rollout_id), as_json)


@rollout.command()
@click.argument("rollout_id", metavar="ID")
@click.option("--timeout", type=DURATION, default="15m", show_default=True, metavar="TIME", help="Wait no longer.")
@json_option
@pass_client
def wait(client: Client, rollout_id: str, timeout: int, as_json: bool) -> None:
    """Wait until a rollout has ended. Ends with 75 when it was withdrawn."""
    view = client.rollouts.wait(rollout_id, timeout, seen=tell)
    if as_json:
        print_json(view)
    if view.state != "succeeded":
        raise Conflict(f"the rollout was {view.state}: {view.error}")


@rollout.command()
@click.argument("rollout_id", metavar="ID")
@yes_option
@json_option
@pass_client
def withdraw(client: Client, rollout_id: str, yes: bool, as_json: bool) -> None:
    """Stop a running rollout; every node that got the new version gets the previous one back."""
    from overseer.cli.terminal import confirm

    if not yes:
        confirm(f"Withdraw rollout {rollout_id}?")
    _print(client.rollouts.withdraw(rollout_id), as_json)


def tell(view: RolloutView) -> None:
    """One line of talk about how far a rollout is."""
    counts: dict[str, int] = {}
    for node in view.nodes:
        counts[node.state] = counts.get(node.state, 0) + 1
    nodes = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
    say(f"{view.name} {_versions(view)}: {view.state}{f' ({nodes})' if nodes else ''}")


def _print(view: RolloutView, as_json: bool) -> None:
    if as_json:
        print_json(view)
        return
    print_fields(
        (
            ("rollout", view.id),
            ("secret", f"{view.name} ({_scope(view)})"),
            ("version", _versions(view)),
            ("state", f"{view.state}: {view.error}" if view.error else view.state),
            ("started", f"{moment(view.created_at)} by {view.created_by or '-'}"),
            ("ended", moment(view.finished_at)),
        )
    )
    if view.nodes:
        print_line("")
    steps = [
        (node.node, node.state, step.project, step.step, step.state, step.deployment_id, step.error)
        for node in view.nodes
        for step in node.steps
    ]
    idle = [(node.node, node.state, "", "", "", "", "") for node in view.nodes if not node.steps]
    if steps or idle:
        print_table(("NODE", "STATE", "PROJECT", "STEP", "DEPLOYMENT", "ID", "ERROR"), [*steps, *idle])


def _versions(view: RolloutView) -> str:
    return f"{view.previous_version} → {view.candidate_version}"


def _scope(view: RolloutView) -> str:
    return str(Scope(view.scope.app, view.scope.environment, view.scope.node))

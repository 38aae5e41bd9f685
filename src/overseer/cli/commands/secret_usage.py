"""``overseer secret usage``, ``secret unused`` and ``secret stale``: what runs with which version, from deployments."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from overseer.cli.options import json_option, pass_client, scope_options
from overseer.cli.output import moment, print_json, print_table, say
from overseer.core.scopes import Scope

if TYPE_CHECKING:
    from overseer.client.api import Client
    from overseer.wire.usage import ConsumerView, UsageView

_TITLES = ("APP", "ENV", "NODE", "SERVICES", "REFERENCE", "VERSION", "HOLDS IT", "CONTAINERS")


@click.command()
@click.argument("name")
@scope_options
@json_option
@pass_client
def usage(client: Client, name: str, scope: Scope[str], as_json: bool) -> None:
    """Show what runs with a secret: apps, nodes, services, containers, and the version of each.

    HOLDS IT is what the node's agent saw in the containers: yes, no, or ? where nobody looked.
    """
    view = client.usage.of(client.secrets.find(name, scope).id)
    if as_json:
        print_json(view)
        return
    rows = [_row(one) for one in view.consumers]
    print_table(_TITLES, rows, empty=f"nothing that you may see runs with {name} ({scope})")
    if view.rollout is not None:
        say(f"a rollout is bringing another version there: overseer rollout show {view.rollout}")


@click.command()
@json_option
@pass_client
def unused(client: Client, as_json: bool) -> None:
    """List secrets that nothing that is deployed refers to. Who reads values over the API is not counted: see the audit log."""
    views = list(client.usage.unused())
    if as_json:
        print_json(views)
        return
    print_table(
        ("NAME", "SCOPE", "LAST DEPLOYED"),
        [(v.name, _scope(v), moment(v.last_released_at)) for v in views],
        empty="every secret that you may list is used",
    )


@click.command()
@json_option
@pass_client
def stale(client: Client, as_json: bool) -> None:
    """List what runs with another version of a secret than the active one."""
    views = list(client.usage.stale())
    if as_json:
        print_json(views)
        return
    print_table(
        ("NAME", "SCOPE", "ACTIVE", *_TITLES),
        [(v.name, _scope(v), str(v.active_version), *_row(one)) for v in views for one in v.consumers],
        empty="everything that you may see runs with the active versions",
    )


def tell_usage(view: UsageView) -> None:
    """Say what uses a secret, and what would be used in its place, before it goes."""
    for one in view.consumers:
        place = Scope(one.app, one.environment, one.node)
        say(f"used by {one.project} ({place}): {one.reference} of {', '.join(one.services) or 'its files'}")
    for other in view.shadows:
        say(f"without it, consumers may get {other.name} ({Scope(other.scope.app, other.scope.environment, other.scope.node)})")


def _row(one: ConsumerView) -> tuple[str, ...]:
    holds = {True: "yes", False: "no", None: "?"}[one.matches]
    version = f"{one.version} (pinned)" if one.pinned else str(one.version)
    containers = " ".join(container.container_id[:12] for container in one.containers)
    return one.app, one.environment or "", one.node, " ".join(one.services), one.reference, version, holds, containers


def _scope(view: UsageView) -> str:
    return str(Scope(view.scope.app, view.scope.environment, view.scope.node))

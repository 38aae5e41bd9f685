"""``overseer deployment …``."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import click

from overseer.cli.options import json_option, pass_client
from overseer.cli.output import moment, print_json, print_table

if TYPE_CHECKING:
    from overseer.client.api import Client


@click.group()
def deployment() -> None:
    """Show deployments."""


@deployment.command("list")
@click.option("--app", metavar="APP", help="Of this app.")
@click.option("--env", "environment", metavar="ENV", help="In this environment.")
@click.option("--node", metavar="NODE", help="On this node.")
@click.option("--state", metavar="STATE", help="queued, released, applying, succeeded, failed or superseded.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, metavar="N", help="At most N rows.")
@json_option
@pass_client
def list_(
    client: Client, app: str | None, environment: str | None, node: str | None, state: str | None, limit: int, as_json: bool
) -> None:
    """List deployments, newest first."""
    views = list(islice(client.deployments.list(app=app, environment=environment, node=node, state=state), limit))
    if as_json:
        print_json(views)
        return
    print_table(
        ("ID", "APP", "ENV", "NODE", "ACTION", "STATE", "CREATED"),
        [(v.id, v.app, v.environment or "", v.node, v.action, v.state, moment(v.created_at)) for v in views],
        empty="no deployment that you may list",
    )


@deployment.command()
@click.argument("deployment_id", metavar="ID")
@json_option
@pass_client
def show(client: Client, deployment_id: str, as_json: bool) -> None:
    """Show a deployment: its references and their versions, its containers, its redacted output."""
    from overseer.cli.deployment_text import print_deployment

    view = client.deployments.get(deployment_id)
    if as_json:
        print_json(view)
    else:
        print_deployment(view)

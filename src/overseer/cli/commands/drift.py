"""``overseer drift``: where containers hold something else than was deployed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from overseer.cli.options import json_option, pass_client
from overseer.cli.output import moment, print_json, print_table

if TYPE_CHECKING:
    from overseer.client.api import Client


@click.command()
@click.option("--app", metavar="APP", help="Of this app.")
@click.option("--env", "environment", metavar="ENV", help="In this environment.")
@click.option("--node", metavar="NODE", help="On this node.")
@json_option
@pass_client
def drift(client: Client, app: str | None, environment: str | None, node: str | None, as_json: bool) -> None:
    """List what is not as it was deployed.

    mismatch: containers hold another value. gone: a service had a running container and has none now. unchecked: the node's agent
    has not said for long what its containers hold.
    """
    views = list(client.usage.drift(app=app, environment=environment, node=node))
    if as_json:
        print_json(views)
        return
    print_table(
        ("KIND", "APP", "ENV", "NODE", "SERVICES", "REFERENCE", "VERSION", "CHECKED"),
        [
            (
                v.kind,
                v.app,
                v.environment or "",
                v.node,
                " ".join(v.services),
                v.reference or "",
                "" if v.version is None else str(v.version),
                moment(v.checked_at),
            )
            for v in views
        ],
        empty="everything that you may see is as it was deployed",
    )

"""``overseer node …``: nodes as the server knows them; the agent itself is ``overseer agent``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from overseer.cli.options import DURATION, json_option, pass_client, yes_option
from overseer.cli.output import moment, print_json, print_line, print_table, say

if TYPE_CHECKING:
    from overseer.client.api import Client


@click.group()
def node() -> None:
    """Create, list, enrol and revoke nodes."""


@node.command()
@click.argument("name")
@click.option("--description", default="", help="What it is.")
@json_option
@pass_client
def create(client: Client, name: str, description: str, as_json: bool) -> None:
    """Create a node; its agent joins with a token from 'overseer node enrol-token'."""
    view = client.nodes.create(name, description)
    if as_json:
        print_json(view)
    else:
        say(f"created node {view.name}")


@node.command("list")
@json_option
@pass_client
def list_(client: Client, as_json: bool) -> None:
    """List nodes."""
    views = list(client.nodes.list())
    if as_json:
        print_json(views)
        return
    print_table(
        ("NAME", "STATE", "AGENT", "LAST SEEN", "DESCRIPTION"),
        [(v.name, v.state, v.agent_version, moment(v.last_seen_at), v.description) for v in views],
        empty="no node that you may list",
    )


@node.command("enrol-token")
@click.argument("name", metavar="NODE")
@click.option("--expires-in", type=DURATION, default="1h", show_default=True, metavar="TIME", help="How long it can be used.")
@json_option
@pass_client
def enrol_token(client: Client, name: str, expires_in: int, as_json: bool) -> None:
    """Print a token with which the agent of NODE can join once. It is shown this once."""
    created = client.nodes.enrolment_token(name, expires_in)
    if as_json:
        print_json(created)
        return
    print_line(created.token)
    say(f"on {created.node}, until {moment(created.expires_at)}: overseer agent join --url {client.url} (it asks for the token)")


@node.command()
@click.argument("name", metavar="NODE")
@yes_option
@json_option
@pass_client
def revoke(client: Client, name: str, yes: bool, as_json: bool) -> None:
    """Take a node's access away, for good and at once. Containers that run there keep running."""
    from overseer.cli.terminal import confirm

    if not yes:
        confirm(f"Revoke node {name}?")
    view = client.nodes.revoke(name)
    if as_json:
        print_json(view)
    else:
        say(f"revoked node {view.name}")

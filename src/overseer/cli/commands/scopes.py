"""``overseer app …`` and ``overseer env …``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from overseer.cli.commands.removal import cascade_option, print_contents, remove
from overseer.cli.options import json_option, pass_client, yes_option
from overseer.cli.output import moment, print_json, print_table, say

if TYPE_CHECKING:
    from overseer.client.api import Client
    from overseer.client.scopes import Apps, Environments
    from overseer.wire.scopes import AppView, EnvironmentView


@click.group()
def app() -> None:
    """Create, list and delete apps."""


@click.group()
def env() -> None:
    """Create, list and delete environments."""


def _commands(group: click.Group, kind: str, noun: str) -> None:
    """Both groups have the same three commands; ``noun`` is the client's attribute."""

    def things(client: Client) -> Apps | Environments:
        return client.apps if noun == "apps" else client.environments

    @group.command(help=f"Create an {kind}.")
    @click.argument("name")
    @click.option("--description", default="", help="What it is.")
    @json_option
    @pass_client
    def create(client: Client, name: str, description: str, as_json: bool) -> None:
        view = things(client).create(name, description)
        if as_json:
            print_json(view)
        else:
            say(f"created {kind} {view.name}")

    @group.command("list", help=f"List {noun}.")
    @json_option
    @pass_client
    def list_(client: Client, as_json: bool) -> None:
        views: list[AppView | EnvironmentView] = [*things(client).list()]
        if as_json:
            print_json(views)
            return
        rows = [(view.name, moment(view.created_at), view.description) for view in views]
        print_table(("NAME", "CREATED", "DESCRIPTION"), rows, empty=f"no {kind} that you may list")

    @group.command(help=f"Show an {kind} and what belongs to it.")
    @click.argument("name")
    @json_option
    @pass_client
    def show(client: Client, name: str, as_json: bool) -> None:
        contents = things(client).contents(name)
        if as_json:
            print_json(contents)
        else:
            print_contents(contents)

    @group.command(help=f"Delete an {kind} that nothing belongs to, or with --cascade what belongs to it as well.")
    @click.argument("name")
    @cascade_option
    @yes_option
    @pass_client
    def delete(client: Client, name: str, cascade: bool, yes: bool) -> None:
        remove(things(client), kind, name, cascade=cascade, yes=yes)


_commands(app, "app", "apps")
_commands(env, "environment", "environments")

"""``overseer secret move``: another scope or name for a secret, with all of its versions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from overseer.cli.commands.secret_usage import tell_usage
from overseer.cli.options import json_option, pass_client, scope_options, yes_option
from overseer.cli.output import print_json, say
from overseer.core.scopes import Scope

if TYPE_CHECKING:
    from overseer.client.api import Client
    from overseer.wire.secrets import ScopeView


@click.command()
@click.argument("name")
@scope_options
@click.option("--to-app", metavar="APP", help="The new scope's app; without it none.")
@click.option("--to-env", "to_environment", metavar="ENV", help="The new scope's environment; without it none.")
@click.option("--to-node", metavar="NODE", help="The new scope's node; without it none.")
@click.option("--to-global", is_flag=True, help="The new scope is global.")
@click.option("--to-name", metavar="NAME", help="The new name; with it alone the scope stays.")
@click.option("--force", is_flag=True, help="Although something that is deployed uses it; what runs keeps its value.")
@yes_option
@json_option
@pass_client
def move(
    client: Client,
    name: str,
    scope: Scope[str],
    to_app: str | None,
    to_environment: str | None,
    to_node: str | None,
    to_global: bool,
    to_name: str | None,
    force: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Give a secret another scope, another name, or both. Others may see it there, and those who see it now may not.

    Says first which deployments use it, and which secret they would get instead.
    """
    from overseer.cli.terminal import confirm

    target = Scope(to_app, to_environment, to_node)
    if to_global != target.is_global and (to_global or to_name is None):
        raise click.UsageError("say where it goes with --to-app, --to-env and --to-node, or with --to-global")
    if not to_global and target.is_global:
        target = scope
    view = client.secrets.find(name, scope)
    tell_usage(client.usage.of(view.id))
    if not yes:
        confirm(f"Move {name} ({scope}) to {to_name or name} ({target})?")
    moved = client.secrets.move(view.id, target, to_name, force=force)
    if as_json:
        print_json(moved)
        return
    say(f"moved to {moved.secret.name} ({_text(moved.secret.scope)})")
    for one in moved.unshadowed:
        say(f"  consumers of the old place may get {one.name} ({_text(one.scope)}) from now on")
    for one in moved.shadowed:
        say(f"  it goes before {one.name} ({_text(one.scope)}) at its new place")


def _text(scope: ScopeView) -> str:
    return str(Scope(scope.app, scope.environment, scope.node))

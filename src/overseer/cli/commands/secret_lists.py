"""``overseer secret list``, ``info``, ``history`` and ``explain``: what is known about secrets, never a value."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from overseer.cli.commands.secret_text import scope_text
from overseer.cli.options import json_option, pass_client, scope_options
from overseer.cli.output import moment, print_fields, print_json, print_table
from overseer.core.scopes import Scope

if TYPE_CHECKING:
    from overseer.client.api import Client


@click.command("list")
@scope_options
@click.option("--name", metavar="NAME", help="Exactly this name.")
@click.option("--search", "q", metavar="TEXT", help="This text in the name or the description.")
@click.option("--label", metavar="KEY=VALUE", help="This label.")
@click.option("--exact", is_flag=True, help="Only secrets at exactly the scope that is given.")
@json_option
@pass_client
def list_(
    client: Client, scope: Scope[str], name: str | None, q: str | None, label: str | None, exact: bool, as_json: bool
) -> None:
    """List secrets, never their values."""
    from overseer.client.secrets import scope_kind

    found = client.secrets.list(
        name=name,
        q=q,
        label=label,
        app=scope.app,
        environment=scope.environment,
        node=scope.node,
        scope=scope_kind(scope) if exact else None,
    )
    views = list(found)
    if as_json:
        print_json(views)
        return
    print_table(
        ("NAME", "SCOPE", "ACTIVE", "NEWEST", "UPDATED", "DESCRIPTION"),
        [
            (v.name, scope_text(v.scope), str(v.active_version), str(v.version), moment(v.updated_at), v.description)
            for v in views
        ],
        empty="no secret that you may list matches",
    )


@click.command()
@click.argument("name")
@scope_options
@json_option
@pass_client
def info(client: Client, name: str, scope: Scope[str], as_json: bool) -> None:
    """Show what is known about a secret, never its value."""
    view = client.secrets.find(name, scope)
    if as_json:
        print_json(view)
        return
    print_fields(
        [
            ("name", view.name),
            ("scope", scope_text(view.scope)),
            ("id", view.id),
            ("active version", str(view.active_version)),
            ("newest version", str(view.version)),
            ("description", view.description),
            ("labels", " ".join(f"{key}={value}" for key, value in sorted(view.labels.items()))),
            ("owner", view.owner),
            ("expires", moment(view.expires_at)),
            ("created", moment(view.created_at)),
            ("updated", moment(view.updated_at)),
        ]
    )


@click.command()
@click.argument("name")
@scope_options
@json_option
@pass_client
def history(client: Client, name: str, scope: Scope[str], as_json: bool) -> None:
    """List the versions of a secret."""
    versions = list(client.secrets.versions(client.secrets.find(name, scope).id))
    if as_json:
        print_json(versions)
        return
    print_table(
        ("VERSION", "ACTIVE", "CREATED", "BY"),
        [(str(v.version), "yes" if v.active else "", moment(v.created_at), v.created_by or "") for v in versions],
    )


@click.command()
@click.argument("name")
@scope_options
@json_option
@pass_client
def explain(client: Client, name: str, scope: Scope[str], as_json: bool) -> None:
    """Show which secret of a name is used at a scope, and which ones it shadows."""
    answer = client.secrets.explain(name, scope)
    if as_json:
        print_json(answer)
        return
    rows = [] if answer.winner is None else [("used", answer.winner)]
    rows += [("shadowed", view) for view in answer.shadowed]
    print_table(
        ("", "SCOPE", "ACTIVE", "UPDATED"),
        [(mark, scope_text(view.scope), str(view.active_version), moment(view.updated_at)) for mark, view in rows],
        empty=f"no secret {name} applies at {scope}, or you may not list it",
    )

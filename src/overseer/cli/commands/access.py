"""``overseer service-account …``, ``token …``, ``role …`` and ``binding …``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from overseer.cli.options import DURATION, json_option, pass_client, yes_option
from overseer.cli.output import moment, print_json, print_line, print_table, say
from overseer.core.errors import Unavailable

if TYPE_CHECKING:
    from overseer.client.api import Client


@click.group("service-account")
def service_account() -> None:
    """Create, list and delete service accounts."""


@service_account.command("create")
@click.argument("name")
@click.option("--description", default="", help="What it is for.")
@json_option
@pass_client
def create_account(client: Client, name: str, description: str, as_json: bool) -> None:
    """Create a service account; it can do nothing before a binding and a token."""
    view = client.service_accounts.create(name, description)
    if as_json:
        print_json(view)
    else:
        say(f"created service account {view.name}")


@service_account.command("list")
@json_option
@pass_client
def list_accounts(client: Client, as_json: bool) -> None:
    """List service accounts."""
    views = list(client.service_accounts.list())
    if as_json:
        print_json(views)
        return
    print_table(
        ("NAME", "STATE", "CREATED", "DESCRIPTION"),
        [(v.name, "disabled" if v.disabled else "active", moment(v.created_at), v.description) for v in views],
        empty="no service account that you may list",
    )


@service_account.command("delete")
@click.argument("name")
@yes_option
@pass_client
def delete_account(client: Client, name: str, yes: bool) -> None:
    """Delete a service account with its tokens and bindings."""
    from overseer.cli.terminal import confirm

    found = next((view for view in client.service_accounts.list() if view.name == name), None)
    if found is None:
        raise Unavailable(f"there is no service account {name}, or you may not list it")
    if not yes:
        confirm(f"Delete service account {name} with its tokens and bindings?")
    client.service_accounts.delete(found.id)
    say(f"deleted service account {name}")


@click.group()
def token() -> None:
    """Create, list and revoke tokens."""


@token.command("create")
@click.argument("principal")
@click.option("--description", default="", help="Where it is used.")
@click.option("--expires-in", type=DURATION, default="90d", show_default=True, metavar="TIME", help="At most 365d.")
@click.option("--network", "networks", multiple=True, metavar="CIDR", help="Only from this network; may be repeated.")
@json_option
@pass_client
def create_token(
    client: Client, principal: str, description: str, expires_in: int, networks: tuple[str, ...], as_json: bool
) -> None:
    """Print a token of PRINCIPAL, a service account or 'me'. It is shown this once."""
    created = client.tokens.create(principal, description=description, expires_in=expires_in, networks=list(networks) or None)
    if as_json:
        print_json(created)
        return
    print_line(created.token)
    say(f"token {created.id} of {principal}, until {moment(created.expires_at)}")


@token.command("list")
@click.option("--principal", metavar="NAME", help="Only tokens of this principal.")
@json_option
@pass_client
def list_tokens(client: Client, principal: str | None, as_json: bool) -> None:
    """List tokens, never their text."""
    views = list(client.tokens.list(principal))
    if as_json:
        print_json(views)
        return
    print_table(
        ("ID", "PRINCIPAL", "STATE", "LAST USED", "DESCRIPTION"),
        [
            (
                v.id,
                v.principal,
                f"revoked {moment(v.revoked_at)}" if v.revoked_at else f"until {moment(v.expires_at)}",
                moment(v.last_used_at),
                v.description,
            )
            for v in views
        ],
        empty="no token that you may list",
    )


@token.command("revoke")
@click.argument("token_id", metavar="ID")
@pass_client
def revoke_token(client: Client, token_id: str) -> None:
    """End a token, at once. ID is the token's id, not its text."""
    if token_id.startswith("ovs"):
        raise click.UsageError(
            "give the token's id ('overseer token list'), not its text: that is known to others now, so revoke it"
        )
    client.tokens.revoke(token_id)
    say(f"revoked token {token_id}")


@click.group()
def role() -> None:
    """List roles."""


@role.command("list")
@json_option
@pass_client
def list_roles(client: Client, as_json: bool) -> None:
    """List roles and their permissions."""
    views = list(client.roles.list())
    if as_json:
        print_json(views)
        return
    print_table(
        ("ROLE", "KIND", "PERMISSIONS"),
        [(v.name, "built in" if v.built_in else "own", " ".join(v.permissions)) for v in views],
        empty="no role that you may list",
    )


@click.group()
def binding() -> None:
    """Give a role over a scope, list and delete what was given."""


@binding.command("create")
@click.argument("principal")
@click.argument("role_name", metavar="ROLE")
@click.option("--app", required=True, metavar="APP", help="An app, '*' for any and none, '-' for none set.")
@click.option("--env", "environment", required=True, metavar="ENV", help="An environment, '*' or '-'.")
@click.option("--node", required=True, metavar="NODE", help="A node, '*' or '-'.")
@click.option("--name", required=True, metavar="PATTERN", help="Which names: exact, a prefix as in 'db-*', or '*'.")
@click.option("--expires-in", type=DURATION, metavar="TIME", help="End by itself after this time.")
@json_option
@pass_client
def create_binding(
    client: Client,
    principal: str,
    role_name: str,
    app: str,
    environment: str,
    node: str,
    name: str,
    expires_in: int | None,
    as_json: bool,
) -> None:
    """Give ROLE to PRINCIPAL over a scope and a name pattern. Nothing has a default: what is not written is not given."""
    from datetime import UTC, datetime, timedelta

    expires_at = None if expires_in is None else datetime.now(UTC) + timedelta(seconds=expires_in)
    view = client.bindings.create(
        principal, role_name, app=app, environment=environment, node=node, name=name, expires_at=expires_at
    )
    if as_json:
        print_json(view)
    else:
        over = f"app={view.app} env={view.environment} node={view.node} name={view.name}"
        say(f"{view.principal} is {view.role} over {over}; binding {view.id}")


@binding.command("list")
@click.option("--principal", metavar="NAME", help="Only bindings of this principal.")
@json_option
@pass_client
def list_bindings(client: Client, principal: str | None, as_json: bool) -> None:
    """List bindings."""
    views = list(client.bindings.list(principal))
    if as_json:
        print_json(views)
        return
    print_table(
        ("ID", "PRINCIPAL", "ROLE", "APP", "ENV", "NODE", "NAME", "EXPIRES"),
        [(v.id, v.principal, v.role, v.app, v.environment, v.node, v.name, moment(v.expires_at)) for v in views],
        empty="no binding that you may list",
    )


@binding.command("delete")
@click.argument("binding_id", metavar="ID")
@pass_client
def delete_binding(client: Client, binding_id: str) -> None:
    """Take a binding away, at once."""
    client.bindings.delete(binding_id)
    say(f"deleted binding {binding_id}")

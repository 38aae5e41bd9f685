"""``overseer service-account …`` and ``token …``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from overseer.cli.listed_names import by_name
from overseer.cli.options import DURATION, json_option, pass_client, yes_option
from overseer.cli.output import moment, print_fields, print_json, print_line, print_table, say
from overseer.wire.access import ServiceAccountPatch

if TYPE_CHECKING:
    from overseer.client.api import Client


@click.group("service-account")
def service_account() -> None:
    """Create, list, show, change and delete service accounts."""


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


@service_account.command("show")
@click.argument("name")
@json_option
@pass_client
def show_account(client: Client, name: str, as_json: bool) -> None:
    """Show a service account, its tokens and what is bound to it."""
    view = by_name(client.service_accounts.list(), name, "service account")
    if as_json:
        print_json(view)
        return
    print_fields(
        [
            ("id", view.id),
            ("name", view.name),
            ("state", "disabled" if view.disabled else "active"),
            ("created", moment(view.created_at)),
            ("description", view.description),
        ]
    )


@service_account.command("update")
@click.argument("name")
@click.option("--description", required=True, help="What it is for.")
@json_option
@pass_client
def update_account(client: Client, name: str, description: str, as_json: bool) -> None:
    """Change the description of a service account."""
    _patched(client, name, ServiceAccountPatch(description=description), as_json, "described")


@service_account.command("disable")
@click.argument("name")
@json_option
@pass_client
def disable_account(client: Client, name: str, as_json: bool) -> None:
    """Refuse its tokens from now on; what it holds stays."""
    _patched(client, name, ServiceAccountPatch(disabled=True), as_json, "disabled")


@service_account.command("enable")
@click.argument("name")
@json_option
@pass_client
def enable_account(client: Client, name: str, as_json: bool) -> None:
    """Let it act again, with all that it holds."""
    _patched(client, name, ServiceAccountPatch(disabled=False), as_json, "enabled")


def _patched(client: Client, name: str, body: ServiceAccountPatch, as_json: bool, done: str) -> None:
    found = by_name(client.service_accounts.list(), name, "service account")
    view = client.service_accounts.patch(found.id, body)
    if as_json:
        print_json(view)
    else:
        say(f"{done} service account {view.name}")


@service_account.command("delete")
@click.argument("name")
@yes_option
@pass_client
def delete_account(client: Client, name: str, yes: bool) -> None:
    """Delete a service account with its tokens and bindings."""
    from overseer.cli.terminal import confirm

    found = by_name(client.service_accounts.list(), name, "service account")
    if not yes:
        confirm(f"Delete service account {name} with its tokens and bindings?")
    client.service_accounts.delete(found.id)
    say(f"deleted service account {name}")


@click.group()
def token() -> None:
    """Create, list, show, rotate and revoke tokens."""


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


@token.command("show")
@click.argument("token_id", metavar="ID")
@json_option
@pass_client
def show_token(client: Client, token_id: str, as_json: bool) -> None:
    """Show a token, never its text."""
    view = client.tokens.get(_id(token_id))
    if as_json:
        print_json(view)
        return
    print_fields(
        [
            ("id", view.id),
            ("principal", view.principal),
            ("state", f"revoked {moment(view.revoked_at)}" if view.revoked_at else f"until {moment(view.expires_at)}"),
            ("networks", " ".join(view.networks) if view.networks else "any"),
            ("last used", moment(view.last_used_at)),
            ("created", moment(view.created_at)),
            ("description", view.description),
        ]
    )


@token.command("rotate")
@click.argument("token_id", metavar="ID")
@click.option("--expires-in", type=DURATION, default="90d", show_default=True, metavar="TIME", help="Of the new one.")
@click.option("--overlap", type=DURATION, default="1h", show_default=True, metavar="TIME", help="How long the old one lives on.")
@click.option("--description", help="Where the new one is used (default: as the old one).")
@json_option
@pass_client
def rotate_token(
    client: Client, token_id: str, expires_in: int, overlap: int, description: str | None, as_json: bool
) -> None:
    """Print a successor of a token, with its networks. The old one lives on for the overlap and then ends by itself."""
    created = client.tokens.rotate(_id(token_id), expires_in=expires_in, overlap=overlap, description=description)
    if as_json:
        print_json(created)
        return
    print_line(created.token)
    say(f"token {created.id}, until {moment(created.expires_at)}; {token_id} ends after the overlap")


@token.command("revoke")
@click.argument("token_id", metavar="ID")
@pass_client
def revoke_token(client: Client, token_id: str) -> None:
    """End a token, at once. ID is the token's id, not its text."""
    client.tokens.revoke(_id(token_id))
    say(f"revoked token {token_id}")


def _id(token_id: str) -> str:
    if token_id.startswith("ovs"):
        raise click.UsageError(
            "give the token's id ('overseer token list'), not its text: that is known to others now, so revoke it"
        )
    return token_id

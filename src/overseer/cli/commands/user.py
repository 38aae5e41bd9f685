"""``overseer user …`` and ``overseer session …``: people, and where they are signed in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from overseer.cli.options import DURATION, json_option, pass_client, yes_option
from overseer.cli.output import moment, print_fields, print_json, print_line, print_table, say

if TYPE_CHECKING:
    from overseer.client.api import Client
    from overseer.wire.people import InvitationCreated, UserView

ACCEPT = "overseer account accept-invitation"


@click.group()
def user() -> None:
    """Create, invite, disable and delete users."""


@user.command("create")
@click.argument("name")
@click.option("--description", default="", help="Who it is.")
@click.option("--expires-in", type=DURATION, default="3d", show_default=True, metavar="TIME", help="How long it is good for.")
@click.option("--no-invitation", is_flag=True, help="Only create: a provider signs the user in.")
@json_option
@pass_client
def create_user(client: Client, name: str, description: str, expires_in: int, no_invitation: bool, as_json: bool) -> None:
    """Create a user and print the invitation that sets its password. It is shown this once.

    A user may do nothing before a binding, or a group that has one.
    """
    view = client.users.create(name, description)
    say(f"created user {view.name}")
    if not no_invitation:
        _print_invitation(client.users.reset(view.id, expires_in=expires_in), as_json)
    elif as_json:
        print_json(view)


@user.command("list")
@json_option
@pass_client
def list_users(client: Client, as_json: bool) -> None:
    """List users."""
    views = list(client.users.list())
    if as_json:
        print_json(views)
        return
    print_table(
        ("NAME", "STATE", "SIGNS IN WITH", "LAST SIGN-IN", "DESCRIPTION"),
        [(v.name, _state(v), _ways(v), moment(v.last_sign_in_at), v.description) for v in views],
        empty="no user that you may list",
    )


@user.command("show")
@click.argument("name")
@json_option
@pass_client
def show_user(client: Client, name: str, as_json: bool) -> None:
    """Show a user."""
    view = client.users.find(name)
    if as_json:
        print_json(view)
        return
    identities = [("identity", f"{one.subject} at {one.issuer}") for one in view.identities]
    print_fields(
        [
            ("name", view.name),
            ("id", view.id),
            ("description", view.description),
            ("state", _state(view)),
            ("signs in with", _ways(view)),
            *identities,
            ("last sign-in", moment(view.last_sign_in_at)),
            ("created", moment(view.created_at)),
        ]
    )


@user.command("reset")
@click.argument("name")
@click.option("--second-factor", is_flag=True, help="Take the second factor away, too.")
@click.option("--expires-in", type=DURATION, default="3d", show_default=True, metavar="TIME", help="How long it is good for.")
@yes_option
@json_option
@pass_client
def reset_user(client: Client, name: str, second_factor: bool, expires_in: int, yes: bool, as_json: bool) -> None:
    """Print an invitation that sets a new password. The old password and all sessions of the user end now."""
    from overseer.cli.terminal import confirm

    view = client.users.find(name)
    if not yes:
        confirm(f"End the password and all sessions of {view.name}?")
    _print_invitation(client.users.reset(view.id, second_factor=second_factor, expires_in=expires_in), as_json)


@user.command("disable")
@click.argument("name")
@yes_option
@json_option
@pass_client
def disable_user(client: Client, name: str, yes: bool, as_json: bool) -> None:
    """Keep a user from signing in. Its tokens and sessions end, for good."""
    from overseer.cli.terminal import confirm

    view = client.users.find(name)
    if not yes:
        confirm(f"Disable {view.name} and end its tokens and sessions?")
    view = client.users.disable(view.id)
    _done(view, f"disabled user {view.name}", as_json)


@user.command("enable")
@click.argument("name")
@json_option
@pass_client
def enable_user(client: Client, name: str, as_json: bool) -> None:
    """Let a disabled user sign in again, with the password and the rights that it had."""
    view = client.users.enable(client.users.find(name).id)
    _done(view, f"enabled user {view.name}", as_json)


@user.command("delete")
@click.argument("name")
@yes_option
@pass_client
def delete_user(client: Client, name: str, yes: bool) -> None:
    """Delete a user with its tokens, sessions and bindings."""
    from overseer.cli.terminal import confirm

    view = client.users.find(name)
    if not yes:
        confirm(f"Delete user {view.name} with its tokens, sessions and bindings?")
    client.users.delete(view.id)
    say(f"deleted user {view.name}")


@user.command("link")
@click.argument("name")
@click.option("--issuer", required=True, metavar="URL", help="The provider's issuer, exactly as its tokens say.")
@click.option("--subject", required=True, metavar="SUBJECT", help="The user's subject there (claim sub), not an e-mail address.")
@json_option
@pass_client
def link_user(client: Client, name: str, issuer: str, subject: str, as_json: bool) -> None:
    """Let an identity of a provider sign in as this user."""
    view = client.users.link(client.users.find(name).id, issuer, subject)
    _done(view, f"{subject} at {issuer} signs in as {view.name}", as_json)


@user.command("unlink")
@click.argument("name")
@click.option("--issuer", required=True, metavar="URL", help="The provider's issuer.")
@click.option("--subject", required=True, metavar="SUBJECT", help="The subject there.")
@json_option
@pass_client
def unlink_user(client: Client, name: str, issuer: str, subject: str, as_json: bool) -> None:
    """Untie an identity of a provider from this user. All sessions of the user end."""
    view = client.users.unlink(client.users.find(name).id, issuer, subject)
    _done(view, f"{subject} at {issuer} signs in as {view.name} no more", as_json)


@click.group()
def session() -> None:
    """List and end sessions, your own and others'."""


@session.command("list")
@click.option("--user", "name", metavar="NAME", help="Those of this user (default: your own).")
@json_option
@pass_client
def list_sessions(client: Client, name: str | None, as_json: bool) -> None:
    """List live sessions, newest first."""
    views = list(client.account.sessions() if name is None else client.users.sessions(client.users.find(name).id))
    if as_json:
        print_json(views)
        return
    print_table(
        ("ID", "USER", "BEGAN", "LAST USED", "ENDS", "BY"),
        [
            (
                v.id,
                v.user + (" (this one)" if v.current else ""),
                moment(v.created_at),
                moment(v.last_used_at),
                moment(v.expires_at),
                v.description,
            )
            for v in views
        ],
        empty="no live session",
    )


@session.command("revoke")
@click.argument("session_id", metavar="ID", required=False)
@click.option("--user", "name", metavar="NAME", help="All sessions of this user.")
@pass_client
def revoke_session(client: Client, session_id: str | None, name: str | None) -> None:
    """End a session, or all of a user, at once. ID is the session's id ('overseer session list')."""
    if (session_id is None) == (name is None):
        raise click.UsageError("give the id of a session, or --user NAME for all of that user")
    if session_id is not None:
        client.account.end_session(session_id)
        say(f"ended session {session_id}")
    else:
        ended = client.users.end_sessions(client.users.find(name or "").id)
        say(f"ended {ended} session(s) of {name}")


def _print_invitation(made: InvitationCreated, as_json: bool) -> None:
    if as_json:
        print_json(made)
        return
    print_line(made.invitation)
    say(f"give it to {made.user} on a safe way: '{ACCEPT}' sets the password, once, until {moment(made.expires_at)}")


def _done(view: UserView, text: str, as_json: bool) -> None:
    if as_json:
        print_json(view)
    else:
        say(text)


def _state(view: UserView) -> str:
    return "disabled" if view.disabled else "active"


def _ways(view: UserView) -> str:
    ways = ["password and code" if view.has_second_factor else "password"] if view.has_password else []
    ways += ["a provider"] if view.identities else []
    return ", ".join(ways) or "nothing yet"

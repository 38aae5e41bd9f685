"""``overseer account …``: your own password and second factor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from overseer.cli.options import Connection, json_option, pass_client
from overseer.cli.output import print_json, print_line, say
from overseer.cli.terminal import ask_new_secret, ask_secret
from overseer.cli.values import read_credential

if TYPE_CHECKING:
    from overseer.client.api import Client
    from overseer.wire.people import RecoveryCodes

_TERMINAL = "run it where there is a terminal: passwords and codes are asked for"


@click.group()
def account() -> None:
    """Set your password and your second factor."""


@account.command("accept-invitation")
@click.option("--invitation-file", metavar="PATH", type=click.Path(), help="Read the invitation from a file.")
@click.pass_obj
def accept_invitation(connection: Connection, invitation_file: str | None) -> None:
    """Set your password with an invitation, once. Then 'overseer login --user NAME'."""
    invitation = read_credential(invitation_file, False, prompt="invitation", instead="give it with --invitation-file PATH")
    password = ask_new_secret("new password", instead=_TERMINAL)
    with connection.open_client() as client:
        client.sign_in.accept_invitation(invitation, password)
    say("your password is set: sign in with 'overseer login --user NAME'")


@account.command("password")
@pass_client
def change_password(client: Client) -> None:
    """Change your password. Your other sessions end."""
    current = ask_secret("current password", instead=_TERMINAL)
    renewed = client.account.change_password(current, ask_new_secret("new password", instead=_TERMINAL))
    _keep(client, renewed.session)
    say("your password is changed; your other sessions ended")


@account.command("second-factor")
@pass_client
def start_second_factor(client: Client) -> None:
    """Ask for a code of an authenticator at each sign-in from now on. Recovery codes are printed, this once."""
    started = client.account.start_totp(ask_secret("password", instead=_TERMINAL))
    say("give this key to your authenticator (six digits, thirty seconds), or make a QR code of the address:")
    for line in ("", f"  {started.secret}", f"  {started.uri}", ""):
        say(line)
    _print_codes(client, client.account.confirm_totp(ask_secret("code that it shows", instead=_TERMINAL)), False)


@account.command("recovery-codes")
@json_option
@pass_client
def renew_recovery_codes(client: Client, as_json: bool) -> None:
    """Print new recovery codes, this once. The former ones are worth nothing."""
    password = ask_secret("password", instead=_TERMINAL)
    code = ask_secret("code of the authenticator, or a recovery code", instead=_TERMINAL)
    _print_codes(client, client.account.renew_recovery_codes(password, code), as_json)


@account.command("no-second-factor")
@pass_client
def remove_second_factor(client: Client) -> None:
    """Take your second factor away. Your other sessions end."""
    password = ask_secret("password", instead=_TERMINAL)
    code = ask_secret("code of the authenticator, or a recovery code", instead=_TERMINAL)
    _keep(client, client.account.remove_totp(password, code).session)
    say("a password alone signs you in now")


def _print_codes(client: Client, made: RecoveryCodes, as_json: bool) -> None:
    _keep(client, made.session)
    if as_json:
        print_json(made.codes)
        return
    for code in made.codes:
        print_line(code)
    say("each of these signs you in once in place of a code: keep them where you keep nothing else")


def _keep(client: Client, session: str | None) -> None:
    """The session goes on under another secret: put it where the old one was stored."""
    from overseer.client.login_store import Login, load_login, save_login
    from overseer.core.secret_value import SecretValue

    login = load_login()
    if session is not None and login is not None and login.token == client.http.token:
        save_login(Login(login.url, SecretValue(session), login.ca_file))

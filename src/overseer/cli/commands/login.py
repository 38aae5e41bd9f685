"""``overseer login``, ``logout`` and ``whoami``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from overseer.cli.binding_text import end_of, warn_of_emergencies
from overseer.cli.options import Connection, json_option, pass_client
from overseer.cli.output import moment, print_fields, print_json, print_line, print_table, say
from overseer.cli.values import read_credential

#: Of a session's text; whatever else is stored is a token, which logging out does not end.
SESSION_PREFIX = b"ovss_"
_ENROL = "this server requires a second factor: run 'overseer account second-factor'; until then you can do nothing else"

if TYPE_CHECKING:
    from overseer.client.api import Client
    from overseer.wire.access import MeView


@click.command()
@click.argument("url", required=False)
@click.option("--user", "name", metavar="NAME", help="Sign in with this name and a password that is asked for.")
@click.option("--oidc", "provider", metavar="NAME", help="Sign in through this identity provider, in a browser.")
@click.option("--no-browser", is_flag=True, help="With --oidc: only print the address to open.")
@click.option("--ci", "issuer", metavar="NAME", help="Exchange a CI job's identity token ($OVERSEER_CI_TOKEN).")
@click.option("--token-file", metavar="PATH", type=click.Path(), help="Read the token from a file.")
@click.option("--stdin", is_flag=True, help="Read the token, or password and code in two lines, from standard input.")
@json_option
@click.pass_obj
def login(
    connection: Connection,
    url: str | None,
    name: str | None,
    provider: str | None,
    no_browser: bool,
    issuer: str | None,
    token_file: str | None,
    stdin: bool,
    as_json: bool,
) -> None:
    """Keep a server's URL and a token or a session for later commands.

    They lie in a file that only you can read. Without --user, --oidc or --ci it asks for a token.

    URL may also be given as --url or $OVERSEER_URL; the default is this machine. Of several replicas, all URLs may be given,
    with commas between. The token is checked before it is kept.
    """
    import os

    from overseer.client.addresses import DEFAULT_URL, as_text, parse_addresses
    from overseer.client.api import Client
    from overseer.client.login_store import Login, save_login

    address = as_text(parse_addresses(url or connection.url or os.environ.get("OVERSEER_URL") or DEFAULT_URL))
    ca_file = connection.ca_file or os.environ.get("OVERSEER_CA_FILE")
    if sum(one is not None for one in (name, provider, issuer)) > 1 or (token_file and (name or provider)):
        raise click.UsageError("give only one of --user, --oidc and --ci; --token-file goes with --ci or with none of them")
    if name is None and provider is None and issuer is None:
        token = read_credential(
            token_file, stdin, prompt=f"token for {address}", instead="give the token with --token-file PATH or --stdin"
        )
    else:
        from overseer.cli import signing_in

        with Client(address, ca_file=ca_file, need_token=False) as stranger:
            if name is not None:
                token = signing_in.by_password(stranger.sign_in, name, stdin)
            elif provider is not None:
                token = signing_in.by_provider(stranger.sign_in, provider, not no_browser)
            else:
                token = signing_in.by_job(stranger.sign_in, issuer or "", token_file, stdin)
    with Client(address, token, ca_file=ca_file) as client:
        me = client.me()
    path = save_login(Login(address, token, str(Path(ca_file).absolute()) if ca_file else None))
    if as_json:
        print_json(me)
    if me.enrolling:
        say(_ENROL)
    say(f"logged in to {address} as {me.name} until {moment(me.token_expires_at)}; kept in {path}")


@click.command()
def logout() -> None:
    """Forget what is stored, and end it where it is a session.

    A token stays valid: revoke it with 'overseer token revoke' to end it.
    """
    from overseer.client.login_store import forget_login, load_login
    from overseer.core.errors import ConfigurationProblem, OverseerError

    ended = False
    try:
        kept = load_login()
        if kept is not None and kept.token.reveal().startswith(SESSION_PREFIX):
            from overseer.client.api import Client

            with Client(kept.url, kept.token, ca_file=kept.ca_file) as client:
                client.account.sign_out()
            ended = True
    except ConfigurationProblem:
        pass  # a login that cannot be read can still be forgotten
    except OverseerError as error:
        say(f"the session could not be ended at the server ({error.code}); it ends by itself")
    if not forget_login():
        say("there was no login")
    elif ended:
        say("logged out; the session is ended")
    else:
        say("logged out; the token itself stays valid until it expires or is revoked")


@click.command()
@json_option
@pass_client
def whoami(client: Client, as_json: bool) -> None:
    """Show who the token speaks for and what it may do."""
    me = client.me()
    if as_json:
        print_json(me)
    else:
        _show(client.url, me)


def _show(url: str, me: MeView) -> None:
    print_fields(
        [
            ("server", url),
            ("name", me.name),
            ("kind", me.kind.replace("_", " ")),
            ("token", f"{me.token_id}, until {moment(me.token_expires_at)}"),
        ]
    )
    print_line("")
    print_table(
        ("ROLE", "APP", "ENV", "NODE", "NAME", "EXPIRES"),
        [(b.role, b.app, b.environment, b.node, b.name, end_of(b)) for b in me.bindings],
        empty=_ENROL if me.enrolling else "no role is bound to it: it may do nothing",
    )
    warn_of_emergencies(me.bindings)

"""``overseer server …``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from overseer.cli.options import Connection, json_option
from overseer.cli.output import moment, print_fields, print_json, print_own, say
from overseer.core.errors import ConfigurationProblem, Sealed
from overseer.core.secret_value import SecretValue

if TYPE_CHECKING:
    from overseer.server.services.bootstrap import Initialised
    from overseer.server.settings import Settings


@click.group()
def server() -> None:
    """Set up and run the server."""


@server.command("init")
@click.option("--stdin", is_flag=True, help="Read the passphrase of the seal, or its shares one a line, from standard input.")
@click.option("--shares-to", metavar="FILE", help="Write the shares of a new seal to a new file (0600) and not to stdout.")
@click.option("--renew-owner-token", is_flag=True, help="Only write a new owner's token: the way back in.")
@json_option
def init(stdin: bool, shares_to: str | None, renew_owner_token: bool, as_json: bool) -> None:
    """Set up the database, the keys and the owner; or bring an existing instance up to this release.

    The owner's token goes to the file owner-token (0600) in the data directory, once. Run again, nothing is replaced.
    """
    settings = load_server_settings()
    from overseer.cli.server_setup import owner_token_path, renew_token

    passphrase = _passphrase(settings, stdin, new=not renew_owner_token)
    if renew_owner_token:
        until = renew_token(settings, passphrase)
        if as_json:
            print_json({"owner_token_file": str(owner_token_path(settings)), "expires_at": until})
        say(f"a new owner's token is in {owner_token_path(settings)}, until {moment(until)}")
        return
    done = _set_up(settings, passphrase, shares_to, as_json)
    token_file = str(owner_token_path(settings)) if done.created else None
    if as_json:
        print_json(
            {
                "created": done.created,
                "instance_id": done.instance_id,
                "migrations": done.migrations,
                "changes": done.changes,
                "warnings": done.warnings,
                "owner_token_file": token_file,
                "owner_token_expires_at": done.owner_token_expires_at,
                "recovery_kit": done.recovery_kit,
            }
        )
        return
    _tell(done, token_file)


@server.command("run")
def run_() -> None:
    """Serve until Ctrl-C or SIGTERM; requests under way end first. The log goes to stderr, one JSON object a line."""
    settings = load_server_settings()
    from overseer.server.supervisor import run_server

    click.get_current_context().exit(run_server(settings))


@server.command("migrate")
@click.option("--adopt-log", is_flag=True, help="This copy or restored database takes the original's place: go on with its log.")
def migrate(adopt_log: bool) -> None:
    """Bring the schema of the database up to this release. 'server init' does it, too."""
    settings = load_server_settings()
    from overseer.cli.server_setup import migrate_database

    done = migrate_database(settings, adopt_log=adopt_log)
    for warning in done.warnings:
        say(f"warning: {warning}")
    say(f"applied {', '.join(done.applied)}" if done.applied else "the schema is up to date")
    if adopt_log:
        say("no schedule of backups is followed until `overseer backup resume` says that this one takes the original's place")


@server.command("status")
@json_option
@click.pass_obj
def status(connection: Connection, as_json: bool) -> None:
    """Show whether the server is ready. Needs no token. Ends with 69 where it is not."""
    from overseer.core.errors import NotReady

    with connection.open_client() as client:
        health, url = client.health(), client.url
    if as_json:
        print_json(health)
    else:
        print_fields([("server", url), ("status", health.status), *sorted(health.checks.items())])
    if health.status != "ok":
        raise NotReady(f"the server is {health.status}")


def load_server_settings() -> Settings:
    """The settings, where the server's packages are installed; else :class:`ConfigurationProblem`."""
    try:
        from overseer.server.settings import load_settings
        from overseer.server.storage import embedded  # noqa: F401 - shows whether the server's packages are there
    except ModuleNotFoundError as missing:
        raise ConfigurationProblem(
            f"the server's packages are not installed ({missing.name}): install overseer[server] (and overseer[embedded] for a "
            "database of its own)"
        ) from None
    return load_settings()


def _set_up(settings: Settings, given: SecretValue | None, shares_to: str | None, as_json: bool) -> Initialised:
    """A seal by shares makes them here where the instance is new, and needs them where it is not: then they are asked for."""
    from overseer.cli.seal_material import SealMaterial, show_shares
    from overseer.cli.server_setup import set_up

    kind = settings.seal.partition(":")[0]
    if kind != "shamir" and shares_to is not None:
        raise click.UsageError("--shares-to goes with OVERSEER_SEAL=shamir:K/N")
    if kind == "shamir" and as_json and shares_to is None:
        raise click.UsageError(
            "--json with a seal by shares needs --shares-to FILE: they are delivered first"
        )
    try:
        return set_up(settings, given, show_shares(shares_to))
    except Sealed:
        if kind != "shamir" or given is not None:
            raise
    return set_up(settings, SealMaterial(stdin=False).opening(kind))


def _passphrase(settings: Settings, stdin: bool, *, new: bool) -> SecretValue | None:
    """The passphrase where the seal needs one: typed twice where it may be a new one; shares where they are given."""
    kind = settings.seal.partition(":")[0]
    if kind == "shamir" and (stdin or not new):
        from overseer.cli.seal_material import SealMaterial

        return SealMaterial(stdin).opening(kind)
    if kind != "passphrase":
        if stdin:
            raise click.UsageError("--stdin goes with the seals passphrase and shamir")
        return None
    from overseer.cli.terminal import ask_new_secret
    from overseer.cli.values import read_credential

    instead = "give the passphrase with --stdin"
    if stdin or not new:
        return read_credential(None, stdin, prompt="passphrase of the seal", instead=instead)
    return ask_new_secret("passphrase of the seal", instead=instead)


def _tell(done: Initialised, token_file: str | None) -> None:
    for warning in done.warnings:
        say(f"warning: {warning}")
    if done.migrations:
        say(f"applied {', '.join(done.migrations)}")
    if not done.created:
        say(
            f"instance {done.instance_id} is set up"
            + (f"; brought up to date: {', '.join(done.changes)}" if done.changes else "")
        )
        say(f"its backups are signed by {done.signer}")
        return
    print_own(done.recovery_kit)
    say(f"The owner's token is in {token_file}, until {moment(done.owner_token_expires_at)}.")
    say("Next: overseer server run, and in another terminal:")
    say(f"      overseer login --token-file {token_file}")

"""``overseer seal …``."""

from __future__ import annotations

import click

from overseer.cli.options import Connection, json_option
from overseer.cli.output import print_fields, print_json, say
from overseer.cli.values import read_credential


@click.group()
def seal() -> None:
    """Show the seal and unseal a server."""


@seal.command()
@json_option
@click.pass_obj
def status(connection: Connection, as_json: bool) -> None:
    """Show whether the server is sealed. Needs no token."""
    with connection.open_client() as client:
        answer = client.seal_status()
    if as_json:
        print_json(answer)
        return
    print_fields(
        [
            ("state", "sealed" if answer.sealed else "unsealed"),
            ("kind", answer.kind),
            ("set up", "yes" if answer.initialised else "no"),
        ]
    )


@seal.command()
@click.option("--stdin", is_flag=True, help="Read the passphrase from standard input.")
@json_option
@click.pass_obj
def unseal(connection: Connection, stdin: bool, as_json: bool) -> None:
    """Give the passphrase of the seal, asked for on the terminal. Needs no token."""
    passphrase = read_credential(None, stdin, prompt="passphrase of the seal", instead="give the passphrase with --stdin")
    with connection.open_client() as client:
        answer = client.unseal(passphrase)
    if as_json:
        print_json(answer)
    say("still sealed" if answer.sealed else "unsealed")

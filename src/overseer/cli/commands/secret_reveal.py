"""``overseer secret get``: the exact bytes of a value, to a file or a pipe; to a terminal only where they are plain text."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING
from uuid import UUID

import click

from overseer.cli.approval_options import Asking, approval_options, with_approval
from overseer.cli.options import json_option, pass_client, scope_options
from overseer.cli.output import print_bytes, print_json
from overseer.core.errors import InvalidInput
from overseer.core.scopes import Scope

if TYPE_CHECKING:
    from overseer.client.api import Client
    from overseer.client.secrets import RevealedSecret


@click.command()
@click.argument("name")
@scope_options
@click.option("--version", type=click.IntRange(min=1), metavar="N", help="This version (default: the active one).")
@click.option("--reason", default="", metavar="TEXT", help="Why; goes to the audit log.")
@click.option("--resolve", is_flag=True, help="The value that a consumer at this scope gets; needs no right to list.")
@click.option("--force", is_flag=True, help="Print bytes to a terminal that are not plain text.")
@approval_options
@json_option
@pass_client
def get(
    client: Client,
    name: str,
    scope: Scope[str],
    version: int | None,
    reason: str,
    resolve: bool,
    force: bool,
    asking: Asking,
    as_json: bool,
) -> None:
    """Print the value of a secret, exactly; on a terminal a newline follows. Every call is in the audit log."""
    if resolve and version is not None:
        raise click.UsageError("--resolve takes the active version: leave --version out")
    if resolve and asking.reason is not None:
        raise click.UsageError("--ask asks for one secret: name its scope and leave --resolve out")
    if resolve:
        revealed = client.secrets.resolve([name], scope, reason=reason)[name]
    else:
        secret_id = client.secrets.find(name, scope).id
        revealed = with_approval(
            client,
            asking,
            lambda why: client.approvals.ask("reveal", why, secret_id=UUID(secret_id), version=version),
            lambda: client.secrets.reveal(secret_id, version=version, reason=reason),
        )
    if as_json:
        print_json(_value_answer(revealed))
        return
    value = revealed.value.reveal()
    if not sys.stdout.isatty():
        print_bytes(value)
        return
    if not force and not _is_plain_text(value):
        raise InvalidInput(f"{name} is not plain text, which could change this terminal: redirect it to a file, or give --force")
    print_bytes(value + b"\n")


def _value_answer(revealed: RevealedSecret) -> dict[str, str | int]:
    import base64

    raw = revealed.value.reveal()
    answer: dict[str, str | int] = {"id": revealed.id, "name": revealed.name, "version": revealed.version}
    try:
        return answer | {"value": raw.decode("utf-8")}
    except UnicodeDecodeError:
        return answer | {"value_base64": base64.b64encode(raw).decode("ascii")}


def _is_plain_text(value: bytes) -> bool:
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return all(c.isprintable() or c in "\n\t" for c in text.replace("\r\n", "\n"))

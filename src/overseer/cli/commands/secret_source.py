"""``overseer secret set NAME --from …`` and ``overseer secret untie``: values that come from a backend."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from overseer.cli.options import json_option, pass_client, scope_options
from overseer.cli.output import print_json, say
from overseer.core.errors import InvalidInput
from overseer.core.scopes import Scope

if TYPE_CHECKING:
    from overseer.client.api import Client
    from overseer.wire.backends import SecretSource


def source_of(text: str, *, sync: bool) -> SecretSource:
    """``BACKEND:REF[#FIELD]`` as a message; the server judges its parts."""
    from overseer.wire.backends import SecretSource

    backend, colon, rest = text.partition(":")
    ref, _, field = rest.partition("#")
    if not colon or not backend or not ref:
        raise InvalidInput("write --from as BACKEND:REFERENCE or BACKEND:REFERENCE#FIELD")
    return SecretSource(backend=backend, ref=ref, field=field, mode="sync" if sync else "pull")


@click.command()
@click.argument("name")
@scope_options
@json_option
@pass_client
def untie(client: Client, name: str, scope: Scope[str], as_json: bool) -> None:
    """Take a secret's values by hand again. It keeps the versions that came from its backend."""
    view = client.backends.untie(client.secrets.find(name, scope).id)
    if as_json:
        print_json(view)
    else:
        say(f"{name} ({scope}) has values of its own from now on; version {view.active_version} is in use")

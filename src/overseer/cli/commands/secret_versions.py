"""``overseer secret activate``, ``rotate`` and ``delete``: which version is used, a new one, and the end of all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

import click

from overseer.cli.approval_options import Asking, approval_options, with_approval
from overseer.cli.commands.secret_text import ReadFrom, if_version_option, immediate_option, tell
from overseer.cli.commands.secret_usage import tell_usage
from overseer.cli.options import json_option, pass_client, scope_options, yes_option
from overseer.cli.output import say
from overseer.cli.values import name_argument, read_value, value_options
from overseer.core.scopes import Scope

if TYPE_CHECKING:
    from overseer.client.api import Client


@click.command()
@click.argument("name")
@click.argument("version", type=click.IntRange(min=1))
@scope_options
@immediate_option
@approval_options
@json_option
@pass_client
def activate(
    client: Client, name: str, version: int, scope: Scope[str], immediate: bool, asking: Asking, as_json: bool
) -> None:
    """Make another version of a secret the one that is used; a rollout brings it to running containers first."""
    secret_id = client.secrets.find(name, scope).id
    changed = with_approval(
        client,
        asking,
        lambda why: client.approvals.ask("activate", why, secret_id=UUID(secret_id), version=version),
        lambda: client.secrets.activate(secret_id, version, immediate=immediate),
    )
    tell(changed, as_json)


@click.command()
@name_argument
@scope_options
@value_options
@if_version_option
@immediate_option
@json_option
@pass_client
def rotate(
    client: Client,
    name: str,
    scope: Scope[str],
    read_from: ReadFrom,
    if_version: int | None,
    immediate: bool,
    as_json: bool,
) -> None:
    """Add a version and use it; a rollout brings it to running containers. Without a value the server makes one."""
    new = read_value(read_from, prompt=None)
    found = client.secrets.find(name, scope)
    rotated = client.secrets.rotate(
        found.id, new.value, generate=new.generate, if_version=if_version, immediate=immediate
    )
    tell(rotated, as_json)


@click.command()
@click.argument("name")
@scope_options
@if_version_option
@click.option("--force", is_flag=True, help="Although something that is deployed uses it; what runs keeps its value.")
@approval_options
@yes_option
@pass_client
def delete(
    client: Client, name: str, scope: Scope[str], if_version: int | None, force: bool, asking: Asking, yes: bool
) -> None:
    """Delete a secret with all of its history. It cannot be brought back.

    Says first which deployments use it, and which secret they would get instead.
    """
    from overseer.cli.terminal import confirm

    view = client.secrets.find(name, scope)
    tell_usage(client.usage.of(view.id))
    if not yes:
        confirm(f"Delete {name} ({scope}) and its {view.version} version{'s' * (view.version != 1)} for good?")
    with_approval(
        client,
        asking,
        lambda why: client.approvals.ask("delete", why, secret_id=UUID(view.id)),
        lambda: client.secrets.delete(view.id, if_version=if_version, force=force),
    )
    say(f"deleted {name} ({scope})")

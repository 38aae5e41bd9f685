"""``overseer secret set``: a value to a secret that is there, or a new secret; many of them; or a value that a backend keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from overseer.cli.commands.secret_batch import batch_options, change_many
from overseer.cli.commands.secret_source import source_of
from overseer.cli.commands.secret_text import ReadFrom, if_version_option, immediate_option, tell
from overseer.cli.options import json_option, pass_client, scope_options
from overseer.cli.values import optional_name_argument, read_value, value_options
from overseer.core.errors import ApprovalRequired, Denied, Problem, Unavailable
from overseer.core.scopes import Scope

if TYPE_CHECKING:
    from overseer.client.api import Client
    from overseer.wire.secrets import SecretView

_STORE_ALONE: Final = "stores the version and leaves its use to 'overseer secret activate NAME VERSION --ask REASON'"


@click.command("set")
@optional_name_argument
@scope_options
@batch_options
@value_options
@click.option("--from", "source", metavar="BACKEND:REF[#FIELD]", help="Take the value from a backend from now on.")
@click.option("--sync", is_flag=True, help="With --from: compare on a schedule and roll new values out.")
@click.option("--create-only", is_flag=True, help="Refuse when the secret exists.")
@if_version_option
@click.option("--no-activate", is_flag=True, help="Add the version without using it yet.")
@immediate_option
@click.option("--description", help="What it is for (not secret).")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="A label (not secret); may be repeated.")
@json_option
@pass_client
def set_(  # noqa: PLR0912  # one branch for each way to a value
    client: Client,
    name: str | None,
    scope: Scope[str],
    read_from: ReadFrom,
    batch: str | None,
    source: str | None,
    sync: bool,
    create_only: bool,
    if_version: int | None,
    no_activate: bool,
    immediate: bool,
    description: str | None,
    labels: tuple[str, ...],
    as_json: bool,
) -> None:
    """Create a secret, or add a version to it.

    The value is asked for twice, hidden, unless --stdin, --file or --generate says where it comes from.

    With --batch many secrets change at once, all or nothing: each line of the file is a JSON object such as
    {"name": "db", "value": "…", "app": "shop"}. The options of the scope stand for what a line leaves out.
    """
    if batch is not None:
        alone = name is None and not any(read_from) and not any((create_only, if_version, no_activate, description, labels))
        if not alone:
            raise click.UsageError("--batch takes everything but the scope and --immediate from its lines")
        change_many(client, batch, scope, immediate=immediate, as_json=as_json)
        return
    if name is None:
        raise click.UsageError("give the name of the secret, or --batch FILE for many")
    if source is not None or sync:
        if source is None or any(read_from) or if_version is not None or no_activate or immediate:
            raise click.UsageError("--from BACKEND:REF goes with --sync, --create-only, --description and --label alone")
        tied = None if create_only else _find(client, name, scope)
        wanted = source_of(source, sync=sync)
        if tied is None:
            tell(client.backends.create_secret(name, wanted, scope, description or "", _labels(labels)), as_json)
        else:
            tell(client.backends.tie(tied.id, wanted), as_json)
        return
    if create_only and (if_version is not None or no_activate):
        raise click.UsageError("--create-only goes with neither --if-version nor --no-activate")
    if no_activate and immediate:
        raise click.UsageError("--no-activate and --immediate do not go together")
    marks = _labels(labels)
    new = read_value(read_from, prompt=f"value of {name} ({scope})")
    existing = None if create_only else _find(client, name, scope)
    if existing is not None:
        try:
            view = client.secrets.update(
                existing.id,
                new.value,
                generate=new.generate,
                activate=not no_activate,
                if_version=if_version,
                immediate=immediate,
            )
        except ApprovalRequired as error:
            if not no_activate:
                error.problems += (Problem("--no-activate", _STORE_ALONE, "store_alone"),)
            raise
        if description is not None or marks:
            view = _describe(client, view, description, marks)
    elif if_version is not None or no_activate:
        raise Unavailable(f"there is no secret {name} at exactly {scope} that could get a version, or you may not list it")
    else:
        view = client.secrets.create(
            name, new.value, generate=new.generate, scope=scope, description=description or "", labels=marks
        )
    tell(view, as_json)


def _find(client: Client, name: str, scope: Scope[str]) -> SecretView | None:
    try:
        return client.secrets.find(name, scope)
    except (Unavailable, Denied):  # who may write without listing still can create
        return None


def _describe(client: Client, view: SecretView, description: str | None, labels: dict[str, str]) -> SecretView:
    from msgspec import UNSET

    from overseer.wire.secrets import SecretPatch

    patch = SecretPatch(
        description=UNSET if description is None else description, labels={**view.labels, **labels} if labels else UNSET
    )
    return client.secrets.patch(view.id, patch)


def _labels(texts: tuple[str, ...]) -> dict[str, str]:
    labels = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise click.UsageError("write a label as KEY=VALUE")
        labels[key] = value
    return labels

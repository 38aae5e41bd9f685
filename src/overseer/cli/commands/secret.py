"""``overseer secret …``: a name means the secret of that name at exactly the scope that is given, ``--resolve`` aside."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING
from uuid import UUID

import click

from overseer.cli.approval_options import Asking, approval_options, with_approval
from overseer.cli.commands.secret_batch import batch_options, change_many
from overseer.cli.commands.secret_move import move
from overseer.cli.commands.secret_source import source_of, untie
from overseer.cli.commands.secret_transfer import export, import_
from overseer.cli.commands.secret_usage import stale, tell_usage, unused, usage
from overseer.cli.options import json_option, pass_client, scope_options, yes_option
from overseer.cli.output import moment, print_bytes, print_fields, print_json, print_table, say
from overseer.cli.values import name_argument, optional_name_argument, read_value, value_options
from overseer.core.errors import Denied, InvalidInput, Unavailable
from overseer.core.scopes import Scope

if TYPE_CHECKING:
    from overseer.client.api import Client
    from overseer.client.secrets import RevealedSecret
    from overseer.wire.secrets import ScopeView, SecretView

ReadFrom = tuple[bool, str | None, bool, str | None]
immediate_option = click.option("--immediate", is_flag=True, help="Use it at once and leave running containers as they are.")
if_version_option = click.option("--if-version", type=click.IntRange(min=1), metavar="N", help="Only if N is the newest version.")


@click.group()
def secret() -> None:
    """Set, get, list, rotate and delete secrets."""


secret.add_command(move)
secret.add_command(import_)
secret.add_command(export)
secret.add_command(untie)
secret.add_command(usage)
secret.add_command(unused)
secret.add_command(stale)


@secret.command("set")
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
            _tell(client.backends.create_secret(name, wanted, scope, description or "", _labels(labels)), as_json)
        else:
            _tell(client.backends.tie(tied.id, wanted), as_json)
        return
    if create_only and (if_version is not None or no_activate):
        raise click.UsageError("--create-only goes with neither --if-version nor --no-activate")
    if no_activate and immediate:
        raise click.UsageError("--no-activate and --immediate do not go together")
    marks = _labels(labels)
    new = read_value(read_from, prompt=f"value of {name} ({scope})")
    existing = None if create_only else _find(client, name, scope)
    if existing is not None:
        view = client.secrets.update(
            existing.id,
            new.value,
            generate=new.generate,
            activate=not no_activate,
            if_version=if_version,
            immediate=immediate,
        )
        if description is not None or marks:
            view = _describe(client, view, description, marks)
    elif if_version is not None or no_activate:
        raise Unavailable(f"there is no secret {name} at exactly {scope} that could get a version, or you may not list it")
    else:
        view = client.secrets.create(
            name, new.value, generate=new.generate, scope=scope, description=description or "", labels=marks
        )
    _tell(view, as_json)


@secret.command()
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


@secret.command("list")
@scope_options
@click.option("--name", metavar="NAME", help="Exactly this name.")
@click.option("--search", "q", metavar="TEXT", help="This text in the name or the description.")
@click.option("--label", metavar="KEY=VALUE", help="This label.")
@click.option("--exact", is_flag=True, help="Only secrets at exactly the scope that is given.")
@json_option
@pass_client
def list_(
    client: Client, scope: Scope[str], name: str | None, q: str | None, label: str | None, exact: bool, as_json: bool
) -> None:
    """List secrets, never their values."""
    from overseer.client.secrets import scope_kind

    found = client.secrets.list(
        name=name,
        q=q,
        label=label,
        app=scope.app,
        environment=scope.environment,
        node=scope.node,
        scope=scope_kind(scope) if exact else None,
    )
    views = list(found)
    if as_json:
        print_json(views)
        return
    print_table(
        ("NAME", "SCOPE", "ACTIVE", "NEWEST", "UPDATED", "DESCRIPTION"),
        [
            (v.name, _scope_text(v.scope), str(v.active_version), str(v.version), moment(v.updated_at), v.description)
            for v in views
        ],
        empty="no secret that you may list matches",
    )


@secret.command()
@click.argument("name")
@scope_options
@json_option
@pass_client
def info(client: Client, name: str, scope: Scope[str], as_json: bool) -> None:
    """Show what is known about a secret, never its value."""
    view = client.secrets.find(name, scope)
    if as_json:
        print_json(view)
        return
    print_fields(
        [
            ("name", view.name),
            ("scope", _scope_text(view.scope)),
            ("id", view.id),
            ("active version", str(view.active_version)),
            ("newest version", str(view.version)),
            ("description", view.description),
            ("labels", " ".join(f"{key}={value}" for key, value in sorted(view.labels.items()))),
            ("owner", view.owner),
            ("expires", moment(view.expires_at)),
            ("created", moment(view.created_at)),
            ("updated", moment(view.updated_at)),
        ]
    )


@secret.command()
@click.argument("name")
@scope_options
@json_option
@pass_client
def history(client: Client, name: str, scope: Scope[str], as_json: bool) -> None:
    """List the versions of a secret."""
    versions = list(client.secrets.versions(client.secrets.find(name, scope).id))
    if as_json:
        print_json(versions)
        return
    print_table(
        ("VERSION", "ACTIVE", "CREATED", "BY"),
        [(str(v.version), "yes" if v.active else "", moment(v.created_at), v.created_by or "") for v in versions],
    )


@secret.command()
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
    _tell(changed, as_json)


@secret.command()
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
    _tell(rotated, as_json)


@secret.command()
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


@secret.command()
@click.argument("name")
@scope_options
@json_option
@pass_client
def explain(client: Client, name: str, scope: Scope[str], as_json: bool) -> None:
    """Show which secret of a name is used at a scope, and which ones it shadows."""
    answer = client.secrets.explain(name, scope)
    if as_json:
        print_json(answer)
        return
    rows = [] if answer.winner is None else [("used", answer.winner)]
    rows += [("shadowed", view) for view in answer.shadowed]
    print_table(
        ("", "SCOPE", "ACTIVE", "UPDATED"),
        [(mark, _scope_text(view.scope), str(view.active_version), moment(view.updated_at)) for mark, view in rows],
        empty=f"no secret {name} applies at {scope}, or you may not list it",
    )


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


def _tell(view: SecretView, as_json: bool) -> None:
    if as_json:
        print_json(view)
        return
    use = "in use" if view.active_version == view.version else f"version {view.active_version} in use"
    say(f"{view.name} ({_scope_text(view.scope)}): newest version {view.version}, {use}")
    if view.rollout is not None:
        say(f"  a rollout is bringing another version to its containers: overseer rollout wait {view.rollout}")


def _scope_text(scope: ScopeView) -> str:
    return str(Scope(scope.app, scope.environment, scope.node))


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

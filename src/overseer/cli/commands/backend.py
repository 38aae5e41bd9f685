"""``overseer backend …``: the vaults that values come from. A credential is read from a file, stdin or a prompt."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from overseer.cli.options import DURATION, json_option, pass_client, scope_options, yes_option
from overseer.cli.output import moment, print_fields, print_json, print_line, print_table, say
from overseer.cli.values import read_credential
from overseer.core.durations import span
from overseer.core.errors import BackendRefused, InvalidInput
from overseer.core.scopes import Scope
from overseer.core.secret_value import SecretValue

if TYPE_CHECKING:
    from collections.abc import Callable

    from overseer.client.api import Client
    from overseer.wire.backends import BackendView

_TIMES = {
    "ttl": "Use a value so long without asking again; in the mode sync: compare so often.",
    "stale-if-error": "So long after that a value still serves while the backend is away.",
    "max-age": "Never longer than this in all.",
    "timeout": "Of one request.",
}


def _settings_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for name, text in reversed(_TIMES.items()):
        command = click.option(f"--{name}", type=DURATION, metavar="TIME", help=text)(command)
    command = click.option("--description", metavar="TEXT", help="What it is for (not secret).")(command)
    credential = "A credential from a file (- is standard input); without PATH it is asked for. May be repeated."
    command = click.option("--credential", "credentials", multiple=True, metavar="NAME[=PATH]", help=credential)(command)
    text = "A setting; @PATH as its value reads a file (a CA, say). May be repeated."
    return click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help=text)(command)


@click.group()
def backend() -> None:
    """Set up, test and list the vaults that values come from."""


@backend.command()
@click.argument("name")
@click.option("--kind", required=True, metavar="KIND", help="vault, infisical, aws-secrets-manager or azure-key-vault.")
@_settings_options
@json_option
@pass_client
def create(client: Client, name: str, kind: str, as_json: bool, **options: Any) -> None:
    """Set up a backend. It is not asked: 'overseer backend test' does that."""
    view = client.backends.create(
        name,
        kind,
        _settings(options["settings"]),
        _credentials(options["credentials"]),
        options["description"] or "",
        _times(options),
    )
    _tell(view, as_json)


@backend.command("list")
@json_option
@pass_client
def list_(client: Client, as_json: bool) -> None:
    """List backends, and how many secrets come from each. Never a credential."""
    found = list(client.backends.list())
    if as_json:
        print_json(found)
        return
    rows = [(one.name, one.kind, str(one.secrets), str(one.failing), one.description) for one in found]
    print_table(("NAME", "KIND", "SECRETS", "FAILING", "DESCRIPTION"), rows)


@backend.command()
@click.argument("name")
@json_option
@pass_client
def show(client: Client, name: str, as_json: bool) -> None:
    """Show a backend's settings, never a credential, and which of its secrets are not kept up to date any more."""
    view = client.backends.find(name)
    _tell(view, as_json)
    if not as_json and view.secrets:
        _tell_stopped(client, view.id)


@backend.command()
@click.argument("name")
@_settings_options
@json_option
@pass_client
def update(client: Client, name: str, as_json: bool, **options: Any) -> None:
    """Change a backend. Settings are given as a whole, and with the credentials: they may send them elsewhere."""
    view = client.backends.patch(
        client.backends.find(name).id,
        settings=_settings(options["settings"]) if options["settings"] else None,
        credentials=_credentials(options["credentials"]) if options["credentials"] else None,
        description=options["description"],
        times=_times(options),
    )
    _tell(view, as_json)


@backend.command()
@click.argument("name")
@json_option
@pass_client
def test(client: Client, name: str, as_json: bool) -> None:
    """Sign in to a backend and say what is wrong: name, TLS, credential, permission, path. Ends with 76 where something is."""
    found = client.backends.test(client.backends.find(name).id)
    if as_json:
        print_json(found)
    elif found.ok:
        say(f"{name} answers")
    if not found.ok:
        raise BackendRefused(f"backend {name} ({found.stage}): {found.message}")


@backend.command("list-refs")
@click.argument("name")
@click.argument("folder", default="")
@scope_options
@json_option
@pass_client
def list_refs(client: Client, name: str, folder: str, scope: Scope[str], as_json: bool) -> None:
    """List what is directly in FOLDER of a backend, never values, as far as secrets of the scope may come from it."""
    found = client.backends.refs(client.backends.find(name).id, folder, scope)
    if as_json:
        print_json(found)
        return
    for ref in found.refs:
        print_line(ref)


@backend.command()
@click.argument("name")
@yes_option
@pass_client
def delete(client: Client, name: str, yes: bool) -> None:
    """Delete a backend that no secret comes from."""
    found = client.backends.find(name)
    if not yes:
        from overseer.cli.terminal import confirm

        confirm(f"Delete the backend {name} with its credentials?")
    client.backends.delete(found.id)
    say(f"deleted backend {name}")


def _tell_stopped(client: Client, backend_id: str) -> None:
    """Secrets that the server does not keep up to date any more, for whoever tied them may not."""
    stopped = [one for one in client.backends.secrets(backend_id) if one.stopped]
    if stopped:
        say("no longer kept up to date, as whoever tied them may not (tie them again: overseer secret set NAME --from … --sync):")
        rows = [(one.name, one.ref, one.set_by or "(deleted)", one.stopped) for one in stopped]
        print_table(("SECRET", "REFERENCE", "SET BY", "WHY"), rows)


def _settings(given: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for one in given:
        name, equals, text = one.partition("=")
        if not equals:
            raise InvalidInput("write a setting as --set NAME=VALUE")
        found[name] = _text_file(text[1:]) if text.startswith("@") else text
    return found


def _text_file(path: str) -> str:
    try:
        return Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        raise InvalidInput(f"{path} cannot be read as text") from None


def _credentials(given: tuple[str, ...]) -> dict[str, SecretValue]:
    found = {}
    for one in given:
        name, _, path = one.partition("=")
        stdin = path == "-"
        found[name] = read_credential(
            path if path and not stdin else None, stdin, prompt=f"{name}", instead=f"give --credential {name}=PATH"
        )
    return found


def _times(options: dict[str, Any]) -> dict[str, int]:
    names = [name.replace("-", "_") for name in _TIMES]
    return {name: options[name] for name in names if options[name] is not None}


def _tell(view: BackendView, as_json: bool) -> None:
    if as_json:
        print_json(view)
        return
    fields = [("id", view.id), ("name", view.name), ("kind", view.kind), ("description", view.description)]
    fields += [(name, text.splitlines()[0] + " …" if "\n" in text else text) for name, text in view.settings.items() if text]
    fields += [(name, span(getattr(view, name))) for name in ("ttl", "stale_if_error", "max_age", "timeout")]
    fields += [("secrets", f"{view.secrets}, {view.failing} failing"), ("changed", moment(view.updated_at))]
    print_fields(fields)

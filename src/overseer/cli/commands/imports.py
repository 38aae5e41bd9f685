"""``overseer import …``: what was imported, and taking it back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from overseer.cli.options import json_option, pass_client
from overseer.cli.output import moment, print_fields, print_json, print_line, print_table, say
from overseer.core.scopes import Scope

if TYPE_CHECKING:
    from overseer.client.api import Client
    from overseer.wire.imports import ImportView


@click.group("import")
def import_() -> None:
    """List, show and undo imports of secrets.

    'overseer secret import' makes them.
    """


@import_.command("list")
@json_option
@pass_client
def list_(client: Client, as_json: bool) -> None:
    """List your imports, and those of which you may list every secret, newest first."""
    found = list(client.imports.list())
    if as_json:
        print_json(found)
        return
    rows = [
        (one.id, moment(one.created_at), one.created_by, _scope(one), one.origin, str(len(one.items)), _state(one))
        for one in found
    ]
    print_table(("ID", "AT", "BY", "SCOPE", "FROM", "SECRETS", "STATE"), rows, empty="there are no imports")


@import_.command()
@click.argument("import_id", metavar="ID")
@json_option
@pass_client
def show(client: Client, import_id: str, as_json: bool) -> None:
    """Show an import, and what an undo would take back."""
    found = client.imports.get(import_id)
    if as_json:
        print_json(found)
        return
    print_fields([("from", found.origin), ("scope", _scope(found)), ("at", moment(found.created_at)), ("state", _state(found))])
    print_line("")
    rows = [(one.name, str(one.version), str(one.former_version or "(made)"), one.state) for one in found.items]
    print_table(("NAME", "VERSION", "BEFORE", "SINCE"), rows)


@import_.command()
@click.argument("import_id", metavar="ID")
@click.option("--immediate", is_flag=True, help="Leave running containers with what they have.")
@json_option
@pass_client
def undo(client: Client, import_id: str, immediate: bool, as_json: bool) -> None:
    """Take an import back: former versions become active again, and what it made is deleted, where nothing changed since."""
    undone = client.imports.undo(import_id, immediate=immediate)
    if as_json:
        print_json(undone)
        return
    print_table(("NAME", "DONE", "WHY"), [(one.name, one.done, one.why) for one in undone.results])
    kept = sum(one.done == "kept" for one in undone.results)
    taken = len(undone.results) - kept
    say(f"took back {taken} secret{'s' * (taken != 1)}" + (f", left {kept} as they are" if kept else ""))


def _scope(view: ImportView) -> str:
    return str(Scope(view.scope.app, view.scope.environment, view.scope.node))


def _state(view: ImportView) -> str:
    return "in place" if view.undone_at is None else f"undone {moment(view.undone_at)}"

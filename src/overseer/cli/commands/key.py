"""``overseer key …``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from overseer.cli.options import DURATION, json_option, pass_client, yes_option
from overseer.cli.output import moment, print_fields, print_json, print_line, print_table, say
from overseer.core.errors import DecryptionFailed

if TYPE_CHECKING:
    from overseer.client.api import Client
    from overseer.wire.keys import KeyringView, RotationView, UnreadableRow


@click.group()
def key() -> None:
    """Show, rotate and verify the keys that encrypt the store."""


@key.command()
@json_option
@pass_client
def status(client: Client, as_json: bool) -> None:
    """Show the keys, how used up they are, and how far a rotation is. Never a key.

    The key-encryption key (kek) wraps the data key of each stored row; ROWS LEFT are those under an older term. The others
    sign, or prove what was stored.
    """
    view = client.keys.status()
    if as_json:
        print_json(view)
        return
    print_fields(
        [
            ("newest term", f"{view.newest_term}, which encrypts what is new"),
            ("next term", _next(view)),
            ("last rotation", "none yet" if view.rotation is None else _rotation(view.rotation)),
        ]
    )
    print_line("")
    print_table(("PURPOSE", "TERM", "CREATED", "ENCRYPTIONS", "ROWS LEFT"), _keys(view))


@key.command()
@click.option("--no-wait", is_flag=True, help="Begin it and return: the servers carry it out.")
@click.option("--timeout", type=DURATION, default="1h", show_default=True, metavar="TIME", help="Wait no longer.")
@json_option
@pass_client
def rotate(client: Client, no_wait: bool, timeout: int, as_json: bool) -> None:
    """Make a new key-encryption key and wrap every data key anew, while everything goes on.

    Values are not touched, and nothing needs a restart. It takes at least 15 seconds, and goes on without this command.
    """
    view: RotationView | None = client.keys.rotate()
    if view is not None:
        say(f"term {view.term} encrypts from now on; {view.remaining} rows are wrapped anew")
    if not no_wait:
        view = client.keys.wait(timeout, seen=_Progress().tell)
    if as_json:
        print_json(view)
    elif view is not None:
        say(_rotation(view))
    if view is not None and view.unreadable:
        raise DecryptionFailed(f"{view.unreadable} row(s) do not open and stay as they are: 'overseer key verify' names them")


@key.command()
@json_option
@pass_client
def verify(client: Client, as_json: bool) -> None:
    """Open every stored row and name those that do not open; no value is shown. Ends with 70 where there is one."""
    checked = 0
    found: list[UnreadableRow] = []
    for part in client.keys.verify():
        checked += part.checked
        found += part.unreadable
        if part.next_cursor is not None:
            say(f"  {checked} rows")
        if not as_json:
            for row in part.unreadable:
                print_line(f"{row.kind}  {row.id or '-'}  {row.code}  {row.what}")
    if as_json:
        print_json({"checked": checked, "unreadable": found})
    if found:
        raise DecryptionFailed(f"{len(found)} of {checked} rows do not open: restore them from a backup, or delete them")
    say(f"all {checked} rows open")


@key.command()
@click.argument("term", type=click.IntRange(min=1), metavar="TERM")
@yes_option
@json_option
@pass_client
def retire(client: Client, term: int, yes: bool, as_json: bool) -> None:
    """Delete an old term of the key-encryption key that nothing uses, for good.

    A single row that is put back from an older backup then does not open; a whole backup brings its own copy of the key.
    """
    from overseer.cli.terminal import confirm

    if not yes:
        confirm(f"Delete term {term} for good?")
    client.keys.retire(term)
    if as_json:
        print_json({"term": term})
    say(f"term {term} is deleted")


class _Progress:
    """One line of talk where something changed."""

    def __init__(self) -> None:
        self._said = ""

    def tell(self, view: RotationView) -> None:
        line = f"  {view.remaining} left" if view.remaining else "  waiting until no server can be behind"
        if line != self._said:
            say(line)
        self._said = line


def _keys(view: KeyringView) -> list[tuple[str, ...]]:
    return [
        (
            one.purpose,
            str(one.term),
            moment(one.created_at),
            str(one.encryptions_reserved) if one.purpose == "kek" else "",
            "" if one.rows is None else str(one.rows),
        )
        for one in view.keys
    ]


def _next(view: KeyringView) -> str:
    after = f"after {view.encryptions_allowed} encryptions"
    return f"by itself {after}" if view.rotation_due_at is None else f"by itself on {moment(view.rotation_due_at)}, or {after}"


def _rotation(view: RotationView) -> str:
    counts = f"{view.rewrapped} data keys wrapped anew"
    if view.state == "running":
        return f"to term {view.term} since {moment(view.started_at)}: {counts}, {view.remaining} left"
    tail = f", {view.unreadable} do not open" if view.unreadable else ""
    return f"to term {view.term} finished {moment(view.finished_at)}: {counts}{tail}"

"""``overseer audit export`` and ``erase-text``."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

import click

from overseer.cli.audit_filters import filter_options, moment_of, period_options
from overseer.cli.commands.audit_log import export_jsonl
from overseer.cli.options import json_option, pass_client, yes_option
from overseer.cli.output import print_json, say
from overseer.core.errors import InvalidInput

if TYPE_CHECKING:
    from overseer.client.api import Client


@click.command("export")
@click.option(
    "--format", "form", type=click.Choice(["jsonl", "csv"]), default="jsonl", show_default=True, help="How rows are written."
)
@click.option("--readable", is_flag=True, help="With the fields of each row beside its canonical bytes; verifying takes longer.")
@click.option(
    "--file", "file", type=click.Path(path_type=Path, dir_okay=False), metavar="PATH",
    help="Write to a file (replaced at once) instead of stdout.",
)  # fmt: skip
@filter_options
@period_options
@pass_client
def export(
    client: Client, form: str, readable: bool, file: Path | None, since: str | None, until: str | None, **filters: str | None
) -> None:
    """Export audit rows.

    Without filters, JSON Lines hold every sealed row so that 'audit verify' can check them anywhere, oldest first. CSV, and
    JSON Lines with a filter, hold the rows that match, newest first, to be read by people and programs: they prove nothing.
    """
    chosen = {**filters, "since": moment_of(since), "until": moment_of(until)}
    whole = form == "jsonl" and not any(chosen.values())
    if readable and not whole:
        raise InvalidInput("--readable is for the export that can be verified: leave filters and --format away")

    def write(target: BinaryIO) -> int:
        if whole:
            return export_jsonl(client, target, readable=readable)
        count = 0
        for part in client.audit_log.export_rows(form, **chosen):
            target.write(part.text.encode())
            count += part.rows
        return count

    count = write(sys.stdout.buffer) if file is None else _into(file, write)
    sys.stdout.buffer.flush()
    say(f"{count} rows")


@click.command("erase-text")
@click.option("--actor", metavar="WHO", help="Beside every row of this user or service account: its name, or its id.")
@click.option("--row", metavar="ID", help="Beside this row: its id, as 'audit list --json' shows it.")
@yes_option
@json_option
@pass_client
def erase_text(client: Client, actor: str | None, row: str | None, yes: bool, as_json: bool) -> None:
    """Erase reasons and user agents beside audit rows. The rows stay, and the log still verifies."""
    if (actor is None) == (row is None):
        raise InvalidInput("give exactly one of --actor and --row")
    if not yes:
        whose = f"of {actor}" if actor else f"of row {row}"
        from overseer.cli.terminal import confirm

        confirm(f"Erase the free text {whose} for good?")
    erased = client.audit_log.erase_texts(actor=actor, row=row)
    if as_json:
        print_json(erased)
    else:
        say(f"{erased.erased} texts erased")


def _into(file: Path, write: Callable[[BinaryIO], int]) -> int:
    """Write a file so that there is never half of it; only its owner may read it."""
    beside = file.with_name(f".{file.name}.new")
    try:
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "wb") as target:
            count = write(target)
        beside.replace(file)
        return count
    except OSError as error:
        raise InvalidInput(f"{file} cannot be written: {error.strerror}") from None
    finally:
        beside.unlink(missing_ok=True)


COMMANDS: Final = (export, erase_text)

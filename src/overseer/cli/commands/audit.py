"""``overseer audit …``."""

from __future__ import annotations

import sys
import time
from itertools import islice
from typing import TYPE_CHECKING

import click

from overseer.cli.audit_filters import filter_options, moment_of, period_options
from overseer.cli.commands import audit_log, audit_rows
from overseer.cli.options import json_option, pass_client
from overseer.cli.output import moment, print_bytes, print_json, print_line, print_table, printable

if TYPE_CHECKING:
    from overseer.client.api import Client
    from overseer.wire.audit import AuditView

@click.group()
def audit() -> None:
    """Read, export and verify the audit log."""


@audit.command("list")
@filter_options
@period_options
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, metavar="N", help="At most N rows.")
@json_option
@pass_client
def list_(client: Client, since: str | None, until: str | None, limit: int, as_json: bool, **filters: str | None) -> None:
    """List what happened, newest first."""
    pages = client.audit(limit=min(limit, 100), since=moment_of(since), until=moment_of(until), **filters)
    rows = list(islice(pages, limit))
    if as_json:
        print_json(rows)
        return
    print_table(
        ("TIME", "ACTOR", "ACTION", "OUTCOME", "RESOURCE", "SCOPE"),
        [(moment(r.at), r.actor, r.action, _outcome(r), _resource(r), _scope(r)) for r in rows],
        empty="nothing that you may see matches",
    )


@audit.command()
@filter_options
@json_option
@pass_client
def tail(client: Client, as_json: bool, **filters: str | None) -> None:
    """Print what happens from now on, oldest first, until Ctrl-C. With --json one row a line."""
    import msgspec

    last = next((row.id for row in client.audit(limit=1, **filters)), None)
    while True:
        time.sleep(1.0)
        fresh = _rows_after(client, last, filters)
        for row in fresh:
            if as_json:
                print_bytes(msgspec.json.encode(row) + b"\n")
            else:
                print_line(
                    f"{moment(row.at)}  {printable(row.actor)}  {row.action}  {_outcome(row)}  "
                    f"{printable(_resource(row))}  {printable(_scope(row))}".rstrip()
                )
        if fresh:
            last = fresh[-1].id
            sys.stdout.flush()


for _command in (*audit_log.COMMANDS, *audit_rows.COMMANDS):
    audit.add_command(_command)


def _rows_after(client: Client, last: str | None, filters: dict[str, str | None]) -> list[AuditView]:
    """The rows that came after ``last``, oldest first."""
    fresh = []
    for row in client.audit(limit=100, **filters):
        if row.id == last:
            break
        fresh.append(row)
    return fresh[::-1]


def _outcome(row: AuditView) -> str:
    repeats = f" ×{row.repeats}" if row.repeats > 1 else ""
    return (f"{row.outcome}: {row.code}" if row.code else row.outcome) + repeats


def _resource(row: AuditView) -> str:
    version = f"@{row.version}" if row.version is not None else ""
    return f"{row.resource_kind} {row.resource_name}{version}".strip()


def _scope(row: AuditView) -> str:
    parts = (("app", row.app), ("env", row.environment), ("node", row.node))
    return " ".join(f"{label}={part}" for label, part in parts if part)

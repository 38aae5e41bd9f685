"""``overseer access …``: why somebody may or may not, and who may what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from overseer.cli.options import json_option, pass_client, scope_options
from overseer.cli.output import print_bytes, print_json, print_line, print_table

if TYPE_CHECKING:
    from overseer.client.api import Client
    from overseer.core.scopes import Scope
    from overseer.wire.reviews import AccessEntry, AccessExplanation

#: The exit code of "no": that of an error which says so.
NO: Final = 77
_LINES_AT_ONCE: Final = 1000
_REASONS: Final = {
    "dormant_binding": "there is a binding for an emergency, which is not active",
    "expired_binding": "the binding has expired",
    "foreign_network": "no live token works from that address",
    "no_binding": "no binding gives it",
    "no_live_token": "it has no live token",
    "principal_disabled": "it is disabled",
}
_COLUMNS: Final = ("secret", "app", "environment", "node", "principal", "kind", "permissions", "in_an_emergency", "via")


@click.group()
def access() -> None:
    """Ask who may do what with secrets, and why."""


@access.command("explain")
@click.argument("who")
@click.argument("permission")
@click.argument("secret")
@scope_options
@click.option("--peer", metavar="ADDRESS", help="Ask whether a token of it works from this address, too.")
@json_option
@click.pass_context
def explain(
    ctx: click.Context, who: str, permission: str, secret: str, scope: Scope[str], peer: str | None, as_json: bool
) -> None:
    """Say whether WHO (a name, or 'me') may do PERMISSION with SECRET at exactly that scope, and why. Ends with 0 or 77."""
    from overseer.cli.options import Connection
    from overseer.wire.reviews import AccessExplainRequest

    request = AccessExplainRequest(
        principal=who,
        permission=permission,
        name=secret,
        app=scope.app,
        environment=scope.environment,
        node=scope.node,
        peer=peer,
    )
    answer = ctx.ensure_object(Connection).client().access.explain(request)
    if as_json:
        print_json(answer)
    else:
        _show(answer)
    ctx.exit(0 if answer.allowed else NO)


def _show(answer: AccessExplanation) -> None:
    verdict = "yes" if answer.allowed else "no: " + "; ".join(_REASONS.get(one, one) for one in answer.reasons)
    print_line(f"{answer.principal} {answer.permission} {answer.name}: {verdict}")
    print_table(
        ("BINDING", "ROLE", "THROUGH", "APP", "ENV", "NODE", "NAME", "LACKS"),
        [
            (
                one.binding.id,
                one.binding.role,
                "itself" if one.group is None else f"group {one.group}",
                one.binding.app,
                one.binding.environment,
                one.binding.node,
                one.binding.name,
                ", ".join(one.lacks) or "nothing",
            )
            for one in answer.bindings
        ],
        empty="no binding to show",
    )


@access.command("review")
@scope_options
@click.option("--permission", metavar="PERMISSION", help="Only who may do this (default: any permission on secrets).")
@click.option("--principal", metavar="NAME", help="Only what this user or service account may do.")
@click.option("--name", metavar="PATTERN", help="Only secrets of this name; a prefix ends in '*'.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV (RFC 4180), safe to open in a spreadsheet.")
@json_option
@pass_client
def review(
    client: Client,
    scope: Scope[str],
    permission: str | None,
    principal: str | None,
    name: str | None,
    as_csv: bool,
    as_json: bool,
) -> None:
    """List who may do what with each secret that you may review, now and in an emergency."""
    if as_csv and as_json:
        raise click.UsageError("one of --csv and --json")
    entries = client.access.review(
        app=scope.app, environment=scope.environment, node=scope.node, permission=permission, principal=principal, name=name
    )
    if as_csv:
        from overseer.core.csv_text import csv_line

        lines = [csv_line(_COLUMNS)]
        for entry in entries:
            lines.append(csv_line(_cells(entry)))
            if len(lines) == _LINES_AT_ONCE:
                print_bytes("".join(lines).encode())
                lines.clear()
        print_bytes("".join(lines).encode())
    elif as_json:
        print_json(list(entries))
    else:
        print_table([one.upper().replace("_", " ") for one in _COLUMNS], map(_cells, entries), empty="nobody may do anything")


def _cells(entry: AccessEntry) -> tuple[str, ...]:
    via = (one.role if one.group is None else f"{one.role} (group {one.group})" for one in entry.via)
    return (
        entry.secret,
        entry.app or "",
        entry.environment or "",
        entry.node or "",
        entry.principal,
        entry.kind.replace("_", " "),
        " ".join(entry.permissions),
        " ".join(entry.dormant),
        ", ".join(dict.fromkeys(via)),
    )

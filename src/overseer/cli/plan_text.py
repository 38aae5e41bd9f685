"""A plan as people read it: what becomes of each service and why, each reference's versions, what lint says, and the digest."""

from __future__ import annotations

import sys

from overseer.cli.output import moment, paint, print_line, print_table, printable
from overseer.core.scopes import Scope
from overseer.wire.plans import PlannedReference, PlannedService, PlanView
from overseer.wire.secrets import ScopeView

_SIGNS = {"create": "+", "recreate": "~", "restart": "~", "reload": "~", "update": "~", "nothing": "=", "remove": "-"}
_COLOURS = {
    "create": "green", "recreate": "yellow", "restart": "yellow", "update": "yellow", "reload": "cyan", "nothing": "dim",
    "remove": "red", "keep": "dim",
}  # fmt: skip
_SEVERITIES = {"error": "red", "warning": "yellow", "note": "cyan"}


def print_plan(plan: PlanView) -> None:
    """All of it, on stdout."""
    where = f"{plan.app}{f' ({plan.environment})' if plan.environment else ''} on {plan.node}"
    where += "" if plan.target == "compose" else f", {printable(plan.target)}"
    print_line(f"{paint(where, 'bold', sys.stdout)}: project {plan.project}, bundle {plan.bundle[:12]}")
    running = plan.running
    if running is None:
        print_line("nothing of it runs there")
    else:
        print_line(f"compared with deployment {running.deployment} of {moment(running.finished_at)}")
    for note in plan.notes:
        print_line(f"{paint('note:', 'yellow', sys.stdout)} {printable(note)}")
    print_line("")
    width = max((len(printable(one.service)) for one in plan.services), default=0)
    for one in plan.services:
        _print_service(one, width)
    if plan.references:
        print_line("")
        print_table(
            ("REFERENCE", "VERSION", "FROM", "SHADOWS", "SERVICES", "ON DISK"),
            [_reference(one) for one in plan.references],
        )
    if plan.swarm_secrets:
        print_line("")
        for secret in plan.swarm_secrets:
            change = paint(secret.change.ljust(6), _COLOURS.get(secret.change, "bold"), sys.stdout)
            print_line(f"  {change}  Swarm secret {printable(secret.name)}")
    if plan.findings:
        print_line("")
        for finding in plan.findings:
            severity = paint(finding.severity, _SEVERITIES.get(finding.severity, "bold"), sys.stdout)
            print_line(f"{printable(finding.place)}: {severity} {finding.rule} {printable(finding.message)}")
    print_line("")
    print_line(f"{_summary(plan)}; plan {plan.digest}")


def _print_service(one: PlannedService, width: int) -> None:
    effect = one.effect + ("" if one.certain else "?")
    sign = paint(_SIGNS.get(one.effect, "?"), _COLOURS.get(one.effect, "bold"), sys.stdout)
    shown = paint(effect.ljust(9), _COLOURS.get(one.effect, "bold"), sys.stdout)
    reasons = [printable(reason) for reason in one.because]
    print_line(f"  {sign} {printable(one.service).ljust(width)}  {shown}  {reasons[0] if reasons else ''}".rstrip())
    for reason in reasons[1:]:
        print_line(f"{' ' * (width + 17)}{reason}")


def _reference(one: PlannedReference) -> tuple[str, ...]:
    version = {
        "added": f"-> {one.after}",
        "changed": f"{one.before} -> {one.after}",
        "removed": f"{one.before} ->",
        "same": f"{one.after}",
    }.get(one.change, "")
    return (
        one.reference,
        version + (" (another secret)" if one.replaced else ""),
        _scope(one.scope),
        ", ".join(_scope(shadowed.scope) for shadowed in one.shadows),
        " ".join(one.services),
        "persists" if one.persists else "no",
    )


def _scope(scope: ScopeView | None) -> str:
    return "" if scope is None else str(Scope(scope.app, scope.environment, scope.node))


def _summary(plan: PlanView) -> str:
    counts: dict[str, int] = {}
    for one in plan.services:
        if one.effect != "nothing":
            counts[one.effect] = counts.get(one.effect, 0) + 1
    said = ", ".join(f"{count} to {effect}" for effect, count in counts.items())
    if plan.changes:
        return said or "only files change, in place"
    sure = all(one.certain for one in plan.services)
    return "nothing would change" + ("" if sure else ", as far as can be said without Compose")

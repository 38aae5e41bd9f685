"""What lint found, as people read it: one line a finding in the form that editors and problem matchers know, then what to do.

The findings are data and go to stdout; what to do about each rule, and the count, are talk and go to stderr. No source line is
quoted: it may hold the secret that the finding is about.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from overseer.cli.output import paint, print_line, printable, say

if TYPE_CHECKING:
    from overseer.compose.findings import Finding

#: From the worst to the mildest.
SEVERITIES: Final = ("error", "warning", "note")
_COLOURS: Final = {"error": "red", "warning": "yellow", "note": "cyan"}


def print_findings(findings: Sequence[Finding], *, projects: int) -> None:
    """The whole report."""
    for finding in findings:
        print_line(_line(finding))
    sys.stdout.flush()
    if findings:
        _say_what_to_do(findings)
    _say_count(findings, projects)


def reaches(findings: Sequence[Finding], level: str) -> bool:
    """True where a finding is at least as bad as ``level`` (a severity, or ``never``)."""
    worst = SEVERITIES[: SEVERITIES.index(level) + 1] if level in SEVERITIES else ()
    return any(finding.severity.value in worst for finding in findings)


def _line(finding: Finding) -> str:
    severity = paint(finding.severity.value, _COLOURS[finding.severity.value], sys.stdout)
    place = paint(printable(finding.place), "bold", sys.stdout)
    mend = paint(" (--fix mends it)", "dim", sys.stdout) if finding.fixable else ""
    return f"{place}: {severity} {finding.rule} {printable(finding.message)}{mend}"


def _say_what_to_do(findings: Sequence[Finding]) -> None:
    from overseer.compose.findings import RULES

    say("")
    for rule in sorted({finding.rule for finding in findings}):
        say(f"{paint(rule, 'bold', sys.stderr)} {RULES[rule].help}")
    say("")


def _say_count(findings: Sequence[Finding], projects: int) -> None:
    counts = {kind: sum(finding.severity.value == kind for finding in findings) for kind in SEVERITIES}
    said = [paint(f"{count} {kind}{'s' * (count != 1)}", _COLOURS[kind], sys.stderr) for kind, count in counts.items() if count]
    where = f" in {projects} projects" if projects != 1 else ""
    fixable = sum(finding.fixable for finding in findings)
    mend = f"; --fix mends {fixable}" if fixable else ""
    say((", ".join(said) or "nothing found") + where + mend)

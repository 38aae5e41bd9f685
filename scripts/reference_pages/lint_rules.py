"""The rules of ``overseer compose lint``."""

from __future__ import annotations

from overseer.compose.findings import RULES, Severity
from scripts.reference_pages.markdown import Page, code, page, prose, table

_SEVERITIES = {
    Severity.ERROR: "fails a check",
    Severity.WARNING: "should be looked at",
    Severity.NOTE: "is for knowing",
}


def build() -> Page:
    """The page; a rule without a summary or a help text is a complaint, and so is a severity that is not explained."""
    complaints = [f"lint rule {rule.id}: no summary or help" for rule in RULES.values() if not (rule.summary and rule.help)]
    complaints += [f"severity {one}: no meaning in {__name__}" for one in Severity if one not in _SEVERITIES]
    meanings = "; ".join(f"{code(one)} {text}" for one, text in _SEVERITIES.items())
    parts = [
        f"An id keeps its meaning for ever. {meanings}. No message holds a value.",
        table(
            ("Rule", "Name", "Severity", "What it finds", "What to do"),
            [
                (code(rule.id), code(rule.name), rule.severity.value, _with_references(rule.summary), _with_references(rule.help))
                for rule in RULES.values()
            ],
        ),
    ]
    return page("Lint rules", parts, complaints)


def _with_references(text: str) -> str:
    """Prose in which ``${SECRET:name}`` stands as code."""
    return prose(text.replace("${SECRET:name}", "`${SECRET:name}`"))

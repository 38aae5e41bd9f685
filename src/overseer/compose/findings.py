"""What lint says: rules with stable ids, findings, and their forms for programs (JSON, SARIF 2.1.0, Code Quality).

Evolution rule: an id keeps its meaning for ever; a rule that goes leaves its id unused; severities may change in a release that
says so.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final
from urllib.parse import quote


class Severity(StrEnum):
    """``error`` fails a check, ``warning`` should be looked at, ``note`` is for knowing."""

    ERROR = "error"
    NOTE = "note"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. ``help`` says what to do."""

    id: str
    name: str
    severity: Severity
    summary: str
    help: str


_E, _N, _W = Severity.ERROR, Severity.NOTE, Severity.WARNING

RULES: Final = {
    rule.id: rule
    for rule in (
        Rule("OVS001", "plaintext-secret", _E, "A secret stands in the file as plain text",
             "Store it and write ${SECRET:name}; then change the value: whoever could read the file has it."),
        Rule("OVS002", "reference-in-metadata", _E, "A reference ends in metadata: labels, image, build or container name",
             "Give the value to the container as a file or through its environment."),
        Rule("OVS003", "reference-in-arguments", _W, "A reference ends in a command, a healthcheck, an option or other kept text",
             "Let the program read the value from a file below /run/secrets."),
        Rule("OVS004", "unmentioned-secret", _W, "A service receives a secret that its own definition never mentions",
             "Split the shared env_file or anchor, so that each service gets only its own secrets."),
        Rule("OVS005", "file-variable-available", _W, "The image can read this variable from a file",
             "Use the variable's file form and a secret below /run/secrets: nothing is kept on the node's disk."),
        Rule("OVS006", "single-file-bind", _N, "A secret is mounted as a single file, so a new value needs a restart",
             "Mount it below /run/secrets: the directory is mounted whole and changes in place."),
        Rule("OVS007", "env-file-secret", _N, "An env_file holds a reference; every service that reads the file receives it",
             "Name the secret in the environment of the service that needs it, or use a file."),
        Rule("OVS008", "plain-secret-variable", _W, "SECRET is used as a plain variable of Compose",
             "A reference is written ${SECRET:name}; rename the variable if it is meant."),
        Rule("OVS009", "refused-reference", _E, "A reference cannot be used as it is written",
             "Follow the message; the language is described in the reference of the Compose language."),
        Rule("OVS010", "environment-persists", _N, "A secret in the environment is kept on the node's disk with the container",
             "Prefer a file below /run/secrets where the program can read one."),
        Rule("OVS011", "literal-in-env-file", _W, "The text of a reference stands where nothing is replaced",
             "In an env_file single quotes and format: raw keep the text as it is; use double quotes."),
        Rule("OVS012", "command-as-text", _W, "A reference stands in a command that is split like a shell",
             "Write the command as a list, so that any value stays one argument."),
        Rule("OVS013", "unavailable-secret", _E, "A secret is not available where the project is to be deployed (with --app)",
             "Set it for that place, or follow the message."),
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding. ``message`` never holds a value; ``fixable`` where ``fixes.fix_file`` can help."""

    rule: str
    file: str
    line: int
    column: int
    message: str
    service: str = ""
    fixable: bool = False

    @property
    def severity(self) -> Severity:
        """The severity of its rule."""
        return RULES[self.rule].severity

    @property
    def place(self) -> str:
        """``file:line:column``."""
        return f"{self.file}:{self.line}:{self.column}"

    def __str__(self) -> str:
        return f"{self.place}: {self.severity.value} {self.rule} {self.message}"

    def as_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "rule": self.rule,
            "name": RULES[self.rule].name,
            "severity": self.severity.value,
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "message": self.message,
            "service": self.service or None,
            "fixable": self.fixable,
        }


def sarif(findings: Sequence[Finding], version: str) -> dict[str, Any]:
    """The findings as a SARIF 2.1.0 log, for code scanning; ``version`` is the program's."""
    order = {rule: number for number, rule in enumerate(RULES)}
    rules = [
        {
            "id": rule.id,
            "name": rule.name,
            "shortDescription": {"text": rule.summary},
            "help": {"text": rule.help},
            "defaultConfiguration": {"level": rule.severity.value},
            "properties": {"tags": ["security"]},
        }
        for rule in RULES.values()
    ]
    results = [
        {
            "ruleId": finding.rule,
            "ruleIndex": order[finding.rule],
            "level": finding.severity.value,
            "message": {"text": finding.message},
            "partialFingerprints": {"overseerLint/v1": mark},
            "locations": [
                {
                    "physicalLocation": {
                        "artifactLocation": _artifact(finding.file),
                        "region": {"startLine": finding.line, "startColumn": finding.column},
                    }
                }
            ],
        }
        for finding, mark in zip(findings, fingerprints(findings), strict=True)
    ]
    driver = {"name": "overseer", "version": version, "rules": rules}
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}],
    }


def code_quality(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """The findings as a Code Quality report of GitLab (the part of Code Climate's format that it reads)."""
    severities = {Severity.ERROR: "critical", Severity.WARNING: "minor", Severity.NOTE: "info"}
    return [
        {
            "description": f"{finding.rule} {finding.message}",
            "check_name": RULES[finding.rule].name,
            "fingerprint": mark,
            "severity": severities[finding.severity],
            "location": {"path": finding.file, "lines": {"begin": finding.line}},
        }
        for finding, mark in zip(findings, fingerprints(findings), strict=True)
    ]


def fingerprints(findings: Iterable[Finding]) -> list[str]:
    """A mark for each finding that stays when lines move: of its rule, file and message, and how often those came before."""
    seen: Counter[tuple[str, str, str]] = Counter()
    marks = []
    for finding in findings:
        same = (finding.rule, finding.file, finding.message)
        marks.append(hashlib.sha256("\0".join([*same, str(seen[same])]).encode()).hexdigest()[:32])
        seen[same] += 1
    return marks


def _artifact(file: str) -> dict[str, str]:
    """A path as a URI: relative ones to the root of the sources, as scanners expect them."""
    path = quote(file, safe="/")
    return {"uri": f"file://{path}"} if file.startswith("/") else {"uri": path, "uriBaseId": "%SRCROOT%"}

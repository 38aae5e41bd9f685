"""Errors: code, HTTP status, exit code."""

from __future__ import annotations

from overseer.cli.commands.help import exit_codes
from overseer.core.errors import Unreachable, error_classes
from scripts.reference_pages.markdown import Page, code, page, prose, table
from scripts.reference_pages.problem_codes import problem_codes

_INTERNAL = "A fault of Overseer itself; the server's log has it under the request id."
_EXIT = (
    "They follow `sysexits.h`. `overseer run` ends with the code of the command that it ran. `overseer compose lint` ends with 1 "
    "where a finding is at or above `--fail-on` (default `error`), `overseer compose diff` with 2 where versions would change: "
    "then stdout shows them, which a wrong command line never does. `overseer compose render` prints all or nothing: 0, or 65 "
    "with every problem on stderr."
)
_FORM = """Over HTTP an error is `application/problem+json` (RFC 9457): `type`, `title`, `status`, `detail`, `code`,
`request_id`, and `problems`, the complete list with a `place`, a `rule` and a `code` each. `detail` and `rule` say what to do
next; neither ever holds a value. `current_version` comes with 412; `retry_after` and the header `Retry-After` come with 429 and
503.

On the command line an error is one line on stderr, then one line for each problem. `code` decides the exit code."""

_PROBLEMS = (
    "Each entry of `problems` has a code of its own beside those above: in a batch the code of the error that its operation "
    "alone would have ended with. The rules of `overseer compose lint` are codes as well and have [a page](lint-rules.md)."
)


def build() -> Page:
    """The page; an error class without a docstring is a complaint."""
    classes = error_classes()
    complaints = [f"error {cls.__name__}: no docstring" for cls in classes if not cls.__doc__]
    rows = [
        (
            code(cls.code),
            "" if issubclass(cls, Unreachable) else str(cls.status),
            str(cls.exit_code),
            _INTERNAL if cls.code == "internal" else prose(cls.__doc__),
        )
        for cls in classes
    ]
    codes: dict[int, list[str]] = {}
    for number, error, meaning in exit_codes():
        codes.setdefault(number, []).append(code(error) or meaning)
    parts = [
        _FORM,
        "## Errors",
        table(("Code", "HTTP status", "Exit code", "Meaning"), rows),
        "## Codes of single problems",
        _PROBLEMS,
        table(
            ("Code", "Where it comes from"),
            [(code(one), ", ".join(map(code, sorted(packages)))) for one, packages in sorted(problem_codes().items())],
        ),
        "## Exit codes of `overseer`",
        _EXIT,
        table(("Exit code", "Error or meaning"), [(str(number), ", ".join(texts)) for number, texts in sorted(codes.items())]),
    ]
    return page("Errors and exit codes", parts, complaints)

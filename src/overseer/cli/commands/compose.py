"""``overseer compose …``: the Compose language without a server."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from overseer.cli.output import paint, print_bytes, print_json, print_line, printable, say
from overseer.core.errors import InvalidInput
from overseer.core.secret_value import SecretValue

if TYPE_CHECKING:
    from overseer.compose.bundle import Bundle
    from overseer.compose.findings import Finding
    from overseer.compose.grammar import Reference

LINT_FAILED = 1
_PATH = click.Path(exists=True, path_type=Path)
_COLOURS = {"error": "red", "warning": "yellow", "note": "cyan"}


@click.group()
def compose() -> None:
    """Render and check Compose files with references."""


@compose.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--values", required=True, type=_PATH, metavar="VALUES.json", help="A JSON object: the value of each secret by name."
)
@click.option("--allow-persisting", is_flag=True, help="Allow references in labels, image names and the like.")
@click.option("--json", "as_json", is_flag=True, help="Print {text, references, warnings} instead of the text.")
def render(file: Path, values: Path, allow_persisting: bool, as_json: bool) -> None:
    """Print a Compose file with values in the place of its references.

    Every other byte stays as it is. The output holds secrets, so pipe it, as in
    'overseer compose render FILE --values VALUES.json | docker compose -f - up -d'.

    A key of VALUES.json is a secret's name; name@3 gives a version, name#field one field.
    """
    from overseer.compose.bundle import Bundle
    from overseer.compose.references import find_references
    from overseer.compose.render import render_file

    data = _read(file)
    scan = find_references(Bundle({file.name: data}, (file.name,)), allow_persisting=True)
    rendered = render_file(
        data, available_values(scan.references, _given(values)), path=str(file), allow_persisting=allow_persisting
    )
    for warning in rendered.warnings:
        say(f"warning: {printable(str(warning))}")
    if as_json:
        text = rendered.text.reveal().decode("utf-8")
        print_json(
            {"text": text, "references": [str(reference) for reference in rendered.references], "warnings": rendered.warnings}
        )
    else:
        print_bytes(rendered.text.reveal())


@compose.command()
@click.argument("path", type=_PATH, default=".")
@click.option("-f", "--file", "compose_files", multiple=True, metavar="FILE", help="A Compose file; may be repeated, in order.")
@click.option("--fix", is_flag=True, help="Mend first what can be mended without a change of meaning.")
@click.option("--sarif", "as_sarif", is_flag=True, help="Print SARIF 2.1.0, as code scanners read it.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def lint(path: Path, compose_files: tuple[str, ...], fix: bool, as_sarif: bool, as_json: bool) -> None:
    """Find what endangers secrets in a project, or will not work.

    PATH is a project directory or a Compose file. Ends with 1 where a finding is an error.
    """
    from overseer import __version__
    from overseer.compose.findings import sarif as sarif_log
    from overseer.compose.lint import lint_bundle

    directory, names = (path, compose_files) if path.is_dir() else (path.parent, (path.name, *compose_files))
    bundle = _bundle(directory, names)
    if fix and _fix(directory, bundle):
        bundle = _bundle(directory, names)
    findings = lint_bundle(bundle)
    if as_sarif:
        print_json(sarif_log(findings, __version__))
    elif as_json:
        print_json([finding.as_json() for finding in findings])
    else:
        _print_findings(findings)
    if any(finding.severity.value == "error" for finding in findings):
        click.get_current_context().exit(LINT_FAILED)


def available_values(references: tuple[Reference, ...], given: Mapping[str, SecretValue]) -> dict[Reference, SecretValue]:
    """The values for ``references``: as written (``name@3#field``), else the field of ``name@3``, else by the name alone.

    A pinned version is never served by the unpinned value. What is missing is left out: the renderer names its place.
    """
    from overseer.compose.fields import select_field

    found = {}
    for reference in references:
        whole = str(reference._replace(field=None))
        if str(reference) in given:
            found[reference] = given[str(reference)]
        elif reference.field is not None and whole in given:
            found[reference] = select_field(given[whole], reference.field, reference.name)
    return found


def _given(path: Path) -> dict[str, SecretValue]:
    import msgspec

    try:
        content = msgspec.json.decode(_read(path), type=dict[str, str])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise InvalidInput(f"{path} must be a JSON object that maps names of secrets to texts") from None
    return {name: SecretValue(value) for name, value in content.items()}


def _bundle(directory: Path, compose_files: tuple[str, ...]) -> Bundle:
    from overseer.cli.stack_files import compose_files_of, stack_files
    from overseer.compose.bundle import Bundle

    names = compose_files_of(directory, compose_files)
    return Bundle(stack_files(directory, names), names)


def _fix(directory: Path, bundle: Bundle) -> bool:
    """Mend the Compose files in place; True where one changed."""
    from overseer.compose.fixes import fix_file

    changed = False
    for name in bundle.main_files():
        fixed = fix_file(bundle.files[name])
        if fixed != bundle.files[name]:
            (directory / name).write_bytes(fixed)
            say(f"mended {name}")
            changed = True
    return changed


def _print_findings(findings: tuple[Finding, ...]) -> None:
    import sys

    for finding in findings:
        severity = paint(finding.severity.value, _COLOURS[finding.severity.value], sys.stdout)
        mend = " (--fix mends it)" if finding.fixable else ""
        print_line(f"{printable(finding.place)}: {severity} {finding.rule} {printable(finding.message)}{mend}")
    counts = {kind: sum(finding.severity.value == kind for finding in findings) for kind in _COLOURS}
    said = ", ".join(f"{count} {kind}{'s' * (count != 1)}" for kind, count in counts.items() if count)
    say(said or "nothing found")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {(error.strerror or '').lower()}") from None

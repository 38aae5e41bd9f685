"""``overseer compose …``: render, compare and check Compose files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from overseer.cli.options import Connection, json_option, json_option_that, pass_client
from overseer.cli.output import print_bytes, print_json, printable, say
from overseer.core.errors import OverseerError, ReferencesRefused
from overseer.core.scopes import Scope

if TYPE_CHECKING:
    from collections.abc import Sequence

    from overseer.cli.compose_rendering import RenderedProject
    from overseer.cli.compose_values import Supply
    from overseer.client.api import Client
    from overseer.compose.references import Occurrence

LINT_FAILED = 1
WOULD_CHANGE = 2
_PATH = click.Path(exists=True, path_type=Path)
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_DIRECTORY = click.Path(exists=True, file_okay=False, path_type=Path)
_compose_files = click.option(
    "-f", "--file", "compose_files", multiple=True, metavar="FILE", help="A Compose file; may be repeated, in order."
)
_allow_persisting = click.option("--allow-persisting", is_flag=True, help="Allow references in labels, image names and the like.")


@click.group()
def compose() -> None:
    """Render, compare and check Compose files with references."""


@compose.command()
@click.argument("file", type=_FILE, required=False)
@_compose_files
@click.option("--values", type=_FILE, metavar="VALUES.json", help="Offline: a JSON object, the value of each secret by name.")
@click.option("--app", metavar="APP", help="From a server: the app that the project is.")
@click.option("--env", "environment", metavar="ENV", help="From a server: the environment whose secrets apply.")
@click.option("--node", metavar="NODE", help="From a server: the node whose secrets apply.")
@click.option("--reveal", is_flag=True, help="From a server: the values themselves instead of words that mask them.")
@click.option("--reason", default="", metavar="TEXT", help="Why they are revealed; goes to the audit log.")
@click.option(
    "--project-directory", type=_DIRECTORY, metavar="DIR", help="Where relative paths begin (default: FILE's directory)."
)
@_allow_persisting
@json_option_that("Print {text, references, warnings, masked} instead of the text.")
@click.pass_context
def render(
    ctx: click.Context,
    file: Path | None,
    compose_files: tuple[str, ...],
    values: Path | None,
    app: str | None,
    environment: str | None,
    node: str | None,
    reveal: bool,
    reason: str,
    project_directory: Path | None,
    allow_persisting: bool,
    as_json: bool,
) -> None:
    """Print a Compose file with values in the place of its references.

    Every other byte stays as it is. With --values no server is asked. Without, the secrets of --app, --env and --node are used,
    and each value is a word that names its version, such as masked:db-password@3, unless --reveal asks for the values: that needs
    secret:reveal and is audited.

    A key of VALUES.json is a secret's name; name@3 gives a version, name#field one field. Several files become the documents of
    one text, which Compose merges in their order. FILE may be an env file (.env, app.env).

    With values in it the output is secret, so pipe it, as in
    'overseer compose render FILE --values VALUES.json | docker compose -f - up -d'.

    Ends with 65 when something cannot be rendered: then nothing is printed, and every problem is one line on stderr.
    """
    scope = Scope(app, environment, node)
    if values is not None and (reveal or reason or scope != Scope()):
        raise click.UsageError("--values renders without a server: --app, --env, --node, --reveal and --reason do not go with it")

    def supply(uses: Sequence[Occurrence]) -> Supply:
        from overseer.cli import compose_values

        references = list(dict.fromkeys(one.reference for one in uses))
        if values is not None:
            return compose_values.supply_from(compose_values.read_values(values), references)
        client = ctx.ensure_object(Connection).client()
        if not reveal:
            return compose_values.masked_supply(client, references, scope)
        required = [one.reference for one in uses if not one.has_default]
        return compose_values.revealed_supply(client, references, required, scope, reason=reason)

    from overseer.cli.compose_project import is_env_file, open_project, read_bytes
    from overseer.cli.compose_rendering import render_env, render_project, rendered_references, scan_env
    from overseer.compose.references import find_references

    if file is not None and is_env_file(file):
        if compose_files:
            raise click.UsageError("an env file is rendered by itself: -f does not go with it")
        data = read_bytes(file)
        found = scan_env(data)
        rendered = render_env(data, str(file), found, supply(found.occurrences))
    else:
        files: list[str | Path] = [*([] if file is None else [file]), *compose_files]
        project = open_project(files, project_directory, base=None if project_directory is None else "")
        found = find_references(project.bundle, allow_persisting=True)
        given = supply(rendered_references(found, project.bundle.main_files()))
        rendered = render_project(project, found, given, allow_persisting=allow_persisting)
    _print_rendered(rendered, masked=values is None and not reveal, as_json=as_json)


def _print_rendered(rendered: RenderedProject, *, masked: bool, as_json: bool) -> None:
    for warning in rendered.warnings:
        say(f"{printable(warning.place)}: warning: {printable(warning.rule)}")
    if not as_json:
        print_bytes(rendered.text.reveal())
        return
    text = rendered.text.reveal().decode("utf-8")
    references = [str(reference) for reference in rendered.references]
    print_json({"text": text, "references": references, "warnings": rendered.warnings, "masked": masked})


@compose.command()
@click.argument("path", type=_PATH, default=".")
@click.option("--app", required=True, metavar="APP", help="The app that the project is.")
@click.option("--env", "environment", metavar="ENV", help="The environment whose secrets apply.")
@click.option("--node", metavar="NODE", help="The node (default: every node that runs the app).")
@_compose_files
@_allow_persisting
@json_option
@pass_client
def diff(
    client: Client,
    path: Path,
    app: str,
    environment: str | None,
    node: str | None,
    compose_files: tuple[str, ...],
    allow_persisting: bool,
    as_json: bool,
) -> None:
    """Show which versions of secrets a deployment would change.

    PATH is a project directory or a Compose file. What runs is what the last successful deployment there got. No value is
    fetched.

    Ends with 2 when something would change, with 0 when nothing would, with 65 when a deployment would be refused.
    """
    from overseer.cli.compose_project import project_of
    from overseer.cli.version_diff import node_diffs, print_diffs, refusals
    from overseer.compose.problem_lists import joined, on_nodes
    from overseer.compose.references import find_references

    project = project_of(path, compose_files)
    scanned = find_references(project.bundle, allow_persisting=allow_persisting)
    own = [project.labelled(problem) for problem in scanned.problems]
    try:
        diffs = node_diffs(client, scanned, app, environment, node)
        told = [(one.node or "", refusals(client, scanned, one, Scope(app, environment, one.node))) for one in diffs]
    except OverseerError as error:
        if not own:
            raise
        diffs, told = [], []
        say(f"whether secrets are missing, too, is not known: {printable(error.message)}")
    problems = joined(own, [project.labelled(problem) for problem in on_nodes(told)])
    if own:
        raise ReferencesRefused("this project would be refused", problems=problems)
    if as_json:
        print_json([one.as_json() for one in diffs])
    else:
        print_diffs(diffs)
    if problems:
        raise ReferencesRefused("a deployment would be refused", problems=problems)
    if any(one.differs for one in diffs):
        click.get_current_context().exit(WOULD_CHANGE)


@compose.command()
@click.argument("paths", type=_PATH, nargs=-1, metavar="[PATH]…")
@_compose_files
@click.option("--fix", is_flag=True, help="Mend first what can be mended without a change of meaning.")
@click.option(
    "--fail-on",
    type=click.Choice(["error", "warning", "note", "never"]),
    default="error",
    show_default=True,
    help="End with 1 where a finding is at least this bad.",
)
@click.option("--app", metavar="APP", help="Ask the server, too, which secrets a deployment of this app would not get.")
@click.option("--env", "environment", metavar="ENV", help="With --app: the environment whose secrets apply.")
@click.option("--node", metavar="NODE", help="With --app: the node whose secrets apply.")
@click.option("--sarif", "as_sarif", is_flag=True, help="Print SARIF 2.1.0, as code scanners read it.")
@click.option("--code-quality", "as_code_quality", is_flag=True, help="Print a Code Quality report, as GitLab reads it.")
@json_option_that("Print the findings as JSON.")
@click.pass_context
def lint(
    ctx: click.Context,
    paths: tuple[Path, ...],
    compose_files: tuple[str, ...],
    fix: bool,
    fail_on: str,
    app: str | None,
    environment: str | None,
    node: str | None,
    as_sarif: bool,
    as_code_quality: bool,
    as_json: bool,
) -> None:
    """Find what endangers secrets in a project, or will not work.

    PATH is a project directory, a Compose file, or an env file beside one (default: this directory). Needs no server, unless
    --app asks for the secrets that are missing, too.
    """
    if app is None and (environment or node):
        raise click.UsageError("--env and --node go with --app")
    if as_sarif + as_code_quality + as_json > 1:
        raise click.UsageError("give only one of --sarif, --code-quality and --json")
    from overseer.cli.lint_report import print_findings, reaches
    from overseer.cli.project_lint import fix_projects, in_order, lint_projects, open_projects, unavailable_secrets

    projects = open_projects(paths or (Path(),), compose_files)
    if fix and fix_projects(projects):
        projects = open_projects(paths or (Path(),), compose_files)
    findings = lint_projects(projects)
    if app is not None:
        client = ctx.ensure_object(Connection).client()
        findings = in_order([*findings, *unavailable_secrets(client, projects, Scope(app, environment, node))])
    if as_sarif:
        from overseer import __version__
        from overseer.compose.findings import sarif

        print_json(sarif(findings, __version__))
    elif as_code_quality:
        from overseer.compose.findings import code_quality

        print_json(code_quality(findings))
    elif as_json:
        print_json([finding.as_json() for finding in findings])
    else:
        print_findings(findings, projects=len(projects))
    if reaches(findings, fail_on):
        click.get_current_context().exit(LINT_FAILED)

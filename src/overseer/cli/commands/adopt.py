"""``overseer adopt``: the plaintext secrets of a Compose project become references."""

from __future__ import annotations

import difflib
import os
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import click

from overseer.cli.options import DURATION, Connection, json_option, scope_options, yes_option
from overseer.cli.output import print_json, print_line, print_table, say
from overseer.core.errors import InvalidInput
from overseer.core.scopes import Scope

if TYPE_CHECKING:
    from overseer.cli.compose_project import Project
    from overseer.client.api import Client
    from overseer.compose.adoption import Adoption

_GIT_SECONDS = 20
_LONGEST_UNDO = 366 * 86_400


@click.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path), default=".")
@scope_options
@click.option("-f", "--file", "compose_files", multiple=True, metavar="FILE", help="A Compose file; may be repeated, in order.")
@click.option("--prefix", default="", metavar="TEXT", help="In front of every name.")
@click.option("--environment-form", is_flag=True, help="Leave every variable in the environment, also where images read files.")
@click.option("--separate", is_flag=True, help="A secret for each key, also where their values are the same.")
@click.option("--dry-run", is_flag=True, help="Show what would be done; needs no server.")
@click.option("--undo", "undo_", is_flag=True, help="Take an adoption back: the files, and the secrets where nothing changed.")
@click.option("--undo-for", type=DURATION, default="7d", show_default=True, metavar="TIME", help="How long an undo is possible.")
@yes_option
@json_option
@click.pass_context
def adopt(
    ctx: click.Context,
    path: Path,
    scope: Scope[str],
    compose_files: tuple[str, ...],
    prefix: str,
    environment_form: bool,
    separate: bool,
    dry_run: bool,
    undo_: bool,
    undo_for: int,
    yes: bool,
    as_json: bool,
) -> None:
    """Take the plaintext secrets of a Compose project into Overseer.

    Finds them, imports them, and writes references in their place; where an image is known to read the variable from a file
    (POSTGRES_PASSWORD_FILE), that form and a mount.

    'docker compose config' proves that the project means the same before anything is changed. No value is shown.
    """
    connection = ctx.ensure_object(Connection)
    if undo_:
        _undo(connection.client(), path if path.is_dir() else path.parent)
        return
    from overseer.cli.compose_project import project_of
    from overseer.cli.terminal import confirm

    if not 1 <= undo_for <= _LONGEST_UNDO:
        raise click.UsageError("--undo-for is 1s to 366d")
    project = project_of(path, compose_files)
    found = _proven(project, prefix, as_files=not environment_form, separate=separate)
    if not as_json:
        _show(project, found)
    if not found.findings:
        say("no plaintext secret was found")
        return
    say(f"docker compose config: the project with references means the same{' but for what is named here:' * bool(found.forms)}")
    for form in found.forms:
        say(f"  {form.service}: {form.variable} becomes {form.key}={form.target}, mounted from {form.source}")
    import_id = None
    if not dry_run:
        if not yes:
            confirm(f"Import {len(found.secrets())} secrets to {scope} and change these files?")
        import_id = _store(connection.client(), project, found, scope, undo_for)
    seen = _in_history(project, found)
    if as_json:
        findings = [
            {"file": project.label(one.file), "line": one.line, "key": one.key, "why": one.why, "name": one.name}
            for one in found.findings
        ]
        files = [
            {"service": one.service, "variable": one.variable, "file_variable": one.key, "mount": one.mount}
            for one in found.forms
        ]
        print_json({"import": import_id, "findings": findings, "files": files, "rotate": seen})
    for name in seen:
        say(f"rotate {name}: git's history holds the file that had its value")


def _proven(project: Project, prefix: str, *, as_files: bool, separate: bool) -> Adoption:
    """What would become of the project, proven; in the environment alone where the project does not bear the form of files."""
    from overseer.cli.model_proof import prove_unchanged
    from overseer.compose.adoption import adopt as adoption_of

    found = adoption_of(project.bundle, prefix=prefix, as_files=as_files, separate=separate)
    if not found.findings:
        return found
    after = replace(project.bundle, files={**project.bundle.files, **found.files})
    try:
        prove_unchanged(project.bundle, after, found.secrets(), found.forms)
    except InvalidInput as refused:
        if not found.forms:
            raise
        places = ", ".join(one.place for one in refused.problems[:5])
        say(f"variables stay in the environment: as files they would change more than they should ({places or 'the whole'})")
        return _proven(project, prefix, as_files=False, separate=separate)
    return found


def _show(project: Project, found: Adoption) -> None:
    rows = [(f"{project.label(one.file)}:{one.line}", one.key, one.name, one.why) for one in found.findings]
    print_table(("PLACE", "KEY", "SECRET", "WHY"), rows, empty="")
    for path in found.files:
        before, after = (text[path].decode("utf-8").splitlines() for text in (found.masked, found.files))
        label = project.label(path)
        for line in difflib.unified_diff(before, after, label, label, n=1, lineterm=""):
            print_line(line)


def _store(client: Client, project: Project, found: Adoption, scope: Scope[str], seconds: int) -> str:
    """Import, write the undo, then the files; what fails on the way is taken back."""
    from overseer.cli.adoption_undo import KEY_PREFIX, Undo, new_key, replace_file, write_undo

    key, key_name = new_key(), f"{KEY_PREFIX}{uuid4().hex[:12]}"
    secrets = [*found.secrets().items(), (key_name, key)]
    origin = f"adopt {project.directory.resolve().name}"[:200]
    answer = client.imports.store(secrets, scope, origin=origin, erase_after={key_name: seconds})
    import_id = answer.id or ""
    undo = Undo(import_id, key_name, scope, datetime.now(UTC) + timedelta(seconds=seconds), b"")
    before = {path: project.bundle.files[path] for path in found.files}
    written: list[str] = []
    try:
        write_undo(project.directory, undo, key, before, found.files)
        for path, data in found.files.items():
            replace_file(project.directory / path, data)
            written.append(path)
    except OSError:
        for path in written:
            replace_file(project.directory / path, before[path])
        client.imports.undo(import_id)
        raise
    say(f"imported {len(secrets) - 1} secrets to {scope} and changed {len(written)} files; 'overseer adopt --undo' takes it back")
    return import_id


def _undo(client: Client, directory: Path) -> None:
    from overseer.cli.adoption_undo import UNDO_FILE, check_import, read_undo, restore

    undo = read_undo(directory)
    key_id = client.secrets.find(undo.key_name, undo.scope).id
    check_import(client.imports.get(undo.import_id), key_id)
    key = client.secrets.reveal(key_id, reason="undo of an adoption")
    paths = restore(directory, undo, key.value)
    undone = client.imports.undo(undo.import_id)
    (directory / UNDO_FILE).unlink()
    for path in paths:
        say(f"{path} is as it was")
    for one in undone.results:
        if one.done == "kept":
            say(f"{one.name} stays: {one.why}")


def _in_history(project: Project, found: Adoption) -> list[str]:
    """The secrets whose file git's history holds; nothing where this is no repository.

    The project's own configuration of git may come from anywhere, and names programs: 'log' runs one to check signatures, a
    missing object is fetched through one, an index is refreshed by one. So it is 'rev-list', with nothing to fetch through.
    """
    command = ["git", "-C", str(project.directory), "-c", "core.fsmonitor=false", "rev-list", "-n", "1", "HEAD", "--"]
    seen: dict[str, bool] = {}
    for path in found.files:
        try:
            done = subprocess.run(
                [*command, path], env={**os.environ, "GIT_ALLOW_PROTOCOL": "none"},
                stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=_GIT_SECONDS,
            )  # fmt: skip
            seen[path] = done.returncode == 0 and bool(done.stdout.strip())
        except (OSError, subprocess.TimeoutExpired):
            seen[path] = False
    return sorted({one.name for one in found.findings if seen[one.file]})

"""``overseer run -- COMMAND``: the process target."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from overseer.cli.options import pass_client, scope_options
from overseer.core.errors import InvalidInput, Problem
from overseer.core.scopes import Scope
from overseer.core.secret_value import SecretValue

if TYPE_CHECKING:
    from overseer.client.api import Client

#: Variables that make a shell, a loader or an interpreter run other code. A secret's name alone must not set one of them.
_STEERING = re.compile(
    r"PATH|HOME|SHELL|IFS|ENV|BASH_ENV|BASH_FUNC_.*|CDPATH|PS4|PROMPT_COMMAND|LD_.*|DYLD_.*|GCONV_PATH|LOCPATH|EDITOR|PAGER"
    r"|PYTHON(PATH|HOME|STARTUP|INSPECT|BREAKPOINT|USERBASE)|PERL5(OPT|LIB|DB)|PERLLIB|RUBY(OPT|LIB)|NODE_(OPTIONS|PATH)"
    r"|_?JAVA_(TOOL_)?OPTIONS|GIT_(SSH|ASKPASS|EDITOR|PAGER|EXEC_PATH|CONFIG|PROXY_COMMAND).*|OVERSEER_.*"
)


@click.command(context_settings={"allow_interspersed_args": False})
@scope_options
@click.option("--only", metavar="NAME,…", help="Only these secrets (default: all that apply at the scope).")
@click.option("--map", "mapping", multiple=True, metavar="VARIABLE=NAME", help="Give a secret another name; may be repeated.")
@click.option("--files", is_flag=True, help="As files in memory instead: $OVERSEER_SECRETS_DIR names their directory.")
@click.option("--reason", default="", metavar="TEXT", help="Why; goes to the audit log.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@pass_client
@click.pass_context
def run(
    ctx: click.Context,
    client: Client,
    scope: Scope[str],
    only: str | None,
    mapping: tuple[str, ...],
    files: bool,
    reason: str,
    command: tuple[str, ...],
) -> None:
    """Run a command with an app's secrets in its environment.

    The exit code is the command's.

    A secret becomes the variable of its name in capitals, with _ for '-' and '.': db-password is DB_PASSWORD. Two secrets that
    would become one variable are refused, and so is a name that would steer shells or loaders (PATH, LD_PRELOAD): use --map.
    """
    renamed = _mapping(mapping)
    names = None if only is None else [name for name in only.split(",") if name] + list(renamed.values())
    revealed = client.secrets.resolve(names if names is None else list(dict.fromkeys(names)), scope, reason=reason)
    missing = [name for name in renamed.values() if name not in revealed]
    if missing:
        raise InvalidInput(f"--map names secrets that do not apply at {scope}: {', '.join(missing)}")
    client.close()
    values = {name: item.value for name, item in revealed.items()}
    ctx.exit(_start(command, target_names(values, renamed, files=files), files=files))


def target_names(values: Mapping[str, SecretValue], renamed: Mapping[str, str], *, files: bool) -> dict[str, SecretValue]:
    """``values`` by the name of the variable or file; all clashes and steering names at once as :class:`InvalidInput`."""
    found: dict[str, str] = {}
    problems = []
    explicit = set(renamed.values())
    automatic = {name: (name if files else variable_name(name)) for name in values if name not in explicit}
    for target, name in [*renamed.items(), *((target, name) for name, target in automatic.items())]:
        if target in found:
            rule = f"becomes {target}, and so does {found[target]}: use --map or --only"
            problems.append(Problem(name, rule, "name_clash"))
        elif not files and target not in renamed and _STEERING.fullmatch(target):
            rule = f"would set {target}, which steers programs: use --map {target}={name} if that is meant, or --only"
            problems.append(Problem(name, rule, "steering_variable"))
        else:
            found[target] = name
    if problems:
        raise InvalidInput("these secrets cannot be passed on under their names", problems=problems)
    return {target: values[name] for target, name in found.items()}


def variable_name(name: str) -> str:
    """``db-password`` → ``DB_PASSWORD``."""
    return re.sub(r"[^A-Za-z0-9_]", "_", name).upper()


def _mapping(texts: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        target, equals, name = text.partition("=")
        if not equals or not target or not name:
            raise click.UsageError("write --map as VARIABLE=NAME, NAME being the secret's")
        if target in found:
            raise click.UsageError(f"--map gives {target} twice")
        found[target] = name
    return found


def _start(command: Sequence[str], values: Mapping[str, SecretValue], *, files: bool) -> int:
    from overseer.agent.injection.process import run_process
    from overseer.cli.output import say

    if files:
        from overseer.agent.injection.memory_root import open_root
        from overseer.agent.settings import AgentSettings

        settings = AgentSettings.load()
        root = open_root(settings.tmpfs_root, settings.tmpfs_allow)
        for note in root.notes:
            say(f"overseer: {note}")
        try:
            code = run_process(command, values, files=True, root=root)
        finally:
            root.release()
    else:
        code = run_process(command, values)
    if code in (126, 127):
        say(f"overseer: {command[0]}: {'not found' if code == 127 else 'may not be run'} (or it ended with {code} itself)")
    return code

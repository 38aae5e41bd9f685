"""``overseer help TOPIC``: what holds for every command. The tables are made from the code that they describe."""

from __future__ import annotations

import click

from overseer.cli.options import json_option_that
from overseer.cli.output import print_json, print_own, print_table
from overseer.core.errors import error_classes
from overseer.core.generator_kinds import KINDS

_OTHER_CODES = {
    0: ("", "done"),
    1: ("", "answered with no, lint found something at or above --fail-on, containers differ, an audit log does not verify"),
    2: ("", "the command line is wrong, or plan or compose diff found something that would change"),
    70: ("internal", "a fault of Overseer itself"),
    130: ("", "interrupted with Ctrl-C"),
    141: ("", "the reader of the output went away"),
}
_VARIABLES = {
    "OVERSEER_URL": "the server, or its replicas with commas between (default http://127.0.0.1:8420); plain http only here",
    "OVERSEER_TOKEN": "the token; set, it is used instead of the stored login",
    "OVERSEER_CI_TOKEN": "a CI job's identity token, for 'overseer login --ci'",
    "OVERSEER_CA_FILE": "PEM file of the only CA to trust",
    "OVERSEER_SCRATCH_DATABASE_URL": "an empty database for 'overseer backup verify', where its URL holds a password",
    "XDG_CONFIG_HOME": "where 'overseer login' keeps its file (default ~/.config)",
    "NO_COLOR": "set to anything: no colour",
}
_VALUES = """A value is never an argument: other users of a machine can read arguments, and shells keep them.

  overseer secret set NAME                    asks on the terminal, hidden, twice; no newline is added
  printf %s "$VALUE" | overseer secret set NAME --stdin
  overseer secret set NAME --file PATH        the file's bytes, exactly
  overseer secret set NAME --generate hex:32  the server makes it

--stdin and --file keep every byte, a trailing newline too ('echo' writes one); --trim drops one newline at the end.
'overseer secret get NAME' prints the bytes exactly; only on a terminal it adds a newline."""


def exit_codes() -> list[tuple[int, str, str]]:
    """Every exit code of the command with the error's code and its meaning, in order."""
    own = [(code, *words) for code, words in _OTHER_CODES.items()]
    errors = [
        (cls.exit_code, cls.code, (cls.__doc__ or "").strip().splitlines()[0].replace("``", "")) for cls in error_classes()[1:]
    ]
    return sorted([*own, *errors])


def _print_generators(as_json: bool) -> None:
    if as_json:
        print_json(
            [
                {"kind": name, "size": str(kind.size or ""), "makes": kind.meaning, "options": dict(kind.options)}
                for name, kind in KINDS.items()
            ]
        )
        return
    rows = []
    for name, kind in KINDS.items():
        rows.append((name, str(kind.size or ""), kind.meaning))
        rows += [("", f"{option}=", meaning) for option, meaning in kind.options]
    print_table(("KIND", "SIZE, OPTIONS", "MAKES"), rows)
    print_own("\nThe form is KIND[:SIZE][,OPTION=VALUE]…, such as password:24,symbols=none or x509,cn=db.internal,days=30.")


@click.command("help")
@click.argument("topic", type=click.Choice(["exit-codes", "environment", "generators", "values"]), required=False)
@json_option_that("Print the table as JSON.")
@click.pass_context
def help_(ctx: click.Context, topic: str | None, as_json: bool) -> None:
    """Explain exit codes, environment variables, generators and values."""
    if topic is None:
        print_own(ctx.find_root().get_help())
    elif topic == "values":
        print_own(_VALUES)
    elif topic == "generators":
        _print_generators(as_json)
    elif topic == "environment":
        if as_json:
            print_json(_VARIABLES)
        else:
            print_table(("VARIABLE", "MEANING"), list(_VARIABLES.items()))
    elif as_json:
        print_json([{"exit_code": code, "error": error, "meaning": meaning} for code, error, meaning in exit_codes()])
    else:
        print_table(("EXIT", "ERROR", "MEANING"), [(str(code), error, meaning) for code, error, meaning in exit_codes()])

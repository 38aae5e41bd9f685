"""``overseer doctor``: what is wrong with an installation, and what to do about it."""

from __future__ import annotations

import sys
from typing import Any

import click

from overseer.cli.options import Connection, json_option
from overseer.cli.output import paint, print_json, print_line, printable, say
from overseer.core.errors import ConfigurationProblem, OverseerError
from overseer.core.findings import Finding, Level, problem

_COLOURS = {Level.OK: "green", Level.WARNING: "yellow", Level.PROBLEM: "red"}


@click.command()
@click.option("--remote", is_flag=True, help="Only look at the server at its URL, not at this machine.")
@json_option
@click.pass_obj
def doctor(connection: Connection, remote: bool, as_json: bool) -> None:
    """Check an installation and say what to do.

    One line a finding; nothing is changed. Ends with 78 where there is a problem.

    On a machine with a server's data directory it looks at files, seal, TLS, database and keys, with the server's settings (run
    it as the server's user); on a node at the agent; and at the server that the command line uses.
    """
    found: list[Finding] = []
    if not remote:
        found += _server_here()
        found += _agent_here()
    found += _server_there(connection, keys=all(one.check != "key use" for one in found))
    counts = {level: sum(one.level is level for one in found) for level in Level}
    if as_json:
        plain = [_plain(one) for one in found]
        print_json({"problems": counts[Level.PROBLEM], "warnings": counts[Level.WARNING], "findings": plain})
    else:
        _print(found)
    if counts[Level.PROBLEM]:
        raise ConfigurationProblem(f"{counts[Level.PROBLEM]} problem(s), {counts[Level.WARNING]} warning(s)")
    say(f"no problem, {counts[Level.WARNING]} warning(s)")


def _server_here() -> list[Finding]:
    try:
        from overseer.cli.local_server import local_findings
    except ModuleNotFoundError:
        return []  # only the client is installed here
    return local_findings()


def _agent_here() -> list[Finding]:
    from overseer.agent.findings import agent_findings
    from overseer.agent.settings import AgentSettings

    try:
        return agent_findings(AgentSettings.load())
    except OverseerError as error:
        return [problem("agent settings", error.message, "mend the setting")]


def _server_there(connection: Connection, *, keys: bool) -> list[Finding]:
    """``keys``: ask for the keys as well, for the database was not looked at."""
    from overseer.client.findings import certificate_findings, key_findings, server_findings

    try:
        with connection.open_client() as client:
            found = [*server_findings(client), *certificate_findings(client, connection.place()[1])]
    except OverseerError as error:
        return [problem("server", error.message, "mend --url or OVERSEER_URL")]
    try:
        return [*found, *key_findings(connection.client())] if keys else found
    except OverseerError:
        return found  # no token: what needs one is left out


def _plain(one: Finding) -> dict[str, Any]:
    return {"check": one.check, "level": one.level.value, "text": one.text, "advice": one.advice}


def _print(found: list[Finding]) -> None:
    width = max((len(one.check) for one in found), default=0)
    for one in found:
        level = paint(one.level.value.ljust(7), _COLOURS[one.level], sys.stdout)
        advice = f" → {one.advice}" if one.advice else ""
        print_line(f"{level}  {one.check.ljust(width)}  {printable(one.text + advice)}")

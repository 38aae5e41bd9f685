"""``overseer agent …``."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from overseer.cli.options import Connection, json_option
from overseer.cli.output import print_fields, print_json, print_line, print_table, say
from overseer.cli.values import read_credential

if TYPE_CHECKING:
    from overseer.agent.status import AgentStatus


@click.group()
def agent() -> None:
    """Join this machine as a node and run its agent."""


@agent.command()
@click.option("--url", metavar="URL", help="The server; of several replicas, all URLs with commas between "
              "(default: --url of overseer, $OVERSEER_URL, this machine).")
@click.option("--token-file", metavar="PATH", type=click.Path(), help="Read the enrolment token from a file.")
@click.option("--stdin", is_flag=True, help="Read the enrolment token from standard input.")
@json_option
@click.pass_obj
def join(connection: Connection, url: str | None, token_file: str | None, stdin: bool, as_json: bool) -> None:
    """Enrol this machine as a node, with a token from 'overseer node enrol-token', asked for on the terminal.

    The node's keys are made here and never leave it. The server's identity is checked by what the token pins.
    """
    from overseer.agent.enrolment import join as enrol
    from overseer.agent.settings import AgentSettings
    from overseer.client.addresses import DEFAULT_URL

    directory = AgentSettings.load().directory
    url = url or connection.url or os.environ.get("OVERSEER_URL") or DEFAULT_URL
    ca_file = connection.ca_file or os.environ.get("OVERSEER_CA_FILE")
    token = read_credential(
        token_file, stdin, prompt="enrolment token", instead="give the token with --token-file PATH or --stdin"
    )
    joined = enrol(token, url, directory, Path(ca_file) if ca_file else None)
    if as_json:
        print_json({"node": joined.node, "node_id": joined.node_id, "url": joined.url, "already": joined.already})
    say(f"this machine is node {joined.node} of {joined.url}" + (" (it was already)" if joined.already else ""))
    if not joined.already:
        say("Next: overseer agent run")


@agent.command("run")
def run_() -> None:
    """Do the server's work on this node until Ctrl-C or SIGTERM: deployments under way end first."""
    from overseer.agent.daemon import run_agent
    from overseer.agent.log_format import PrintableFormatter
    from overseer.agent.settings import AgentSettings

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(PrintableFormatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    click.get_current_context().exit(run_agent(AgentSettings.load()))


@agent.command()
def prepare() -> None:
    """Mount the memory for secret files, for a service manager that starts the agent where its mounts would stay unseen."""
    from overseer.agent.daemon import prepare_memory
    from overseer.agent.settings import AgentSettings

    path, notes = prepare_memory(AgentSettings.load())
    for note in notes:
        say(note)
    say(f"secret files will lie below {path}")


@agent.command("rotate-keys")
def rotate_keys_() -> None:
    """Give this node new keys; the old ones are dead at once. A running agent goes on by itself."""
    from overseer.agent.key_rotation import rotate_keys
    from overseer.agent.settings import AgentSettings

    say(f"node {rotate_keys(AgentSettings.load().directory)} has new keys")


@agent.command()
@json_option
def status(as_json: bool) -> None:
    """Show what this node is and what it runs, and whether server and engine answer."""
    from overseer.agent.settings import AgentSettings
    from overseer.agent.status import agent_status

    found = agent_status(AgentSettings.load())
    if as_json:
        print_json(found)
    else:
        _show(found)


def _show(found: AgentStatus) -> None:
    print_fields(
        [
            ("node", found.node or "not enrolled"),
            ("server", found.url or ""),
            ("answers", found.server),
            ("agent", f"{found.agent}, version {found.agent_version}"),
            ("engine", found.engine + (f", Docker {found.engine_version}" if found.engine_version else "")),
            ("compose", found.compose_version),
            ("apps", " ".join(found.apps) or "all"),
        ]
    )
    if found.projects:
        print_line("")
        print_table(
            ("PROJECT", "APP", "ENV", "PHASE", "DEPLOYMENT", "CONTAINERS"),
            [
                (p.project, p.app, p.environment or "", p.phase, p.deployment_id, ", ".join(p.containers))
                for p in found.projects
            ],
        )

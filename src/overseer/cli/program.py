"""The command tree, and how a command ends.

Exit codes: 0 done; 2 the command line is wrong; 130 Ctrl-C; else that of the error's class (``overseer help exit-codes``). An
error is one line on stderr, followed by one line for each problem. An error that Overseer did not expect shows its type and its
place, never its text: that could hold a value.
"""

from __future__ import annotations

import os
import sys
from typing import Final

import click

from overseer.cli.lazy_group import LazyCommand, LazyGroup
from overseer.cli.options import Connection
from overseer.cli.output import report, say
from overseer.core.errors import InvalidInput, OverseerError

_COMMANDS: Final = "overseer.cli.commands."
USAGE, INTERNAL, INTERRUPTED, CLOSED_PIPE = 2, 70, 130, 141


def _lazy(target: str, text: str) -> LazyCommand:
    return LazyCommand(_COMMANDS + target, text)


SECTIONS: Final = {
    "Start": {
        "quickstart": _lazy("quickstart:quickstart", "Start everything on this machine and deploy the example."),
        "login": _lazy("login:login", "Keep a server's URL and a token or a session for later commands."),
        "logout": _lazy("login:logout", "Forget what is stored, and end it where it is a session."),
        "whoami": _lazy("login:whoami", "Show who the token speaks for and what it may do."),
    },
    "Secrets": {
        "secret": _lazy("secret:secret", "Set, get, list, rotate and delete secrets."),
        "run": _lazy("run:run", "Run a command with an app's secrets in its environment."),
        "backend": _lazy("backend:backend", "Set up, test and list the vaults that values come from."),
        "rollout": _lazy("rollout:rollout", "Show, await and withdraw rollouts of new versions."),
        "rotation": _lazy("rotation:rotation", "Rotate secrets on a schedule, and at the source of their credential."),
        "drift": _lazy("drift:drift", "List what is not as it was deployed."),
        "compromised": _lazy(
            "compromised:compromised", "List what could have been seen after a compromise, in the order in which to rotate it."
        ),
    },
    "Deploy": {
        "plan": _lazy("plan:plan", "Say what a deployment would change, without a value."),
        "deploy": _lazy("deploy:deploy", "Deploy a Compose project on a node, or on several."),
        "undeploy": _lazy("deploy:undeploy", "Stop an app on a node, or on several, and wipe its secrets there."),
        "migrate": _lazy("migrate:migrate", "Move secrets with their history to another instance."),
        "import": _lazy("imports:import_", "List, show and undo imports of secrets."),
        "adopt": _lazy("adopt:adopt", "Take the plaintext secrets of a Compose project into Overseer."),
        "deployment": _lazy("deployment:deployment", "Show, follow, verify and go back to deployments."),
        "compose": _lazy("compose:compose", "Render, compare and check Compose files with references."),
        "app": _lazy("scopes:app", "Create, list and delete apps."),
        "env": _lazy("scopes:env", "Create, list and delete environments."),
        "node": _lazy("node:node", "Create, label, list, enrol, drain, revoke and delete nodes."),
    },
    "Access": {
        "user": _lazy("user:user", "Create, invite, disable and delete users."),
        "session": _lazy("user:session", "List and end sessions, your own and others'."),
        "account": _lazy("account:account", "Set your password and your second factor."),
        "service-account": _lazy("access:service_account", "Create, list, show, change and delete service accounts."),
        "token": _lazy("access:token", "Create, list, show, rotate and revoke tokens."),
        "role": _lazy("grants:role", "Create, list, show, change and delete roles."),
        "group": _lazy("grants:group", "Create, list, show, change and delete groups of users and service accounts."),
        "binding": _lazy("binding:binding", "Give a role over a scope; list, show and delete what was given."),
        "break-glass": _lazy(
            "binding:break_glass", "Rights for an emergency: dormant until their holder activates them, with a reason."
        ),
        "approval": _lazy("approval:approval", "Ask others to approve, and approve or refuse what they ask."),
        "approval-policy": _lazy("approval_policy:approval_policy", "Say what waits for the approval of other people."),
        "access": _lazy("access_questions:access", "Ask who may do what with secrets, and why."),
        "audit": _lazy("audit:audit", "Read, export and verify the audit log."),
    },
    "Operate": {
        "backup": _lazy("backup:backup", "Make, list and verify backups while everything runs."),
        "restore": _lazy("restore:restore", "Restore a backup into an empty database."),
        "doctor": _lazy("doctor:doctor", "Check an installation and say what to do."),
        "server": _lazy("server:server", "Set up and run the server."),
        "agent": _lazy("agent:agent", "Join this machine as a node and run its agent."),
        "key": _lazy("key:key", "Show, rotate and verify the keys that encrypt the store."),
        "seal": _lazy("seal:seal", "Show the seal, unseal a server, move to another seal."),
    },
    "More": {
        "completion": _lazy("completion:completion", "Print the completion script of a shell."),
        "help": _lazy("help:help_", "Explain exit codes, environment variables, generators and values."),
    },
}


@click.group(
    cls=LazyGroup,
    sections=SECTIONS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    subcommand_metavar="COMMAND …",
)
@click.option("--url", metavar="URL", help="The server (default: $OVERSEER_URL, else the stored login).")
@click.option("--ca-file", metavar="PATH", help="Trust this CA alone (default: $OVERSEER_CA_FILE, else the stored login).")
@click.option("--json", "as_json", is_flag=True, help="Print answers as JSON; the same as --json after a command that has it.")
@click.version_option(package_name="overseer", prog_name="overseer", message="%(prog)s %(version)s")
@click.pass_context
def program(ctx: click.Context, url: str | None, ca_file: str | None, as_json: bool) -> None:
    """Keep the secrets of applications that are deployed with Docker Compose.

    A token comes from $OVERSEER_TOKEN or 'overseer login', a value from a prompt, a file or stdin: neither is ever an argument.
    """
    ctx.obj = Connection(url, ca_file, as_json)
    ctx.call_on_close(ctx.obj.close)


def run(arguments: list[str]) -> int:
    """Run the command with these arguments; the exit code."""
    try:
        code = program.main(args=arguments, prog_name="overseer", standalone_mode=False)
        sys.stdout.flush()
    except OverseerError as error:
        report(error)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        say("\noverseer: interrupted")
        return INTERRUPTED
    except click.ClickException as error:
        return _report_usage(error)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # so that the interpreter's last flush is silent too
        return CLOSED_PIPE
    except Exception as error:  # noqa: BLE001 - the last line of defence: its text could hold a value
        say(f"overseer: internal error: {type(error).__name__} at {_place(error)}; please report it")
        return INTERNAL
    return code if isinstance(code, int) else 0


def _report_usage(error: click.ClickException) -> int:
    """A wrong command line: how the command is used, then what was wrong, in the form of every other error."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return error.exit_code
    if isinstance(error, click.UsageError) and error.ctx is not None:
        for line in error.ctx.get_usage().splitlines():
            say(line)
        say(f"  ('{error.ctx.command_path} --help' explains it)")
    report(InvalidInput(error.format_message()))
    return error.exit_code


def _place(error: BaseException) -> str:
    """Where it happened in Overseer's own code, as ``module.py:line``."""
    place, trace = "an unknown place", error.__traceback__
    while trace is not None:
        path = trace.tb_frame.f_code.co_filename
        if f"{os.sep}overseer{os.sep}" in path:
            place = f"{path.rpartition(f'{os.sep}overseer{os.sep}')[2]}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place

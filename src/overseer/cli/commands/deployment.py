"""``overseer deployment …``."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import click

from overseer.cli.options import DURATION, json_option, pass_client
from overseer.cli.output import moment, print_json, print_table

if TYPE_CHECKING:
    from overseer.client.api import Client
    from overseer.wire.deployments import DeploymentView

DIFFERS = 1
#: The most that a deployment may ask for; how long an earlier one may take is the server's to know.
LONGEST_WAIT = 1800


@click.group()
def deployment() -> None:
    """Show, follow, verify and go back to deployments."""


@deployment.command("list")
@click.option("--app", metavar="APP", help="Of this app.")
@click.option("--env", "environment", metavar="ENV", help="In this environment.")
@click.option("--node", metavar="NODE", help="On this node.")
@click.option("--state", metavar="STATE", help="queued, released, applying, succeeded, failed or superseded.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, metavar="N", help="At most N rows.")
@json_option
@pass_client
def list_(
    client: Client, app: str | None, environment: str | None, node: str | None, state: str | None, limit: int, as_json: bool
) -> None:
    """List deployments, newest first."""
    views = list(islice(client.deployments.list(app=app, environment=environment, node=node, state=state), limit))
    if as_json:
        print_json(views)
        return
    print_table(
        ("ID", "APP", "ENV", "NODE", "ACTION", "STATE", "CREATED", "BY"),
        [(v.id, v.app, v.environment or "", v.node, _kind(v), v.state, moment(v.created_at), v.created_by or "") for v in views],
        empty="no deployment that you may list",
    )


@deployment.command()
@click.argument("deployment_id", metavar="ID")
@json_option
@pass_client
def show(client: Client, deployment_id: str, as_json: bool) -> None:
    """Show one: references, versions, containers, output."""
    from overseer.cli.deployment_text import print_deployment

    view = client.deployments.get(deployment_id)
    if as_json:
        print_json(view)
    else:
        print_deployment(view)


@deployment.command()
@click.argument("deployment_id", metavar="ID")
@click.option("--timeout", type=DURATION, default="30m", show_default=True, metavar="TIME", help="Give up after this time.")
@json_option
@pass_client
def watch(client: Client, deployment_id: str, timeout: int, as_json: bool) -> None:
    """Follow a deployment to its end.

    Its states and its redacted output are shown as they come. Ends with 76 when it did not succeed.
    """
    import msgspec

    from overseer.cli.deployment_text import Progress, print_references, require_success

    view = client.deployments.wait(deployment_id, timeout, seen=Progress(output=True))
    if as_json:
        print_json(view)
    else:
        print_references(view)
    require_success(msgspec.structs.replace(view, output=""))  # it was shown as it came


@deployment.command()
@click.argument("deployment_id", metavar="ID")
@click.option("--wait", "wait_timeout", type=DURATION, metavar="TIME", help="How long containers may take (default: as it was).")
@click.option("--detach", is_flag=True, help="Do not wait for the end.")
@json_option
@pass_client
def rollback(client: Client, deployment_id: str, wait_timeout: int | None, detach: bool, as_json: bool) -> None:
    """Go back to the bundle and the versions of an earlier one.

    A new deployment is made of them; it needs secret:use on each secret now. The active versions of its secrets stay as they are,
    so the next deployment uses those again.
    """
    from overseer.cli.commands.deploy import await_deployment

    view = client.deployments.roll_back(deployment_id, wait_timeout=wait_timeout)
    await_deployment(client, view, wait_timeout or LONGEST_WAIT, detach=detach, as_json=as_json)


@deployment.command()
@click.argument("deployment_id", metavar="ID")
@json_option
@pass_client
def verify(client: Client, deployment_id: str, as_json: bool) -> None:
    """Compare what containers hold with what they should.

    By the agent's last report. Compared are keyed fingerprints, never values. Ends with 1 where something differs.
    """
    from overseer.cli.deployment_text import print_verification

    seen = client.deployments.verify(deployment_id)
    if as_json:
        print_json(seen)
    else:
        print_verification(seen)
    if seen.result == "differs":
        click.get_current_context().exit(DIFFERS)


def _kind(view: DeploymentView) -> str:
    return "rollback" if view.rollback_of else "rollout" if view.rollout else view.action

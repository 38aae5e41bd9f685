"""``overseer plan``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from overseer.cli.commands.deploy import given_stack, stack_options
from overseer.cli.options import json_option, pass_client
from overseer.cli.output import print_json

if TYPE_CHECKING:
    from overseer.client.api import Client

#: As with ``diff`` for programs: 0 nothing would change, 2 something would.
CHANGES = 2


@click.command()
@stack_options
@click.option("--app", required=True, metavar="APP", help="The app.")
@click.option("--env", "environment", metavar="ENV", help="The environment whose secrets apply.")
@click.option("--node", required=True, metavar="NODE", help="The node to plan for.")
@click.option("--target", type=click.Choice(["compose", "swarm"]), help="As deploy has it (default: as it runs there).")
@json_option
@pass_client
def plan(
    client: Client,
    app: str,
    environment: str | None,
    node: str,
    bundle: str | None,
    allow_persisting: bool,
    target: str | None,
    as_json: bool,
    **stack: Any,
) -> None:
    """Say what a deployment would change, without a value.

    With STACK_DIR its files are planned and not stored; with neither STACK_DIR nor --bundle the bundle that runs there, for new
    versions of its secrets.

    Ends with 2 where something would change and with 0 where nothing would. 'overseer deploy --plan DIGEST' deploys only what was
    planned.
    """
    from overseer.wire.plans import PlanCreate

    request = PlanCreate(
        app=app,
        environment=environment,
        node=node,
        bundle=bundle,
        stack=given_stack(bundle, **stack),
        allow_persisting=allow_persisting,
        target=target,
    )
    made = client.deployments.plan(request)
    if as_json:
        print_json(made)
    else:
        from overseer.cli.plan_text import print_plan

        print_plan(made)
    click.get_current_context().exit(CHANGES if made.changes else 0)

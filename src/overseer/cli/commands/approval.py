"""``overseer approval …``: ask other people, and decide about what they ask."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from overseer.cli.options import json_option, pass_client, scope_options
from overseer.cli.output import moment, people, print_fields, print_json, print_table, say
from overseer.core.scopes import Scope

if TYPE_CHECKING:
    from overseer.client.api import Client
    from overseer.wire.approvals import ApprovalView
    from overseer.wire.secrets import ScopeView

ACTIONS = ("reveal", "activate", "delete", "move", "create", "deploy", "undeploy", "rollback")
_ON_SECRETS = frozenset({"reveal", "activate", "delete", "move"})


@click.group()
def approval() -> None:
    """Ask others to approve, and approve or refuse what they ask."""


@approval.command("request")
@click.argument("action", type=click.Choice(ACTIONS))
@click.argument("name", required=False)
@scope_options
@click.option("--reason", required=True, metavar="TEXT", help="Why; those who decide read it.")
@click.option("--version", type=click.IntRange(min=1), metavar="N",
              help="Of reveal and activate (default: the active one; for activate the next one that is made).")
@click.option("--plan", metavar="DIGEST", help="Of deploy: the plan that is to be carried out.")
@click.option("--target", type=click.Choice(["compose", "swarm"]), default="compose", show_default=True, help="Of deploy.")
@click.option("--deployment", metavar="ID", help="Of rollback: the deployment to go back to.")
@click.option("--to-app", metavar="APP", help="Of move: a part of where it goes.")
@click.option("--to-env", metavar="ENV", help="Of move: a part of where it goes.")
@click.option("--to-node", metavar="NODE", help="Of move: a part of where it goes.")
@click.option("--rename", metavar="NAME", help="Of move: its new name.")
@json_option
@pass_client
def request_(
    client: Client, action: str, name: str | None, scope: Scope[str], reason: str, version: int | None, plan: str | None,
    target: str, deployment: str | None, to_app: str | None, to_env: str | None, to_node: str | None, rename: str | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Ask others to approve exactly one ACTION.

    NAME is the secret's, at exactly the scope that is given. For deploy and undeploy give --app, --env and --node instead.
    """
    from uuid import UUID

    place = {"app": scope.app, "environment": scope.environment, "node": scope.node}
    if action in _ON_SECRETS:
        if name is None:
            raise click.UsageError("give the name of the secret")
        what: dict[str, object] = {"secret_id": UUID(client.secrets.find(name, scope).id), "version": version}
        if action == "move":
            what |= {"app": to_app, "environment": to_env, "node": to_node, "name": rename}
    elif action == "create":
        what = {**place, "name": name}
    elif action == "rollback":
        what = {"deployment_id": None if deployment is None else UUID(deployment)}
    else:
        what = {**place, "plan": plan, "target": target}
    _tell(client.approvals.ask(action, reason, **what), as_json)


@approval.command("list")
@click.option("--inbox", "view", flag_value="inbox", help="Those that wait for you.")
@click.option("--mine", "view", flag_value="mine", help="Those that you asked for.")
@click.option("--decided", "view", flag_value="decided", help="Those that you decided.")
@click.option("--all", "view", flag_value="all", default=True, help="All that you may see (default).")
@click.option("--state", metavar="STATE", help="pending, approved, refused, used, expired or withdrawn.")
@click.option("--action", type=click.Choice(ACTIONS), help="Only these.")
@json_option
@pass_client
def list_(client: Client, view: str, state: str | None, action: str | None, as_json: bool) -> None:
    """List requests, newest first."""
    found = list(client.approvals.list(view=view, state=state, action=action))
    if as_json:
        print_json(found)
        return
    print_table(
        ("ID", "STATE", "ACTION", "WHAT", "SCOPE", "BY", "APPROVALS", "ASKED"),
        [
            (v.id, _state(v), v.action, v.name, _scope(v.scope), v.requester, f"{v.approvals}/{v.approvers}", moment(at))
            for v, at in ((one, one.created_at) for one in found)
        ],
        empty="no request that you may see",
    )


@approval.command()
@click.argument("approval_id", metavar="ID")
@json_option
@pass_client
def show(client: Client, approval_id: str, as_json: bool) -> None:
    """Show exactly what was asked, and what became of it."""
    view = client.approvals.get(approval_id)
    if as_json:
        print_json(view)
        return
    fields = [
        ("id", view.id),
        ("state", _state(view)),
        ("action", view.action),
        ("what", view.name),
        ("scope", _scope(view.scope)),
        ("version", "" if view.version is None else str(view.version)),
        ("to", "" if view.target is None else f"{view.target_name} ({_scope(view.target)})"),
        ("plan", view.plan or ""),
        ("deployment", view.deployment_id or ""),
        ("asked by", f"{view.requester} at {moment(view.created_at)}"),
        ("reason", view.reason),
        ("approvals", f"{view.approvals} of {view.approvers}"),
        ("waits until", moment(view.waits_until)),
        ("can be used until", moment(view.usable_until)),
    ]
    print_fields([(name, text) for name, text in fields if text])
    for line in view.details:
        print_fields([("", line)])
    for one in view.decisions:
        print_fields([(f"{one.decision} by", f"{one.principal} at {moment(one.at)} {one.comment}")])


@approval.command()
@click.argument("approval_id", metavar="ID")
@click.option("--comment", default="", metavar="TEXT", help="Whoever asked sees it.")
@json_option
@pass_client
def approve(client: Client, approval_id: str, comment: str, as_json: bool) -> None:
    """Approve what somebody else asks for; look at it first."""
    _tell(client.approvals.decide(approval_id, "approve", comment), as_json)


@approval.command()
@click.argument("approval_id", metavar="ID")
@click.option("--comment", default="", metavar="TEXT", help="Whoever asked sees it.")
@json_option
@pass_client
def refuse(client: Client, approval_id: str, comment: str, as_json: bool) -> None:
    """Refuse it; one refusal ends a request."""
    _tell(client.approvals.decide(approval_id, "refuse", comment), as_json)


@approval.command()
@click.argument("approval_id", metavar="ID")
@json_option
@pass_client
def withdraw(client: Client, approval_id: str, as_json: bool) -> None:
    """Take your own request back, also after it was approved."""
    _tell(client.approvals.withdraw(approval_id), as_json)


def _tell(view: ApprovalView, as_json: bool) -> None:
    if as_json:
        print_json(view)
        return
    say(f"approval {view.id}: {view.action} of {view.name} ({_scope(view.scope)}): {_state(view)}")
    if view.state == "pending":
        say(f"  approved by {view.approvals} of {people(view.approvers)}; it waits until {moment(view.waits_until)}")
    if view.state == "approved":
        say(f"  {view.requester} can do it once until {moment(view.usable_until)}")


def _state(view: ApprovalView) -> str:
    return f"{view.state}, stale" if view.stale else view.state


def _scope(scope: ScopeView) -> str:
    return str(Scope(scope.app, scope.environment, scope.node))

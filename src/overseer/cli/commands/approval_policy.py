"""``overseer approval-policy …``: what waits for the approval of other people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from overseer.cli.options import DURATION, json_option, pass_client, yes_option
from overseer.cli.output import moment, people, print_fields, print_json, print_table, say
from overseer.core.durations import span
from overseer.core.errors import Unavailable

if TYPE_CHECKING:
    from overseer.client.api import Client
    from overseer.wire.approvals import ApprovalPolicyView

ACTION = click.Choice(["reveal", "activate", "delete", "deploy"])
_PART = "The {0}: a name, '*' for any, '-' for only none set."
DAYS: Final = click.IntRange(0, 365)
_DISTANCE: Final = "Days: whom the requester made, let in or gave the right to decide within them does not approve."


@click.group("approval-policy")
def approval_policy() -> None:
    """Say what waits for the approval of other people."""


@approval_policy.command()
@click.argument("title")
@click.option("--action", "actions", type=ACTION, multiple=True, required=True, help="What it guards; may be repeated.")
@click.option("--app", required=True, metavar="APP", help=_PART.format("app"))
@click.option("--env", "environment", required=True, metavar="ENV", help=_PART.format("environment"))
@click.option("--node", required=True, metavar="NODE", help=_PART.format("node"))
@click.option("--name", required=True, metavar="PATTERN", help="Names of secrets (of apps for deploy): exact, or ending in '*'.")
@click.option("--label", metavar="KEY=VALUE", help="Only secrets with this label.")
@click.option("--approvers", type=click.IntRange(1, 5), default=1, show_default=True, help="How many people must approve.")
@click.option("--waits", type=DURATION, default="1d", show_default=True, help="How long a request waits.")
@click.option("--lives", type=DURATION, default="1h", show_default=True, help="How long what was approved can be used.")
@click.option("--distance", "distance_days", type=DAYS, default=0, show_default=True, help=_DISTANCE)
@click.option("--description", default="", help="What it is for.")
@json_option
@pass_client
def create(client: Client, waits: int, lives: int, actions: tuple[str, ...], as_json: bool, **fields: Any) -> None:
    """Make a policy; it holds at once, for everybody."""
    from overseer.wire.approvals import ApprovalPolicyCreate

    body = ApprovalPolicyCreate(actions=list(actions), waits_seconds=waits, lives_seconds=lives, **fields)
    _told(client.approval_policies.create(body), as_json, "made")


@approval_policy.command("list")
@json_option
@pass_client
def list_(client: Client, as_json: bool) -> None:
    """List policies."""
    views = list(client.approval_policies.list())
    if as_json:
        print_json(views)
        return
    print_table(
        ("TITLE", "ACTIONS", "APP", "ENV", "NODE", "NAME", "LABEL", "PEOPLE"),
        [
            (v.title, " ".join(v.actions), v.app, v.environment, v.node, v.name, v.label or "", str(v.approvers))
            for v in views
        ],
        empty="no policy: nothing waits for an approval",
    )


@approval_policy.command()
@click.argument("title")
@json_option
@pass_client
def show(client: Client, title: str, as_json: bool) -> None:
    """Show a policy."""
    view = _found(client, title)
    if as_json:
        print_json(view)
        return
    print_fields(
        [
            ("id", view.id),
            ("title", view.title),
            ("actions", " ".join(view.actions)),
            ("app", view.app),
            ("environment", view.environment),
            ("node", view.node),
            ("name", view.name),
            ("label", view.label or ""),
            ("people", str(view.approvers)),
            ("a request waits", span(view.waits_seconds)),
            ("an approval lives", span(view.lives_seconds)),
            ("distance", f"{view.distance_days} days"),
            ("description", view.description),
            ("made", moment(view.created_at)),
        ]
    )


@approval_policy.command()
@click.argument("title")
@click.option("--action", "actions", type=ACTION, multiple=True, help="What it guards from now on; may be repeated.")
@click.option("--label", metavar="KEY=VALUE", help="Only secrets with this label; '' for all.")
@click.option("--approvers", type=click.IntRange(1, 5), help="How many people must approve.")
@click.option("--waits", type=DURATION, help="How long a request waits.")
@click.option("--lives", type=DURATION, help="How long what was approved can be used.")
@click.option("--distance", type=DAYS, help=_DISTANCE)
@click.option("--rename", metavar="TITLE", help="Its new title.")
@click.option("--description", help="What it is for.")
@json_option
@pass_client
def update(
    client: Client, title: str, actions: tuple[str, ...], label: str | None, approvers: int | None, waits: int | None,
    lives: int | None, distance: int | None, rename: str | None, description: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Change a policy; it holds at once."""
    from overseer.wire.approvals import ApprovalPolicyPatch

    found, etag = client.approval_policies.tagged(_found(client, title).id)
    given: dict[str, Any] = {
        "actions": list(actions) or None,
        "approvers": approvers,
        "waits_seconds": waits,
        "lives_seconds": lives,
        "distance_days": distance,
        "title": rename,
        "description": description,
    }
    fields = {name: value for name, value in given.items() if value is not None}
    if label is not None:
        fields["label"] = label or None
    _told(client.approval_policies.patch(found.id, ApprovalPolicyPatch(**fields), etag=etag), as_json, "changed")


@approval_policy.command()
@click.argument("title")
@yes_option
@pass_client
def delete(client: Client, title: str, yes: bool) -> None:
    """Delete a policy: what it guarded waits for nobody any more."""
    from overseer.cli.terminal import confirm

    view = _found(client, title)
    if not yes:
        confirm(f"Delete the policy {title}, so that {', '.join(view.actions)} waits for nobody?")
    client.approval_policies.delete(view.id)
    say(f"deleted {title}")


def _found(client: Client, title: str) -> ApprovalPolicyView:
    for view in client.approval_policies.list():
        if title in (view.title, view.id):
            return view
    raise Unavailable(f"there is no policy {title}, or you may not list it")


def _told(view: ApprovalPolicyView, as_json: bool, word: str) -> None:
    if as_json:
        print_json(view)
        return
    say(f"{word} {view.title}: {', '.join(view.actions)} of {view.name} waits for {people(view.approvers, 'other')}")

"""``overseer node …``: nodes as the server knows them; the agent itself is ``overseer agent``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from overseer.cli.commands.removal import cascade_option, remove
from overseer.cli.options import DURATION, json_option, pass_client, yes_option
from overseer.cli.output import moment, print_json, print_line, print_table, say

if TYPE_CHECKING:
    from overseer.client.api import Client


@click.group()
def node() -> None:
    """Create, label, list, enrol, drain, revoke and delete nodes."""


@node.command()
@click.argument("name")
@click.option("--description", default="", help="What it is.")
@click.option("--label", "labels", metavar="KEY=VALUE", multiple=True, help="A label to choose the node by; may be repeated.")
@json_option
@pass_client
def create(client: Client, name: str, description: str, labels: tuple[str, ...], as_json: bool) -> None:
    """Create a node; its agent joins with a token from 'overseer node enrol-token'."""
    view = client.nodes.create(name, description, dict(_label(text) for text in labels))
    if as_json:
        print_json(view)
    else:
        say(f"created node {view.name}")


@node.command("list")
@json_option
@pass_client
def list_(client: Client, as_json: bool) -> None:
    """List nodes."""
    views = list(client.nodes.list())
    if as_json:
        print_json(views)
        return
    print_table(
        ("NAME", "STATE", "AGENT", "LAST SEEN", "LABELS", "DESCRIPTION"),
        [
            (
                v.name,
                f"{v.state} (drained)" if v.drained else v.state,
                v.agent_version,
                moment(v.last_seen_at),
                " ".join(f"{key}={value}" for key, value in sorted(v.labels.items())),
                v.description,
            )
            for v in views
        ],
        empty="no node that you may list",
    )


@node.command("enrol-token")
@click.argument("name", metavar="NODE")
@click.option("--expires-in", type=DURATION, default="1h", show_default=True, metavar="TIME", help="How long it can be used.")
@json_option
@pass_client
def enrol_token(client: Client, name: str, expires_in: int, as_json: bool) -> None:
    """Print a token with which the agent of NODE can join once. It is shown this once."""
    created = client.nodes.enrolment_token(name, expires_in)
    if as_json:
        print_json(created)
        return
    print_line(created.token)
    say(f"on {created.node}, until {moment(created.expires_at)}: overseer agent join --url {client.url} (it asks for the token)")


@node.command()
@click.argument("name", metavar="NODE")
@click.argument("labels", metavar="KEY=VALUE|KEY-…", nargs=-1, required=True)
@json_option
@pass_client
def label(client: Client, name: str, labels: tuple[str, ...], as_json: bool) -> None:
    """Set labels of NODE with KEY=VALUE, take one away with KEY- ."""
    from overseer.wire.scopes import NodePatch

    kept = dict(client.nodes.get(name).labels)
    for text in labels:
        if text.endswith("-") and "=" not in text:
            kept.pop(text[:-1], None)
        else:
            key, value = _label(text)
            kept[key] = value
    view = client.nodes.patch(name, NodePatch(labels=kept))
    if as_json:
        print_json(view)
    else:
        say(f"labels of {view.name}: " + (" ".join(f"{key}={value}" for key, value in sorted(view.labels.items())) or "none"))


@node.command()
@click.argument("name", metavar="NODE")
@json_option
@pass_client
def drain(client: Client, name: str, as_json: bool) -> None:
    """Keep new deployments away from NODE. What runs there goes on, gets new versions of its secrets and can be undeployed."""
    _drain(client, name, drained=True, as_json=as_json)


@node.command()
@click.argument("name", metavar="NODE")
@json_option
@pass_client
def undrain(client: Client, name: str, as_json: bool) -> None:
    """Let NODE take deployments again."""
    _drain(client, name, drained=False, as_json=as_json)


def _drain(client: Client, name: str, *, drained: bool, as_json: bool) -> None:
    from overseer.wire.scopes import NodePatch

    view = client.nodes.patch(name, NodePatch(drained=drained))
    if as_json:
        print_json(view)
    else:
        say(f"{view.name} takes no new deployments" if view.drained else f"{view.name} takes deployments")


def _label(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise click.UsageError(f"a label is KEY=VALUE, not {text}")
    return key, value


@node.command()
@click.argument("name", metavar="NODE")
@yes_option
@json_option
@pass_client
def revoke(client: Client, name: str, yes: bool, as_json: bool) -> None:
    """Take a node's access away, for good and at once. Containers that run there keep running."""
    from overseer.cli.terminal import confirm

    if not yes:
        confirm(f"Revoke node {name}?")
    view = client.nodes.revoke(name)
    if as_json:
        print_json(view)
    else:
        say(f"revoked node {view.name}")


@node.command()
@click.argument("name", metavar="NODE")
@cascade_option
@yes_option
@pass_client
def delete(client: Client, name: str, cascade: bool, yes: bool) -> None:
    """Delete a revoked node, or one that no agent joined; with --cascade what belongs to it as well."""
    remove(client.nodes, "node", name, cascade=cascade, yes=yes)

"""``overseer role …`` and ``group …``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from overseer.cli.listed_names import by_name
from overseer.cli.options import json_option, pass_client, yes_option
from overseer.cli.output import moment, number, print_fields, print_json, print_line, print_table, say

if TYPE_CHECKING:
    from overseer.client.api import Client
    from overseer.wire.access import RoleView


@click.group()
def role() -> None:
    """Create, list, show, change and delete roles."""


@role.command("create")
@click.argument("name")
@click.option("--permission", "permissions", multiple=True, required=True, metavar="PERMISSION", help="May be repeated.")
@click.option("--description", default="", help="What it is for.")
@json_option
@pass_client
def create_role(client: Client, name: str, permissions: tuple[str, ...], description: str, as_json: bool) -> None:
    """Create a role; it gives nothing before it is bound."""
    _told(client.roles.create(name, list(permissions), description), as_json, "created")


@role.command("list")
@json_option
@pass_client
def list_roles(client: Client, as_json: bool) -> None:
    """List roles and their permissions."""
    views = list(client.roles.list())
    if as_json:
        print_json(views)
        return
    print_table(
        ("ROLE", "KIND", "BINDINGS", "PERMISSIONS"),
        [(v.name, "built in" if v.built_in else "own", str(v.in_use), " ".join(v.permissions)) for v in views],
        empty="no role that you may list",
    )


@role.command("show")
@click.argument("name")
@json_option
@pass_client
def show_role(client: Client, name: str, as_json: bool) -> None:
    """Show a role."""
    view = by_name(client.roles.list(), name, "role")
    if as_json:
        print_json(view)
        return
    print_fields(
        [
            ("id", view.id),
            ("name", view.name),
            ("kind", "built in" if view.built_in else "own"),
            ("bindings", str(view.in_use)),
            ("description", view.description),
            ("permissions", " ".join(view.permissions)),
        ]
    )


@role.command("permissions")
@json_option
def list_permissions(as_json: bool) -> None:
    """List what a role can hold, and what it means."""
    from overseer.core.permissions import PERMISSION_MEANING, Permission

    offered = {one.value: PERMISSION_MEANING[one] for one in Permission if one is not Permission.NODE_SERVE}
    if as_json:
        print_json(offered)
    else:
        print_table(("PERMISSION", "LETS ITS HOLDER"), list(offered.items()))


@role.command("update")
@click.argument("name")
@click.option("--add", "added", multiple=True, metavar="PERMISSION", help="Give this one, too; may be repeated.")
@click.option("--remove", "removed", multiple=True, metavar="PERMISSION", help="Take this one away; may be repeated.")
@click.option("--rename", metavar="NAME", help="Its new name.")
@click.option("--description", help="What it is for.")
@json_option
@pass_client
def update_role(
    client: Client,
    name: str,
    added: tuple[str, ...],
    removed: tuple[str, ...],
    rename: str | None,
    description: str | None,
    as_json: bool,
) -> None:
    """Change a role, and at once what everybody has by it."""
    from msgspec import UNSET

    from overseer.wire.access import RolePatch

    found, etag = client.roles.tagged(by_name(client.roles.list(), name, "role").id)
    if unheld := sorted(set(removed) - set(found.permissions)):
        raise click.UsageError(f"the role does not hold {', '.join(unheld)}")
    permissions = sorted((set(found.permissions) | set(added)) - set(removed))
    body = RolePatch(
        name=UNSET if rename is None else rename,
        permissions=permissions if added or removed else UNSET,
        description=UNSET if description is None else description,
    )
    _told(client.roles.patch(found.id, body, etag=etag), as_json, "changed")


@role.command("delete")
@click.argument("name")
@click.option("--cascade", is_flag=True, help="Delete the bindings that use it, too.")
@yes_option
@pass_client
def delete_role(client: Client, name: str, cascade: bool, yes: bool) -> None:
    """Delete a role that no binding uses."""
    from overseer.cli.terminal import confirm

    found = by_name(client.roles.list(), name, "role")
    if not yes:
        confirm(f"Delete role {name}" + (f" and its {number(found.in_use, 'binding')}?" if cascade and found.in_use else "?"))
    client.roles.delete(found.id, cascade=cascade)
    say(f"deleted role {name}")


def _told(view: RoleView, as_json: bool, done: str) -> None:
    if as_json:
        print_json(view)
    else:
        say(f"{done} role {view.name}: {' '.join(view.permissions)}")


@click.group()
def group() -> None:
    """Create, list, show, change and delete groups of users and service accounts."""


@group.command("create")
@click.argument("name")
@click.option("--description", default="", help="Who is in it.")
@json_option
@pass_client
def create_group(client: Client, name: str, description: str, as_json: bool) -> None:
    """Create a group; give it members and bindings."""
    view = client.groups.create(name, description)
    if as_json:
        print_json(view)
    else:
        say(f"created group {view.name}")


@group.command("list")
@json_option
@pass_client
def list_groups(client: Client, as_json: bool) -> None:
    """List groups."""
    views = list(client.groups.list())
    if as_json:
        print_json(views)
        return
    print_table(
        ("GROUP", "MEMBERS", "CREATED", "DESCRIPTION"),
        [(v.name, str(v.members), moment(v.created_at), v.description) for v in views],
        empty="no group that you may list",
    )


@group.command("show")
@click.argument("name")
@json_option
@pass_client
def show_group(client: Client, name: str, as_json: bool) -> None:
    """Show a group and its members."""
    view = by_name(client.groups.list(), name, "group")
    members = list(client.groups.members(view.id))
    if as_json:
        print_json({"group": view, "members": members})
        return
    print_fields([("id", view.id), ("name", view.name), ("created", moment(view.created_at)), ("description", view.description)])
    print_line("")
    print_table(
        ("MEMBER", "KIND", "STATE"),
        [(m.name, m.kind.replace("_", " "), "disabled" if m.disabled else "active") for m in members],
        empty="nobody is in it",
    )


@group.command("update")
@click.argument("name")
@click.option("--rename", metavar="NAME", help="Its new name.")
@click.option("--description", help="Who is in it.")
@json_option
@pass_client
def update_group(client: Client, name: str, rename: str | None, description: str | None, as_json: bool) -> None:
    """Rename a group or describe it anew."""
    from msgspec import UNSET

    from overseer.wire.access import GroupPatch

    found = by_name(client.groups.list(), name, "group")
    body = GroupPatch(
        name=UNSET if rename is None else rename, description=UNSET if description is None else description
    )
    view = client.groups.patch(found.id, body)
    if as_json:
        print_json(view)
    else:
        say(f"changed group {view.name}")


@group.command("add")
@click.argument("name")
@click.argument("principal")
@pass_client
def add_member(client: Client, name: str, principal: str) -> None:
    """Give PRINCIPAL, a user or a service account, all that the group holds."""
    client.groups.add(by_name(client.groups.list(), name, "group").id, principal)
    say(f"{principal} is in group {name}")


@group.command("remove")
@click.argument("name")
@click.argument("principal")
@pass_client
def remove_member(client: Client, name: str, principal: str) -> None:
    """Take PRINCIPAL out of a group, at once."""
    client.groups.remove(by_name(client.groups.list(), name, "group").id, principal)
    say(f"{principal} is not in group {name}")


@group.command("delete")
@click.argument("name")
@yes_option
@pass_client
def delete_group(client: Client, name: str, yes: bool) -> None:
    """Delete a group with its bindings; its members stay."""
    from overseer.cli.terminal import confirm

    found = by_name(client.groups.list(), name, "group")
    if not yes:
        lose = "nobody loses" if not found.members else f"{number(found.members, 'member')} lose{'s' * (found.members == 1)}"
        confirm(f"Delete group {name} with its bindings? {lose} what it gives")
    client.groups.delete(found.id)
    say(f"deleted group {name}")

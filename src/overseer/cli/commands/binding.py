"""``overseer binding …`` and ``break-glass …``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from overseer.cli.binding_text import GROUP, end_of, holder_of, place_of, state_of, warn_of_emergencies
from overseer.cli.options import DURATION, json_option, pass_client
from overseer.cli.output import moment, print_fields, print_json, print_table, say
from overseer.core.durations import span

if TYPE_CHECKING:
    from datetime import datetime

    from overseer.client.api import Client

Function = TypeVar("Function", bound=Callable[..., Any])


def selector_options(function: Function) -> Function:
    """The three parts of a selector and the name pattern, all of which have to be written."""
    pattern = "Which names: exact, a prefix as in 'db-*', or '*'."
    function = click.option("--name", required=True, metavar="PATTERN", help=pattern)(function)
    function = click.option("--node", required=True, metavar="NODE", help="A node, '*' or '-'.")(function)
    function = click.option("--env", "environment", required=True, metavar="ENV", help="An environment, '*' or '-'.")(function)
    app = "An app, '*' for any and none, '-' for none set."
    return click.option("--app", required=True, metavar="APP", help=app)(function)


@click.group()
def binding() -> None:
    """Give a role over a scope; list, show and delete what was given."""


@binding.command("create")
@click.argument("holder")
@click.argument("role_name", metavar="ROLE")
@selector_options
@click.option("--expires-in", type=DURATION, metavar="TIME", help="End by itself after this time.")
@json_option
@pass_client
def create_binding(
    client: Client,
    holder: str,
    role_name: str,
    app: str,
    environment: str,
    node: str,
    name: str,
    expires_in: int | None,
    as_json: bool,
) -> None:
    """Give ROLE to HOLDER (a user, a service account, or group:NAME) over a scope and a name pattern.

    Nothing has a default: what is not written is not given.
    """
    principal, group = _holder(holder)
    view = client.bindings.create(
        principal, role_name, app=app, environment=environment, node=node, name=name, group=group, expires_at=_in(expires_in)
    )
    if as_json:
        print_json(view)
    else:
        say(f"{holder_of(view)} is {view.role} over {place_of(view)}; binding {view.id}")


@binding.command("list")
@click.option("--principal", metavar="NAME", help="Only bindings of this principal.")
@click.option("--group", metavar="NAME", help="Only bindings of this group.")
@click.option("--role", metavar="NAME", help="Only bindings of this role.")
@json_option
@pass_client
def list_bindings(client: Client, principal: str | None, group: str | None, role: str | None, as_json: bool) -> None:
    """List bindings."""
    views = list(client.bindings.list(principal, group=group, role=role))
    if as_json:
        print_json(views)
        return
    print_table(
        ("ID", "HOLDER", "ROLE", "APP", "ENV", "NODE", "NAME", "EXPIRES"),
        [(v.id, holder_of(v), v.role, v.app, v.environment, v.node, v.name, end_of(v)) for v in views],
        empty="no binding that you may list",
    )


@binding.command("show")
@click.argument("binding_id", metavar="ID")
@json_option
@pass_client
def show_binding(client: Client, binding_id: str, as_json: bool) -> None:
    """Show a binding."""
    view = client.bindings.get(binding_id)
    if as_json:
        print_json(view)
        return
    print_fields(
        [
            ("id", view.id),
            ("holder", holder_of(view)),
            ("role", view.role),
            ("over", place_of(view)),
            ("expires", end_of(view)),
            ("created", moment(view.created_at)),
        ]
    )


@binding.command("delete")
@click.argument("binding_id", metavar="ID")
@pass_client
def delete_binding(client: Client, binding_id: str) -> None:
    """Take a binding away, at once."""
    client.bindings.delete(binding_id)
    say(f"deleted binding {binding_id}")


@click.group("break-glass")
def break_glass() -> None:
    """Rights for an emergency: dormant until their holder activates them, with a reason.

    Activating raises an alarm.
    """


@break_glass.command("create")
@click.argument("holder")
@click.argument("role_name", metavar="ROLE")
@click.option("--for", "active_seconds", type=DURATION, required=True, metavar="TIME", help="How long it lasts: 1m to 1d.")
@selector_options
@click.option("--expires-in", type=DURATION, metavar="TIME", help="After this time it cannot be activated any more.")
@json_option
@pass_client
def create_emergency(
    client: Client,
    holder: str,
    role_name: str,
    active_seconds: int,
    app: str,
    environment: str,
    node: str,
    name: str,
    expires_in: int | None,
    as_json: bool,
) -> None:
    """Let HOLDER (a user, a service account, or group:NAME) take ROLE in an emergency."""
    principal, group = _holder(holder)
    view = client.bindings.create(
        principal, role_name, app=app, environment=environment, node=node, name=name, group=group,
        expires_at=_in(expires_in), active_seconds=active_seconds,
    )  # fmt: skip
    if as_json:
        print_json(view)
    else:
        say(f"{holder_of(view)} can be {view.role} over {place_of(view)} for {span(active_seconds)} at a time; binding {view.id}")


@break_glass.command("list")
@click.option("--mine", is_flag=True, help="Only what you can activate yourself.")
@json_option
@pass_client
def list_emergencies(client: Client, mine: bool, as_json: bool) -> None:
    """List bindings for an emergency, and which of them are active."""
    found = client.me().bindings if mine else client.bindings.list(emergency=True)
    views = [view for view in found if view.active_seconds is not None]
    if as_json:
        print_json(views)
        return
    print_table(
        ("ID", "HOLDER", "ROLE", "APP", "ENV", "NODE", "NAME", "LASTS", "STATE"),
        [
            (v.id, holder_of(v), v.role, v.app, v.environment, v.node, v.name, span(v.active_seconds or 0), state_of(v))
            for v in views
        ],
        empty="no binding for an emergency that you may list",
    )
    warn_of_emergencies(views)


@break_glass.command("activate")
@click.argument("binding_id", metavar="ID")
@click.option("--reason", required=True, metavar="TEXT", help="Why; it stands in the audit log beside the alarm.")
@json_option
@pass_client
def activate(client: Client, binding_id: str, reason: str, as_json: bool) -> None:
    """Take the rights of an emergency binding of yours, now. It raises an alarm and ends by itself."""
    view = client.bindings.activate(binding_id, reason)
    if as_json:
        print_json(view)
    warn_of_emergencies([view])


@break_glass.command("end")
@click.argument("binding_id", metavar="ID")
@json_option
@pass_client
def end(client: Client, binding_id: str, as_json: bool) -> None:
    """End an emergency before its time."""
    view = client.bindings.deactivate(binding_id)
    if as_json:
        print_json(view)
    else:
        say(f"the emergency of {holder_of(view)} has ended")


def _holder(text: str) -> tuple[str | None, str | None]:
    """Principal and group, of which one is there."""
    return (None, text.removeprefix(GROUP)) if text.startswith(GROUP) else (text, None)


def _in(seconds: int | None) -> datetime | None:
    from datetime import UTC, datetime, timedelta

    return None if seconds is None else datetime.now(UTC) + timedelta(seconds=seconds)

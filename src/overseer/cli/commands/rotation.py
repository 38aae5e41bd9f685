"""``overseer rotation …``."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from overseer.cli.options import DURATION, json_option, pass_client, scope_options
from overseer.cli.output import moment, print_fields, print_json, print_table, say
from overseer.core.errors import Conflict, InvalidInput
from overseer.core.scopes import Scope

if TYPE_CHECKING:
    from overseer.client.api import Client
    from overseer.wire.rotations import RotationRunView, RotationView

_MAX_FILE = 64 * 1024
TAKE_OVER = "whoever set it may not any more; 'overseer rotation set NAME --again' sets the same again, in your name"


@click.group()
def rotation() -> None:
    """Rotate secrets on a schedule, and at the source of their credential."""


@rotation.command("list")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, metavar="N", help="At most N rows.")
@json_option
@pass_client
def list_(client: Client, limit: int, as_json: bool) -> None:
    """List the secrets that have a schedule or a rotator."""
    views = list(islice(client.rotations.list(), limit))
    if as_json:
        print_json(views)
        return
    print_table(
        ("SECRET", "SCOPE", "DUE", "ROTATOR", "SET BY", "LAST RUN"),
        [(v.name, _scope(v), _due(v), _kind(v), _setters(v), _last(v.newest_run)) for v in views],
        empty="no secret that you may list has a schedule or a rotator",
    )
    if any(v.stopped for v in views):
        say(f"stopped: {TAKE_OVER}")


@rotation.command()
@click.argument("name")
@scope_options
@json_option
@pass_client
def show(client: Client, name: str, scope: Scope[str], as_json: bool) -> None:
    """Show how a secret is rotated, and when it is due."""
    _print(client.rotations.get(client.secrets.find(name, scope).id), as_json)


@rotation.command("set")
@click.argument("name")
@scope_options
@click.option("--every", type=click.IntRange(1, 3650), metavar="DAYS", help="Rotate so many days after the newest version.")
@click.option("--cron", metavar="FIELDS", help="Rotate at these times, in UTC: '0 3 1 * *' is 3:00 on the first of each month.")
@click.option("--generate", metavar="SPEC", help="What makes the new value ('overseer help generators' lists all).")
@click.option("--grace", type=click.IntRange(0, 365), metavar="DAYS", help="How long the version before stays in force.")
@click.option("--notify", type=click.IntRange(1, 90), metavar="DAYS", help="Say so long before that it is near.")
@click.option("--jitter", type=click.IntRange(1, 1440), metavar="MINUTES", help="Up to so much later, at random.")
@click.option("--no-schedule", is_flag=True, help="Take the policy away.")
@click.option("--rotator", metavar="PATH", type=click.Path(), help="A JSON file: what changes the credential at its source.")
@click.option("--no-rotator", is_flag=True, help="Take the rotator away: a rotation is a new version, and no more.")
@click.option("--again", is_flag=True, help="Set what is set once more: you stand for it from then on.")
@json_option
@pass_client
def set_(
    client: Client,
    name: str,
    scope: Scope[str],
    every: int | None,
    cron: str | None,
    generate: str | None,
    grace: int | None,
    notify: int | None,
    jitter: int | None,
    no_schedule: bool,
    rotator: str | None,
    no_rotator: bool,
    again: bool,
    as_json: bool,
) -> None:
    """Say when a secret is rotated, and how. What is not given stays.

    A rotator's file holds no credential, but the id of the secret that has it:
    {"kind": "postgresql", "url": "postgresql://db.internal/app", "users": ["app_a", "app_b"], "admin": "ID"}

    It goes on while whoever set it may still set it. Then somebody else sets it again.
    """
    given = {
        "interval_days": every,
        "cron": cron,
        "generate": generate,
        "grace_days": grace,
        "notify_days": notify,
        "jitter_minutes": jitter,
    }
    fields = {key: value for key, value in given.items() if value is not None}
    if (no_schedule and fields) or (rotator is not None and no_rotator) or (every is not None and cron is not None):
        raise click.UsageError("these options contradict each other")
    found = client.secrets.find(name, scope)
    changes: dict[str, Any] = _as_set(client, found.id) if again else {}
    if fields:
        kept = {key: value for key, value in (found.rotation or {}).items() if not _replaced(key, fields)}
        changes["policy"] = {**kept, **fields}
    elif no_schedule:
        changes["policy"] = None
    if rotator is not None or no_rotator:
        changes["rotator"] = None if rotator is None else _read_rotator(rotator)
    if not changes:
        raise click.UsageError("say what to set; 'overseer rotation show' shows what is set")
    _print(client.rotations.set(found.id, **changes), as_json)


@rotation.command()
@click.argument("name")
@scope_options
@click.option("--resume", is_flag=True, help="Let the schedule go on.")
@json_option
@pass_client
def pause(client: Client, name: str, scope: Scope[str], resume: bool, as_json: bool) -> None:
    """Hold a schedule. A rotation that is on its way goes on."""
    _print(client.rotations.set(client.secrets.find(name, scope).id, paused=not resume), as_json)


@rotation.command()
@click.argument("name")
@scope_options
@click.option("--no-wait", is_flag=True, help="Do not wait until it has ended.")
@click.option("--timeout", type=DURATION, default="15m", show_default=True, metavar="TIME", help="Wait no longer.")
@json_option
@pass_client
def run(client: Client, name: str, scope: Scope[str], no_wait: bool, timeout: int, as_json: bool) -> None:
    """Rotate now, by the rotator where there is one. Ends with 75 where it was taken back."""
    found = client.secrets.find(name, scope)
    view = client.rotations.run(found.id)
    if not no_wait:
        view = client.rotations.wait(found.id, timeout, seen=lambda one: say(f"{name}: {_step(one)}"))
    if as_json:
        print_json(view)
    if view.state in ("reverted", "failed"):
        raise Conflict(f"the rotation {view.state}: {view.error}")


@rotation.command()
@click.argument("name")
@scope_options
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, metavar="N", help="At most N rows.")
@json_option
@pass_client
def history(client: Client, name: str, scope: Scope[str], limit: int, as_json: bool) -> None:
    """List the rotations of a secret, newest first."""
    runs = list(islice(client.rotations.runs(client.secrets.find(name, scope).id), limit))
    if as_json:
        print_json(runs)
        return
    print_table(
        ("STARTED", "BY", "VERSION", "STATE", "TRIES", "ERROR"),
        [
            (moment(r.created_at), r.created_by or r.cause, _versions(r), r.state, str(r.attempts or ""), r.error)
            for r in runs
        ],
        empty="this secret was not rotated by a schedule or a rotator yet",
    )


def _as_set(client: Client, secret_id: str) -> dict[str, Any]:
    """What is set, to be set once more."""
    view = client.rotations.get(secret_id)
    present = {"policy": view.policy, "rotator": view.rotator}
    return {key: value for key, value in present.items() if value is not None}


def _read_rotator(path: str) -> dict[str, Any]:
    try:
        with Path(path).open("rb") as file:
            content = json.loads(file.read(_MAX_FILE))
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {(error.strerror or 'it is damaged').lower()}") from None
    except ValueError:
        raise InvalidInput(f"{path} is no JSON") from None
    if not isinstance(content, dict):
        raise InvalidInput(f"{path} holds no JSON object")
    return content


def _replaced(key: str, fields: dict[str, Any]) -> bool:
    """An interval takes the place of times, and they of an interval."""
    schedules = {"interval_days", "cron"}
    return key in fields or (key in schedules and bool(schedules & fields.keys()))


def _print(view: RotationView, as_json: bool) -> None:
    if as_json:
        print_json(view)
        return
    policy = ", ".join(f"{key} {value}" for key, value in (view.policy or {}).items())
    print_fields(
        (
            ("secret", f"{view.name} ({_scope(view)})"),
            ("policy", policy or "-"),
            ("due", _due(view)),
            ("rotator", _kind(view) + (f" at {view.rotator['url']}" if view.rotator else "")),
            ("set by", _setters(view)),
            *((("stopped", f"{view.stopped}: {TAKE_OVER}"),) if view.stopped else ()),
            ("last run", _last(view.newest_run)),
        )
    )


def _due(view: RotationView) -> str:
    """The next time. The leader works it out within seconds of a change: until then what it had is not this schedule's."""
    if not {"interval_days", "cron"} & set(view.policy or {}):
        due = "on request"
    else:
        due = moment(view.due_at) if view.due_at is not None else "worked out within seconds: see 'overseer rotation show'"
    state = "paused" if view.paused else "stopped" if view.stopped else ""
    return f"{due} ({state})" if state else due


def _setters(view: RotationView) -> str:
    """Who stands for schedule and rotator."""
    names = [view.policy_set_by if view.policy else None, view.set_by if view.rotator else None]
    return ", ".join(dict.fromkeys(name for name in names if name)) or "-"


def _kind(view: RotationView) -> str:
    return str(view.rotator["kind"]) if view.rotator else "-"


def _last(run: RotationRunView | None) -> str:
    return "-" if run is None else f"{_step(run)}, {moment(run.finished_at or run.created_at)}"


def _step(run: RotationRunView) -> str:
    return f"{run.state} ({run.error})" if run.error else run.state


def _versions(run: RotationRunView) -> str:
    return f"{run.previous_version or '-'} → {run.candidate_version or '-'}"


def _scope(view: RotationView) -> str:
    return str(Scope(view.scope.app, view.scope.environment, view.scope.node))

"""``overseer compromised``: what could have been seen, in the order in which to rotate it, and rotating it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import click

from overseer.cli.options import DURATION, json_option, pass_client, yes_option
from overseer.cli.output import moment, print_json, print_table, say
from overseer.core.errors import Conflict, OverseerError
from overseer.core.scopes import Scope

if TYPE_CHECKING:
    from overseer.client.api import Client
    from overseer.wire.usage import CompromisedSecret, ExposureView


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one step: ``rotated``, ``withdrawn``, ``failed``, ``manual`` (bring a value) or ``not_needed``."""

    secret_id: str
    name: str
    outcome: str
    detail: str = ""


@click.command()
@click.argument("secrets", nargs=-1, metavar="[SECRET]…")
@click.option("--node", metavar="NODE", help="What this node could have seen.")
@click.option("--user", metavar="NAME", help="What this user or service account could have seen.")
@click.option("--rotate", is_flag=True, help="Rotate what needs it, one after the other.")
@click.option("--timeout", type=DURATION, default="15m", show_default=True, metavar="TIME", help="Wait so long for each rollout.")
@yes_option
@json_option
@pass_client
def compromised(
    client: Client,
    secrets: tuple[str, ...],
    node: str | None,
    user: str | None,
    rotate: bool,
    timeout: int,
    yes: bool,
    as_json: bool,
) -> None:
    """List what could have been seen after a compromise, in the order in which to rotate it.

    SECRET is a name, which means every secret of that name, or an id. With --rotate each secret that needs it and that Overseer
    can make a value for is rotated and its rollout awaited; the command ends with 75 when something is left to do.
    """
    if sum((bool(secrets), node is not None, user is not None)) != 1:
        raise click.UsageError("give secrets, --node or --user: exactly one of the three")
    plan = client.usage.compromised(secrets=secrets or None, node=node, user=user).secrets
    if not rotate:
        if as_json:
            print_json(plan)
        else:
            _print_plan(plan)
        return
    todo = [one for one in plan if one.needed and one.automatic]
    if not yes and todo:
        from overseer.cli.terminal import confirm

        confirm(f"Rotate {len(todo)} secret{'s' * (len(todo) != 1)} now ({', '.join(one.name for one in todo)})?")
    outcomes = [_carry_out(client, one, timeout) for one in plan]
    if as_json:
        print_json([asdict(one) for one in outcomes])
    left = [one for one in outcomes if one.outcome not in {"rotated", "not_needed"}]
    if left:
        raise Conflict(f"{len(left)} of {len(plan)} secrets are left: {', '.join(one.name for one in left)}")


def _carry_out(client: Client, one: CompromisedSecret, timeout: int) -> Outcome:
    """One step; what goes wrong with it does not keep the others from being rotated."""
    outcome = _rotated(client, one, timeout)
    say(f"{one.order}. {one.name} ({_scope(one)}): {outcome.outcome.replace('_', ' ')}{outcome.detail and f': {outcome.detail}'}")
    return outcome


def _rotated(client: Client, one: CompromisedSecret, timeout: int) -> Outcome:
    if not one.needed:
        return Outcome(one.secret_id, one.name, "not_needed", "the version in use could not have been seen")
    if not one.automatic:
        return Outcome(one.secret_id, one.name, "manual", f"bring a new value: overseer secret rotate {one.name} --stdin …")
    try:
        view = client.secrets.rotate(one.secret_id)
        if view.rollout is None:
            return Outcome(one.secret_id, one.name, "rotated", f"version {view.active_version} is in use")
        ended = client.rollouts.wait(view.rollout, timeout)
    except OverseerError as error:
        return Outcome(one.secret_id, one.name, "failed", error.message)
    if ended.state != "succeeded":
        return Outcome(one.secret_id, one.name, "withdrawn", ended.error)
    return Outcome(one.secret_id, one.name, "rotated", f"version {ended.candidate_version} is in use")


def _print_plan(plan: list[CompromisedSecret]) -> None:
    print_table(
        ("", "NAME", "SCOPE", "ROTATE", "NEW VALUE", "USED BY", "LAST SEEN", "WHY"),
        [
            (
                str(one.order),
                one.name,
                _scope(one),
                "yes" if one.needed else "not needed",
                "made by Overseer" if one.automatic else "bring one",
                " ".join(sorted({f"{c.app}@{c.node}" for c in one.consumers})),
                moment(one.last_seen_at),
                ", ".join(dict.fromkeys(map(_reason, one.reasons))),
            )
            for one in plan
        ],
        empty="nothing that you may list could have been seen",
    )


def _reason(reason: ExposureView) -> str:
    text = reason.kind.replace("_", " ")
    if reason.kind == "released":
        text += f" for {reason.detail}"
    return text if reason.version is None else f"{text} (version {reason.version})"


def _scope(one: CompromisedSecret) -> str:
    return str(Scope(one.scope.app, one.scope.environment, one.scope.node))

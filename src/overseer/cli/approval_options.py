"""``--ask``, ``--wait-approval`` and ``--approval`` of commands that a policy may make wait for another person."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, TypeVar

import click

from overseer.cli.output import people, say
from overseer.core.errors import ApprovalRequired, Conflict

if TYPE_CHECKING:
    from overseer.client.api import Client
    from overseer.wire.approvals import ApprovalView

Function = TypeVar("Function", bound=Callable[..., Any])
Answer = TypeVar("Answer")
_PLACE = "approval:"


@dataclass(frozen=True, slots=True)
class Asking:
    """``reason`` to ask with, ``wait`` for the decision, or the id of the ``approval`` that is to be used."""

    reason: str | None
    wait: bool
    approval: str | None


def approval_options(function: Function) -> Function:
    """The three options, given to the command as one ``asking``."""

    def wrapped(*args: Any, ask: str | None, wait_approval: bool, approval: str | None, **kwargs: Any) -> Any:
        if ask is not None and approval is not None:
            raise click.UsageError("give --ask to ask anew, or --approval for what was asked before")
        if wait_approval and ask is None and approval is None:
            raise click.UsageError("--wait-approval goes with --ask or --approval")
        return function(*args, asking=Asking(ask, wait_approval, approval), **kwargs)

    command: Callable[..., Any] = update_wrapper(wrapped, function)
    command = click.option("--approval", metavar="ID", help="Use this approval; refused where it cannot be used.")(command)
    command = click.option("--wait-approval", is_flag=True, help="Wait until it is decided, then go on.")(command)
    text = "Where a policy makes this wait for others: ask them, for this reason."
    return click.option("--ask", metavar="REASON", help=text)(command)  # type: ignore[return-value]


def with_approval(
    client: Client, asking: Asking, ask: Callable[[str], ApprovalView], act: Callable[[], Answer]
) -> Answer:
    """What ``act`` gives; where it needs an approval, ask for it or wait for it as ``asking`` says.

    Raises :class:`ApprovalRequired` where nobody has decided yet, :class:`Conflict` where it was refused or came to nothing.
    """
    if asking.approval is not None:
        _await(client, asking.approval, wait=asking.wait)
        return act()
    try:
        return act()
    except ApprovalRequired as error:
        if asking.reason is None:
            raise
        waiting = [one.place.removeprefix(_PLACE) for one in error.problems if one.code == "pending"]
        approval_id = waiting[0] if waiting else ask(asking.reason).id
        say(f"approval {approval_id}: {'it was asked for already' if waiting else 'asked'}")
        _await(client, approval_id, wait=asking.wait)
        return act()


def _await(client: Client, approval_id: str, *, wait: bool) -> None:
    view = client.approvals.get(approval_id)
    if view.state == "pending":
        if not wait:
            message = f"approved by {view.approvals} of {people(view.approvers)}: do this again when it is decided"
            raise ApprovalRequired(f"{message} ('overseer approval show {approval_id}'), or add --wait-approval")
        say(f"waiting for {people(view.approvers - view.approvals)} to approve {view.action} of {view.name} …")
        view = client.approvals.wait(approval_id)
    if view.state != "approved" or view.stale:
        state = "stale" if view.stale else view.state
        raise Conflict(f"approval {approval_id} is {state}: 'overseer approval show {approval_id}' says more; ask anew")

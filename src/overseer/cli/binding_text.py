"""Bindings as lines for people, and the warning that an emergency is going on."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from overseer.cli.output import moment, paint, say

if TYPE_CHECKING:
    from overseer.wire.access import BindingView

#: Before the name of a group where a principal could stand, too; no name has a colon.
GROUP: Final = "group:"


def holder_of(view: BindingView) -> str:
    """Who holds it; a group with its prefix."""
    return f"{GROUP}{view.principal}" if view.subject_kind == "group" else view.principal


def place_of(view: BindingView) -> str:
    """What it selects."""
    return f"app={view.app} env={view.environment} node={view.node} name={view.name}"


def end_of(view: BindingView) -> str:
    """When it ends, or how an emergency binding stands."""
    return moment(view.expires_at) if view.active_seconds is None else f"emergency, {state_of(view)}"


def state_of(view: BindingView) -> str:
    """How an emergency binding stands."""
    if view.active_until is not None:
        return f"active until {moment(view.active_until)}"
    return "dormant" if view.expires_at is None else f"dormant, until {moment(view.expires_at)}"


def warn_of_emergencies(views: Iterable[BindingView]) -> None:
    """Say on stderr, so that nobody overlooks it, which emergencies are active."""
    for view in views:
        if view.active_until is not None:
            word = paint("ALARM:", "red", sys.stderr)
            say(f"{word} emergency: {holder_of(view)} is {view.role} over {place_of(view)} until {moment(view.active_until)}")

"""The options by which commands choose audit rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import click

FILTERS: Final = {
    "actor": "Who: a name or an id.",
    "on-behalf-of": "For whom an agent or a rollout acted: a name or an id.",
    "action": "What, such as secret:reveal; secret:* is every action that begins so.",
    "outcome": "allowed, denied or failed.",
    "code": "The word that says why it was denied or failed.",
    "resource-kind": "What kind of thing was acted upon, such as secret.",
    "resource": "The name of what was acted upon.",
    "resource-id": "Its id.",
    "app": "At a scope with this app.",
    "environment": "At a scope with this environment.",
    "node": "At a scope with this node.",
    "peer": "From this address.",
    "request-id": "One request.",
    "token-id": "With this token.",
    "text": "This stands in the reason, in any case of letters.",
}


def filter_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Every filter but the time, as parameters of the same names."""
    for name, text in reversed(FILTERS.items()):
        function = click.option(f"--{name}", metavar="TEXT", help=text)(function)
    return function


def period_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """``since`` and ``until``, to be read with :func:`moment_of`."""
    function = click.option("--until", metavar="TIME", help="Before this moment.")(function)
    return click.option("--since", metavar="TIME", help="From this moment on: 2026-01-31T12:00:00Z, or 24h for the last day.")(
        function
    )


def moment_of(text: str | None) -> str | None:
    """RFC 3339 as it is, a duration as that long ago."""
    if text is None or not text[-1:].isalpha() or text.endswith(("Z", "z")):
        return text
    from datetime import UTC, datetime, timedelta

    from overseer.cli.options import DURATION

    return (datetime.now(UTC) - timedelta(seconds=DURATION.convert(text, None, None))).isoformat()

"""Fields of requests as the person at the command line gave them: ``body.environment`` is ``--env`` of the command that ran.

A field that the command has no option or argument for keeps its name: it came from a file, or from the command itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

import click

from overseer.core.errors import OverseerError, Problem

_FIELD: Final = re.compile(r"(?:body|query|path)\.([a-z_]+)(.*)", re.DOTALL)
#: Names in the API and of parameters here that are not the same word.
_ALSO: Final = {
    "expires_in": ("expires", "duration"),
    "expires_at": ("expires",),
    "principal": ("holder",),
    "group": ("holder",),
    "permissions": ("permission",),
    "nodes": ("node",),
    "networks": ("network",),
    "actions": ("action",),
}


def name_options(error: OverseerError, command: click.Command) -> None:
    """Write the options and arguments of ``command`` into the places of the error's problems."""
    message = error.message
    for problem in error.problems:
        place = option_of(problem.place, command.params)
        if place != problem.place and message.startswith(f"{problem.place}:"):
            error.message = place + message.removeprefix(problem.place)
    error.problems = tuple(Problem(option_of(one.place, command.params), one.rule, one.code) for one in error.problems)
    error.args = (error.message,)


def option_of(place: str, parameters: Iterable[click.Parameter]) -> str:
    """``--env`` for ``body.environment``; the place itself where no parameter is it."""
    found = _FIELD.fullmatch(place)
    if found is None:
        return place
    known = {parameter.name: parameter for parameter in parameters}
    for name in (found[1], *_ALSO.get(found[1], ()), f"{found[1]}s"):
        parameter = known.get(name)
        if isinstance(parameter, click.Option):
            return max(parameter.opts, key=len)
        if parameter is not None:
            return (parameter.metavar or name).upper()
    return place

"""What was perhaps meant by a name that the server does not know: said after its refusal or an empty list, out of what the
caller may list.

Guarantees: nothing is told that a list would not show the caller; the refusal and the exit code stay as they are; at most six
lists are read, :data:`MOST_LISTED` names of each. What cannot be listed is not told, and nothing fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from overseer.cli.output import Hint, say
from overseer.client.secrets import scope_kind
from overseer.compose.advice import near_misses
from overseer.core.errors import OverseerError, Unavailable
from overseer.core.scopes import Scope

if TYPE_CHECKING:
    from overseer.client.api import Client
    from overseer.wire.secrets import SecretView

Item = TypeVar("Item")
MOST_LISTED: Final = 1000
_MOST_SCOPES: Final = 3
#: The parameters that name a part of a scope, and the group of commands that makes one.
_PARTS: Final = (("app", "app"), ("environment", "env"), ("node", "node"), ("nodes", "node"))
_GROUPS: Final = frozenset({"app", "env", "node"})


def add_hints(error: OverseerError, client: Client, ctx: click.Context) -> None:
    """Note what was perhaps meant, where ``error`` says that something is not there."""
    if not isinstance(error, Unavailable):
        return
    hints = list(_about_parts(client, _given(ctx), str(error)))
    for text in hints or _about_secret(client, ctx):
        error.add_note(Hint(text))


def say_hints(client: Client, ctx: click.Context) -> None:
    """Say after an empty list which app, environment or node it was asked of does not exist, as far as the caller may see."""
    for text in _about_parts(client, _given(ctx), ""):
        say(text)


def _given(ctx: click.Context) -> dict[str, Any]:
    """The command's parameters; the argument of ``overseer app show NAME`` is an app as ``--app`` is one elsewhere."""
    group = ctx.parent.info_name if ctx.parent is not None else None
    if group in _GROUPS and isinstance(ctx.params.get("name"), str):
        return {"environment" if group == "env" else str(group): ctx.params["name"]}
    return ctx.params


def _about_parts(client: Client, given: dict[str, Any], said: str) -> Iterator[str]:
    lists: dict[str, Callable[[], Iterator[Any]]] = {
        "app": client.apps.list,
        "env": client.environments.list,
        "node": client.nodes.list,
    }
    for parameter, kind in _PARTS:
        value = given.get(parameter)
        wanted = [value] if isinstance(value, str) else [*value] if isinstance(value, tuple) else []
        wanted = [one for one in wanted if one != "-" and not one.endswith("*")]  # which no app is called
        known = _listed(lists[kind]) if wanted else None
        names = {str(one.name) for one in known or ()}
        for name in wanted if known is not None else ():
            similar = near_misses(name, names) if name not in names else ()
            if similar:
                yield f"{kind} {name}: did you mean {_or(similar)}?"
            elif name not in names and "create it with" not in said:
                yield f"there is no {kind} {name} that you may see; make it: overseer {kind} create {name}"


def _about_secret(client: Client, ctx: click.Context) -> Iterator[str]:
    """Of commands whose argument is a secret's name and whose options are its scope."""
    name, given = ctx.params.get("name"), ctx.params
    argument = any(isinstance(one, click.Argument) and one.name == "name" for one in ctx.command.params)
    if not argument or not isinstance(name, str) or not {"app", "environment", "node"} <= given.keys():
        return
    scope = Scope(given["app"], given["environment"], given["node"])
    there = _secrets(client, app=scope.app, environment=scope.environment, node=scope.node, scope=scope_kind(scope))
    if any(one.name == name for one in there):
        return  # it is its version, or something else, that is not there
    elsewhere = sorted({str(_scope(one)) for one in _secrets(client, name=name) if one.name == name})
    similar = near_misses(name, {one.name for one in there})
    if elsewhere:
        yield f"{name} exists at {' and at '.join(elsewhere[:_MOST_SCOPES])}: name that scope exactly"
    if similar:
        yield f"did you mean {_or(similar)}?"
    if elsewhere or similar:
        return
    found = _secrets(client)
    at = {view.name: str(_scope(view)) for view in found}
    others = near_misses(name, at)
    if others:
        yield "did you mean " + " or ".join(f'"{one}" at {at[one]}' for one in others) + "?"


def _secrets(client: Client, **wanted: str | None) -> list[SecretView]:
    return _listed(lambda: client.secrets.list(**wanted)) or []


def _listed(names: Callable[[], Iterator[Item]]) -> list[Item] | None:
    """The first of a list; None where the caller may not list, or the server does not answer."""
    try:
        return list(islice(names(), MOST_LISTED))
    except OverseerError:
        return None


def _or(names: tuple[str, ...]) -> str:
    return " or ".join(f'"{one}"' for one in names)


def _scope(view: SecretView) -> Scope[str]:
    return Scope(view.scope.app, view.scope.environment, view.scope.node)

"""What ``app delete``, ``env delete`` and ``node delete`` have in common: say what goes, ask, delete."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from overseer.cli.output import print_line, print_table, say
from overseer.core.scopes import Scope

if TYPE_CHECKING:
    from overseer.client.scopes import Apps, Environments, Nodes
    from overseer.wire.scopes import ContentsView

Function = TypeVar("Function", bound=Callable[..., Any])


def cascade_option(function: Function) -> Function:
    """``--cascade``."""
    text = "With the secrets, bindings and deployments that belong to it; refused while anything is deployed."
    return click.option("--cascade", is_flag=True, help=text)(function)


def remove(things: Apps | Environments | Nodes, kind: str, name: str, *, cascade: bool, yes: bool) -> None:
    """Delete one of ``things``. With a cascade everything that would go is shown first."""
    from overseer.cli.terminal import confirm

    if cascade and not yes:
        print_contents(things.contents(name))
    if not yes:
        confirm(f"Delete {kind} {name}" + (" and all of this for good?" if cascade else "?"))
    things.delete(name, cascade=cascade)
    say(f"deleted {kind} {name}" + (" with what belonged to it" if cascade else ""))


def print_contents(contents: ContentsView) -> None:
    """What belongs to an app, an environment or a node."""
    rows = [("deployed", one.project, str(Scope(one.app, one.environment, one.node))) for one in contents.deployed]
    rows += [("secret", one.name, str(Scope(one.scope.app, one.scope.environment, one.scope.node))) for one in contents.secrets]
    rows += [("binding", one.name, f"{one.role} of {one.principal}") for one in contents.bindings]
    if rows:
        print_table(("WHAT", "NAME", "WHERE"), rows)
    print_line(f"{contents.deployments} deployments and {contents.bundles} bundles in its history")
    if contents.hidden:
        print_line(f"{contents.hidden} more that you may not see")

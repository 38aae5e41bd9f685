"""What commands about secrets share: options of versions, the place as text, and the line that says how a secret stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from overseer.cli.output import print_json, say
from overseer.core.scopes import Scope

if TYPE_CHECKING:
    from overseer.wire.secrets import ScopeView, SecretView

ReadFrom = tuple[bool, str | None, bool, str | None]
immediate_option = click.option("--immediate", is_flag=True, help="Use it at once and leave running containers as they are.")
if_version_option = click.option("--if-version", type=click.IntRange(min=1), metavar="N", help="Only if N is the newest version.")


def tell(view: SecretView, as_json: bool) -> None:
    """The secret as JSON, or its versions in a line on stderr, and where to follow a rollout."""
    if as_json:
        print_json(view)
        return
    use = "in use" if view.active_version == view.version else f"version {view.active_version} in use"
    say(f"{view.name} ({scope_text(view.scope)}): newest version {view.version}, {use}")
    if view.rollout is not None:
        say(f"  a rollout is bringing another version to its containers: overseer rollout wait {view.rollout}")


def scope_text(scope: ScopeView) -> str:
    """The scope as every command writes it."""
    return str(Scope(scope.app, scope.environment, scope.node))

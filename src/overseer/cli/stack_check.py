"""All that is wrong with a stack, at once, before its bundle is stored: what its text shows here, and what the server knows.

The server is asked only where the text alone is refused, for otherwise the deployment itself gets the whole answer. Only a
service to people: the server decides by itself, and tells nobody here what it would not tell them in a deployment.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from overseer.cli.output import printable, say
from overseer.core.errors import OverseerError, Problem, ReferencesRefused

if TYPE_CHECKING:
    from overseer.client.api import Client
    from overseer.wire.deployments import BundleCreate

#: Each node is a request in which the server reads the bundle.
MOST_NODES_ASKED: Final = 20


def check_stack(
    client: Client,
    content: BundleCreate,
    app: str,
    environment: str | None,
    nodes: Sequence[str],
    labels: dict[str, str],
    *,
    allow_persisting: bool,
) -> None:
    """Raises :class:`ReferencesRefused` with every problem of the text and every secret that the deployment would not get."""
    from overseer.compose.problem_lists import joined, on_nodes

    own = text_problems(content, allow_persisting=allow_persisting)
    if not own:
        return
    told: list[tuple[str, Sequence[Problem]]] = []
    try:
        wanted = nodes or _labelled(client, labels)
        for node in wanted[:MOST_NODES_ASKED]:
            told.append((node, _refused_on(client, content, app, environment, node, allow_persisting=allow_persisting)))
        if len(wanted) > MOST_NODES_ASKED:
            say(f"the secrets of the first {MOST_NODES_ASKED} of {len(wanted)} nodes were looked at")
    except OverseerError as error:
        say(f"whether secrets are missing, too, is not known: {printable(error.message)}")
    raise ReferencesRefused("the bundle cannot be deployed; nothing was changed", problems=joined(own, on_nodes(told)))


def text_problems(content: BundleCreate, *, allow_persisting: bool) -> tuple[Problem, ...]:
    """What is wrong whatever secrets there are."""
    from overseer.compose.bundle import Bundle
    from overseer.compose.references import find_references

    files = {
        file.path: base64.b64decode(file.content_base64 or "") if file.content is None else file.content.encode("utf-8")
        for file in content.files
    }
    return find_references(Bundle(files, content.compose_files), allow_persisting=allow_persisting).problems


def _refused_on(
    client: Client, content: BundleCreate, app: str, environment: str | None, node: str, *, allow_persisting: bool
) -> Sequence[Problem]:
    from overseer.wire.plans import PlanCreate

    asked = PlanCreate(
        app=app, environment=environment, node=node, stack=content, allow_persisting=allow_persisting, deploying=True
    )
    try:
        client.deployments.plan(asked)
    except ReferencesRefused as error:
        return error.problems
    return ()


def _labelled(client: Client, labels: dict[str, str]) -> list[str]:
    """The nodes that a deployment by these labels goes to."""
    return [one.name for one in client.nodes.list() if labels.items() <= one.labels.items()]

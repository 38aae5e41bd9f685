"""While a deployment waits: says once which node's agent is away, and since when. A service to people, on stderr, and no more.

What cannot be asked is not told: without the right to see nodes, or with the server away, nothing is said and nothing fails.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from overseer.cli.output import moment, printable, say
from overseer.core.errors import NotReady, OverseerError, RateLimited

if TYPE_CHECKING:
    from overseer.client.api import Client
    from overseer.wire.deployments import DeploymentEvent, DeploymentView
    from overseer.wire.scopes import NodeView

#: An agent that runs asks for work twice a minute.
ABSENT_SECONDS = 60.0
AGAIN_SECONDS = 60.0


class AbsentAgents:
    """To be called now and then while deployments wait, and told of what they do by :meth:`heard`."""

    def __init__(
        self, client: Client, ordered: Iterable[DeploymentView], clock: Callable[[], float] = time.monotonic
    ) -> None:
        views = list(ordered)
        self._client, self._clock = client, clock
        self._waiting = {view.id: view.node for view in views if view.state == "queued"}
        self._told: set[str] = set()
        self._began = self._next = clock()
        # The server's own clock, as the last time of a node is: this machine's may be off.
        self._ordered_at = max((view.created_at for view in views), default=None)

    def heard(self, event: DeploymentEvent) -> None:
        """A deployment that is no longer queued was taken by its agent."""
        if event.state != "queued":
            self._waiting.pop(event.deployment, None)

    def __call__(self) -> None:
        """Look, at most once a minute."""
        if not set(self._waiting.values()) - self._told or self._clock() < self._next:
            return
        self._next = self._clock() + AGAIN_SECONDS
        try:
            for node in self._nodes():
                if self._tell(node):
                    self._told.add(node.name)
        except (NotReady, RateLimited):
            return  # later
        except OverseerError:
            self._waiting.clear()

    def _nodes(self) -> list[NodeView]:
        wanted = set(self._waiting.values()) - self._told
        if len(wanted) == 1:
            return [self._client.nodes.get(name) for name in wanted]
        return [node for node in self._client.nodes.list() if node.name in wanted]

    def _tell(self, node: NodeView) -> bool:
        """Whether there was something to say."""
        name = printable(node.name)
        if node.last_seen_at is None:
            say(f"  node {name} was never seen: its agent has to join and to run before it takes the deployment")
            return True
        if self._ordered_at is None:
            return False
        away = (self._ordered_at - node.last_seen_at).total_seconds() + self._clock() - self._began
        if away < ABSENT_SECONDS:
            return False
        when = moment(node.last_seen_at)
        say(f"  node {name} was last seen {ago(away)} ago ({when}): the deployment waits until its agent is back")
        return True


def ago(seconds: float) -> str:
    """A length of time as people say it: ``1 minute``, ``5 hours``, ``12 days``."""
    for size, word in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size:
            number = int(seconds // size)
            return f"{number} {word}{'' if number == 1 else 's'}"
    return f"{int(seconds)} seconds"

"""Secrets of a Swarm: made with names that tell their version, used by services, removed when nothing uses them.

A Swarm secret cannot change, so each version is one of its own, and a new one reaches a service by an update that takes the old
one away and adds the new one. Who may ask the engine sees names and labels, never values.

Guarantees: a value goes to ``docker secret create NAME -`` on standard input, never into an argument, an environment or a file;
one that exists is used only where its labels say that Overseer made it for this secret and version; what is removed was made for
this project, and the engine refuses to remove one that a service uses.

What it cannot do: keep a value out of the managers' Raft log. It lies there encrypted, with a key beside it unless the Swarm is
locked (``docker swarm update --autolock=true``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from overseer.agent.engine import Engine
from overseer.compose.swarm import secret_name
from overseer.core.errors import NodeProblem
from overseer.core.secret_value import SecretValue

#: SwarmKit's own limit (api/validation) of a value.
MAX_BYTES: Final = 511_999
_SECONDS: Final = 60.0
_PROJECT: Final = "overseer.project"


@dataclass(frozen=True, slots=True)
class SwarmSecret:
    """One version of one secret for one project. ``id`` is the secret's at the server: names can be used again, ids are not."""

    project: str
    app: str
    environment: str | None
    secret: str
    version: int
    id: str

    @property
    def name(self) -> str:
        """See :func:`overseer.compose.swarm.secret_name`."""
        return secret_name(self.project, self.secret, self.version, self.id)

    @property
    def labels(self) -> dict[str, str]:
        return {
            "overseer": "secret",
            _PROJECT: self.project,
            "overseer.app": self.app,
            "overseer.environment": self.environment or "",
            "overseer.secret": self.secret,
            "overseer.version": str(self.version),
            "overseer.secret-id": self.id,
        }


def create(engine: Engine, wanted: Mapping[SwarmSecret, SecretValue]) -> None:
    """Make those that are missing. Raises :class:`NodeProblem` where one cannot be made; the others may exist then."""
    for secret, value in wanted.items():
        if not 1 <= len(value) <= MAX_BYTES:
            raise NodeProblem(f"secret {secret.secret}: a Swarm secret has 1 to {MAX_BYTES} bytes, its value has {len(value)}")
    for secret, value in wanted.items():
        if not _exists(engine, secret):
            labels = [word for label in secret.labels.items() for word in ("--label", "=".join(label))]
            made = engine.run(
                [*engine.docker, "secret", "create", *labels, secret.name, "-"], seconds=_SECONDS, stdin=value.reveal()
            )
            if made.code != 0 and not _exists(engine, secret):  # another manager may have been faster
                raise NodeProblem(f"the Swarm did not take secret {secret.secret}: exit code {made.code}")


def prune(engine: Engine, project: str, keep: Iterable[str] = ()) -> list[str]:
    """Remove what was made for ``project`` and is not in ``keep``; returns the names of those that are still used."""
    kept = set(keep)
    listed = engine.run(
        [*engine.docker, "secret", "ls", "--filter", f"label={_PROJECT}={project}", "--format", "{{.Name}}"], seconds=_SECONDS
    )
    if listed.code != 0:
        raise NodeProblem("the Swarm does not list its secrets: this node's engine has to be a manager")
    # One at a time: with several, one that is used hides which the others are.
    names = [name for name in listed.stdout.decode("ascii", "replace").split() if name not in kept]
    return [name for name in names if engine.run([*engine.docker, "secret", "rm", name], seconds=_SECONDS).code != 0]


def _exists(engine: Engine, secret: SwarmSecret) -> bool:
    found = engine.run(
        [*engine.docker, "secret", "inspect", "--format", "{{json .Spec.Labels}}", secret.name], seconds=_SECONDS
    )
    if found.code != 0:
        return False
    try:
        labels = msgspec.json.decode(found.stdout, type=dict[str, str] | None) or {}
    except msgspec.MsgspecError:
        labels = {}
    if any(labels.get(key) != text for key, text in secret.labels.items()):
        raise NodeProblem(f"the Swarm has a secret {secret.name} that Overseer did not make; remove it")
    return True

"""Compose for one project of this node: the commands that change it, and what they said, redacted.

Guarantees: the filled model goes to standard input; a Compose that outlives a killed agent keeps the project's lock, so the next
agent waits for its end and does not run beside it. Volumes are never removed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from overseer.agent.engine import Engine, Outcome
from overseer.agent.injection.redaction import Redactor
from overseer.core.errors import NodeProblem
from overseer.core.secret_value import SecretValue

#: Pulling images and creating things is outside of Compose's own wait.
_UP_EXTRA_SECONDS: Final = 1800.0
_DOWN_SECONDS: Final = 300.0
_HASH_SECONDS: Final = 60.0
#: What ``up --wait`` says when a container ended with 0, which a job does.
_ENDED_WELL: Final = re.compile(rb"container \S+ exited \(0\)")
_LOG_LINES: Final = "20"


class StepFailed(Exception):
    """A step failed after it began to change things; ``output`` is redacted already."""

    def __init__(self, message: str, output: str) -> None:
        super().__init__(message)
        self.output = output


@dataclass(frozen=True, slots=True)
class ComposeProject:
    """``directory`` is where the model's relative paths would lie; ``lock`` a descriptor that holds the project."""

    engine: Engine
    name: str
    directory: Path
    root: Path
    lock: int

    def up(self, model: SecretValue, redactor: Redactor, wait: int, services: Sequence[str] = (), *, alone: bool = False) -> str:
        """Make it so, and wait until it is healthy: all (others go), or ``services`` with what they need, or them ``alone``.

        Returns what Compose said. Raises :class:`StepFailed` with that and the end of the containers' logs.
        """
        which = ["--no-deps"] * alone + ["--", *services] if services else ["--remove-orphans"]
        command = [
            *self._compose(self.directory), "--file", "-", "up", "--detach", "--wait", "--wait-timeout", str(wait),
            "--quiet-pull", *which,
        ]  # fmt: skip
        outcome = self.engine.run(
            command, seconds=wait + _UP_EXTRA_SECONDS, stdin=model.reveal(), directory=self.root, hold=(self.lock,)
        )
        output = redactor.clean(outcome.stderr + outcome.stdout)
        if outcome.code != 0 and not _ENDED_WELL.search(outcome.stderr):
            raise StepFailed(why("docker compose up", outcome), output + self.logs(redactor))
        return output

    def hashes(self, model: SecretValue) -> dict[str, str]:
        """Compose's own digest of each service of ``model``, as the containers' labels have it. They stay in memory.

        Raises :class:`NodeProblem` where Compose refuses the model.
        """
        command = [*self._compose(self.directory), "--file", "-", "config", "--hash", "*"]
        outcome = self.engine.run(command, seconds=_HASH_SECONDS, stdin=model.reveal(), directory=self.root)
        if outcome.code != 0:
            raise NodeProblem(why("docker compose config", outcome))
        words = (line.split() for line in outcome.stdout.decode("utf-8", "replace").splitlines())
        return {pair[0]: pair[1] for pair in words if len(pair) == 2}

    def down(self) -> Outcome:
        """By the project's name alone: Compose finds containers and networks by its labels. Volumes stay."""
        command = [*self._compose(self.root), "down", "--remove-orphans"]
        return self.engine.run(command, seconds=_DOWN_SECONDS, directory=self.root, hold=(self.lock,))

    def logs(self, redactor: Redactor) -> str:
        """The end of what the containers said: why they are not well. It may hold values, like any log."""
        command = [*self._compose(self.root), "logs", "--no-color", "--tail", _LOG_LINES]
        outcome = self.engine.run(command, seconds=60.0, directory=self.root)
        return "\n" + redactor.clean(outcome.stdout) if outcome.stdout else ""

    def _compose(self, directory: Path) -> list[str]:
        return [
            *self.engine.compose, "--ansi", "never", "--progress", "plain",
            "--project-directory", str(directory), "--project-name", self.name,
        ]  # fmt: skip


def why(command: str, outcome: Outcome) -> str:
    """How a command failed, without anything that it said."""
    return f"{command} did not end in time" if outcome.timed_out else f"{command} failed with exit code {outcome.code}"

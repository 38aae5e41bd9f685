"""What a deployment would do to each service, judged from facts of the bundle that runs and of the one that comes. Pure.

Compose decides in the end: where files are merged or variables filled in, unequal text may be the same to it, so the effect is
given as not certain. What is said to be ``nothing`` rests on equal text of all that Compose compares.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from overseer.server.services.plan_facts import ServiceFacts
from overseer.server.services.plan_parts import RECREATE, SINGLE_FILE


class Effect(StrEnum):
    """What becomes of a service's containers, the mildest first."""

    NOTHING = "nothing"
    RELOAD = "reload"
    RESTART = "restart"
    UPDATE = "update"  # of a service of a Swarm, whose tasks are replaced
    RECREATE = "recreate"
    CREATE = "create"
    REMOVE = "remove"


_ORDER: Final = {effect: number for number, effect in enumerate(Effect)}


@dataclass
class Outcome:
    """The strongest effect on one service, with all reasons; ``touched`` where a file in its containers changes."""

    effect: Effect = Effect.NOTHING
    certain: bool = True
    because: list[str] = field(default_factory=list)
    touched: bool = False

    def add(self, effect: Effect, why: str, *, certain: bool = True) -> None:
        """One more reason."""
        if _ORDER[effect] > _ORDER[self.effect]:
            self.effect, self.certain = effect, certain
        elif effect is self.effect:
            # One sure reason for this effect is enough; "nothing" is only as sure as all that is said about it.
            self.certain = self.certain and certain if effect is Effect.NOTHING else self.certain or certain
        if why not in self.because:
            self.because.append(why)


@dataclass(frozen=True, slots=True)
class NewValue:
    """A reference whose value is another one than what runs; ``text`` says so for people."""

    reference: str
    text: str


def judge(
    running: Mapping[str, ServiceFacts] | None, coming: Mapping[str, ServiceFacts], values: list[NewValue]
) -> dict[str, Outcome]:
    """The outcome of each service, by name; ``running`` is None where nothing of the project runs on the node."""
    found: dict[str, Outcome] = {}
    for name, facts in sorted(coming.items()):
        before = None if running is None else running.get(name)
        outcome = found[name] = Outcome()
        if before is None:
            outcome.add(Effect.CREATE, "nothing of it runs there" if running is None else "it is new in the bundle")
        else:
            _definition(outcome, before, facts)
            _values(outcome, facts, values)
    for name in sorted(set(running or {}) - set(coming)):
        found[name] = Outcome(Effect.REMOVE, because=["it is not in the bundle any more, or no profile of it is on"])
    _follow(found, coming)
    return dict(sorted(found.items()))


def _definition(outcome: Outcome, before: ServiceFacts, after: ServiceFacts) -> None:
    if before.definition != after.definition:
        unsure = sorted({*before.unsure, *after.unsure})
        why = "its definition or an env_file of it changed"
        outcome.add(Effect.RECREATE, f"{why} ({', '.join(unsure)})" if unsure else why, certain=not unsure)
    if before.build != after.build:
        outcome.add(Effect.RECREATE, "what its image is built from changed: an image that exists is kept", certain=False)
    if before.count != after.count:
        outcome.add(Effect.RECREATE, "the number of its containers changed", certain=False)
    changed = sorted(path for path in {*before.files, *after.files} if before.files.get(path) != after.files.get(path))
    for path in changed:
        outcome.touched = True
        outcome.add(
            Effect.NOTHING, f"{path} of the bundle changed: seen at once in a mounted directory, a single file after a restart",
            certain=False,
        )  # fmt: skip


def _values(outcome: Outcome, facts: ServiceFacts, values: list[NewValue]) -> None:
    for value in values:
        ways = facts.ways.get(value.reference)
        if ways is None:
            continue
        if RECREATE in ways:
            outcome.add(Effect.RECREATE, f"{value.text}: Compose compares the text that holds it")
            continue
        outcome.touched = True
        if SINGLE_FILE in ways:
            outcome.add(Effect.RESTART, f"{value.text}: a file that is mounted alone is seen after a restart")
        elif facts.reload == "none":
            outcome.add(Effect.NOTHING, f"{value.text}: the file changes in place, and nobody is told (reload: none)")
        elif facts.reload == "restart":
            outcome.add(Effect.RESTART, f"{value.text}: the file changes in place (reload: restart)")
        else:
            outcome.add(Effect.RELOAD, f"{value.text}: the file changes in place (reload: {facts.reload})")


def _follow(found: dict[str, Outcome], coming: Mapping[str, ServiceFacts]) -> None:
    """What happens to a service because of another one that it shares a namespace with, or is to be restarted with."""
    changed = True
    while changed:
        changed = False
        for name, facts in sorted(coming.items()):
            outcome = found[name]
            for others, effect, word in (
                (facts.shares, Effect.RECREATE, "it shares a namespace or volumes with {}, which is recreated"),
                (facts.follows, Effect.RESTART, "it is restarted with {}, as its depends_on says"),
            ):
                for other in sorted(others & found.keys()):
                    cause = found[other]
                    moved = cause.effect is Effect.RECREATE or (effect is Effect.RESTART and cause.effect is Effect.RESTART)
                    if moved and _ORDER[outcome.effect] < _ORDER[effect]:
                        outcome.add(effect, word.format(other), certain=False)
                        changed = True

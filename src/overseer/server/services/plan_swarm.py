"""What a deployment to a Swarm would do: which services are updated and why, which secrets are made and removed. Pure.

Swarm replaces a service's tasks where what they are made of is another text, and a new version of a secret is another secret:
so nothing is ever reloaded or restarted in place, and ``overseer.reload`` has no meaning. What only one node would have is
refused by the agent after Compose has merged the files; here it is told as far as the files show it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from overseer.compose.positions import Kind
from overseer.compose.references import BundleScan, Form
from overseer.compose.swarm import NOT_BUILT, NOT_SHIPPED, ONLY_EXTERNAL, secret_name
from overseer.server.services.plan_effects import Effect, NewValue, Outcome
from overseer.server.services.plan_facts import ServiceFacts
from overseer.server.services.plan_parts import RECREATE
from overseer.server.storage.deployment_rows import DeploymentSecretRow
from overseer.wire.plans import PlannedSwarmSecret


def judge_swarm(
    running: Mapping[str, ServiceFacts] | None, coming: Mapping[str, ServiceFacts], values: Sequence[NewValue]
) -> dict[str, Outcome]:
    """The outcome of each service, by name; ``running`` is None where no stack of the project runs there."""
    found: dict[str, Outcome] = {}
    for name, facts in coming.items():
        before = None if running is None else running.get(name)
        outcome = found[name] = Outcome()
        if before is None:
            outcome.add(Effect.CREATE, "nothing of it runs there" if running is None else "it is new in the bundle")
            continue
        _definition(outcome, before, facts)
        for value in values:
            if value.reference in facts.ways:
                text = "the text that holds it is another" if RECREATE in facts.ways[value.reference] else "it is another secret"
                outcome.add(Effect.UPDATE, f"{value.text}: {text}")
        if outcome.effect is Effect.UPDATE:
            outcome.because.append(f"its tasks are replaced: {facts.rolling}")
        if before.count != facts.count:
            outcome.add(Effect.UPDATE, "the number of its tasks changed: tasks are started or stopped for that, none is replaced")
    for name in sorted(set(running or {}) - set(coming)):
        found[name] = Outcome(Effect.REMOVE, because=["it is not in the bundle any more, or no profile of it is on"])
    return dict(sorted(found.items()))


def _definition(outcome: Outcome, before: ServiceFacts, after: ServiceFacts) -> None:
    unsure = sorted({*before.unsure, *after.unsure})
    said = f" ({', '.join(unsure)})" if unsure else ""
    if before.task != after.task:
        outcome.add(Effect.UPDATE, f"its definition or an env_file of it changed{said}", certain=not unsure)
    elif before.definition != after.definition:
        outcome.touched = True
        outcome.add(Effect.NOTHING, f"only what its tasks are not made of changed{said}: none is replaced", certain=not unsure)


def refusals(scan: BundleScan, coming: Mapping[str, ServiceFacts]) -> list[str]:
    """What the node would refuse before anything changes, as notes with their places."""
    return [f"the node would refuse {place}: {rule}" for place, rule in dict.fromkeys(_refused(scan, coming))]


def _refused(scan: BundleScan, coming: Mapping[str, ServiceFacts]) -> Iterator[tuple[str, str]]:
    for one in scan.occurrences:
        if one.services and (one.form is Form.FILE or one.kind is Kind.CONTENT):
            yield one.place, ONLY_EXTERNAL
    for name, facts in sorted(coming.items()):
        if facts.build:
            yield f"services.{name}.build", NOT_BUILT
        for path in sorted(facts.files):
            yield f"services.{name}: {path}", NOT_SHIPPED


def secret_changes(
    project: str, before: Iterable[DeploymentSecretRow], after: Iterable[DeploymentSecretRow]
) -> list[PlannedSwarmSecret]:
    """The secrets of the Swarm, by name: ``create``, ``keep``, or ``remove`` once no task uses it any more."""
    old, new = _objects(project, before), _objects(project, after)
    found = []
    for name, row in sorted({**old, **new}.items()):
        change = "create" if name not in old else "keep" if name in new else "remove"
        found.append(PlannedSwarmSecret(name=name, secret=row.secret_name, version=row.version, change=change))
    return found


def _objects(project: str, rows: Iterable[DeploymentSecretRow]) -> dict[str, DeploymentSecretRow]:
    delivered = (row for row in rows if Form.EXTERNAL in row.kinds and row.services)
    return {secret_name(project, row.secret_name, row.version, str(row.secret_id)): row for row in delivered}

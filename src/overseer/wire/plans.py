"""Plans: what a deployment would change, without a value."""

from __future__ import annotations

from datetime import datetime

from overseer.wire.deployments import BundleCreate
from overseer.wire.messages import Answer, Request
from overseer.wire.secrets import ScopeView

PLAN_FORMAT = 1
"""Of :class:`PlanView` and of what its digest is made from. It grows when a field changes its meaning."""


class PlanCreate(Request, frozen=True):
    """What to plan: ``stack`` (files that need not be stored), a stored ``bundle`` by its digest, or neither: what runs there.

    ``deploying``: refuse it for all that a deployment by the caller would be refused for (``app:deploy``, ``secret:use``,
    fields). ``target``: ``compose`` or ``swarm``; left out, as the project runs there, else ``compose``.
    """

    app: str
    node: str
    environment: str | None = None
    bundle: str | None = None
    stack: BundleCreate | None = None
    allow_persisting: bool = False
    deploying: bool = False
    target: str | None = None


class RunningDeployment(Answer, frozen=True):
    """What runs in the place now, which the plan compares with."""

    deployment: str
    bundle: str | None
    finished_at: datetime | None


class PlannedService(Answer, frozen=True):
    """What becomes of a service: create, recreate, restart, reload, nothing or remove; in a Swarm update, too (of its tasks).

    ``certain`` false: Compose decides, and may do that or less. ``because``: the reasons, for people.
    """

    service: str
    effect: str
    certain: bool
    because: list[str]


class ShadowedSecret(Answer, frozen=True):
    """A secret of the same name that a more specific one shadows here; only those that the caller may list."""

    secret_id: str
    scope: ScopeView
    active_version: int


class PlannedReference(Answer, frozen=True):
    """``change``: added, changed, removed or same; ``before`` and ``after`` are versions, None where there is none.

    ``replaced``: another secret of that name is used than before. ``scope`` is where the secret lives that will be used.
    ``places`` are ``file:line:column``. ``persists``: the value comes to lie on the node's disk.
    """

    reference: str
    name: str
    secret_id: str
    scope: ScopeView | None
    change: str
    before: int | None
    after: int | None
    replaced: bool
    services: list[str]
    kinds: list[str]
    places: list[str]
    persists: bool
    shadows: list[ShadowedSecret]


class PlannedSwarmSecret(Answer, frozen=True):
    """A secret of the Swarm: one ``version`` of ``secret``. ``change``: create, keep, or remove once no task uses it any more."""

    name: str
    secret: str
    version: int
    change: str


class PlanFinding(Answer, frozen=True):
    """A finding of lint; ``severity`` is error, warning or note."""

    rule: str
    name: str
    severity: str
    place: str
    service: str
    message: str


class PlanView(Answer, frozen=True):
    """A plan. ``changes``: whether a container or a file in one would change.

    ``digest`` is the SHA-256, in hexadecimal, of the JSON of format, place, bundle, versions and effects, with sorted keys,
    without blanks, in ASCII: the same digest means the same changes; of a Swarm the JSON has its ``target``, too. ``notes`` say
    what makes the plan less sure, and of a Swarm what the node would refuse.
    """

    format: int
    app: str
    environment: str | None
    node: str
    project: str
    bundle: str
    running: RunningDeployment | None
    services: list[PlannedService]
    references: list[PlannedReference]
    findings: list[PlanFinding]
    notes: list[str]
    changes: bool
    digest: str
    target: str = "compose"
    swarm_secrets: list[PlannedSwarmSecret] = []

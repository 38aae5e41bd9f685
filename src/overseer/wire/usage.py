"""Where secrets are used, where containers hold something else than they should, and what to rotate after a compromise."""

from __future__ import annotations

from datetime import datetime

from overseer.wire.deployments import ServiceState
from overseer.wire.messages import Answer, Request
from overseer.wire.secrets import ScopeView, SecretView


class ConsumerView(Answer, frozen=True):
    """A reference of what runs on a node now. ``version`` is what it was deployed with.

    ``matches``: the containers were seen to hold exactly that (None: nobody looked), at ``checked_at``. ``pinned``: the reference
    names its version, so rotation leaves it alone. ``persists``: the engine keeps the value on its disk. ``containers``: of the
    services that refer to it, as the agent last saw them.
    """

    deployment_id: str
    app: str
    environment: str | None
    node: str
    node_state: str
    project: str
    reference: str
    version: int
    pinned: bool
    persists: bool
    matches: bool | None
    checked_at: datetime | None
    services: list[str]
    containers: list[ServiceState]


class UsageView(Answer, frozen=True):
    """A secret and its consumers, as far as the caller may list deployments. ``last_released_at``: when a node last got it.

    ``shadows``: of one secret, those that consumers would get if it were deleted, as far as the caller may list them.
    """

    secret_id: str
    name: str
    scope: ScopeView
    version: int
    active_version: int
    rollout: str | None
    last_released_at: datetime | None
    consumers: list[ConsumerView]
    shadows: list[SecretView] = []


class DriftView(Answer, frozen=True):
    """Something that is not as it was deployed.

    ``kind``: ``mismatch`` (containers hold something else for ``reference``), ``gone`` (``services`` had a running container and
    have none now) or ``unchecked`` (the agent has not said for long what containers hold).
    """

    kind: str
    deployment_id: str
    app: str
    environment: str | None
    node: str
    project: str
    reference: str | None
    name: str | None
    version: int | None
    services: list[str]
    checked_at: datetime | None


class CompromisedRequest(Request, frozen=True):
    """Exactly one of ``secrets`` (ids, or names for every secret of that name), ``node`` and ``user`` (or service account)."""

    secrets: list[str] | None = None
    node: str | None = None
    user: str | None = None


class ExposureView(Answer, frozen=True):
    """Why a secret counts. ``version`` and ``last_seen_at`` where the fact has them.

    ``kind``: ``named``, ``released`` (to the node, for the app ``detail``), ``revealed``, ``resolved``, ``wrote``, ``may_reveal``
    or ``may_print`` (may use it, store bundles and deploy).
    """

    kind: str
    detail: str
    version: int | None
    last_seen_at: datetime | None


class CompromisedSecret(Answer, frozen=True):
    """One step of the plan. ``order`` counts from 1.

    ``needed``: the version in use now, or one on its way, could have been seen. ``automatic``: Overseer knows how to make a new
    value; otherwise bring one. ``elsewhere``: how many other nodes run it, all of them, listed or not.
    """

    order: int
    secret_id: str
    name: str
    scope: ScopeView
    active_version: int
    rollout: str | None
    needed: bool
    automatic: bool
    elsewhere: int
    last_seen_at: datetime | None
    reasons: list[ExposureView]
    consumers: list[ConsumerView]


class CompromisedPlan(Answer, frozen=True):
    """What to rotate, the most exposed first."""

    secrets: list[CompromisedSecret]

"""Apps, environments and nodes: the three parts of a scope."""

from __future__ import annotations

from datetime import datetime

import msgspec

from overseer.wire.messages import Answer, Request
from overseer.wire.secrets import ScopeView


class ScopePartCreate(Request, frozen=True):
    """An app or an environment."""

    name: str
    description: str = ""


class ScopePartPatch(Request, frozen=True):
    """What is absent stays."""

    description: str | msgspec.UnsetType = msgspec.UNSET


class NodeCreate(Request, frozen=True):
    """A node; deployments can choose all nodes that have certain ``labels``."""

    name: str
    description: str = ""
    labels: dict[str, str] = {}


class NodePatch(Request, frozen=True):
    """What is absent stays. ``labels`` replaces all of them. ``drained``: true keeps new deployments away."""

    description: str | msgspec.UnsetType = msgspec.UNSET
    labels: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
    drained: bool | msgspec.UnsetType = msgspec.UNSET


class AppView(Answer, frozen=True):
    id: str
    name: str
    description: str
    created_at: datetime


class EnvironmentView(Answer, frozen=True):
    id: str
    name: str
    description: str
    created_at: datetime


class NodeView(Answer, frozen=True):
    """``state``: expected (no agent yet), active, revoked. ``last_seen_at``: the last poll of its agent. ``drained``: it takes no
    new deployments; what runs there goes on and gets new versions."""

    id: str
    name: str
    description: str
    state: str
    agent_version: str
    last_seen_at: datetime | None
    created_at: datetime
    labels: dict[str, str] = {}
    drained: bool = False


class DeployedView(Answer, frozen=True):
    """Something that runs, or is about to: it stands in the way."""

    deployment_id: str
    app: str
    environment: str | None
    node: str
    project: str
    state: str


class RemovedSecret(Answer, frozen=True):
    id: str
    name: str
    scope: ScopeView


class RemovedBinding(Answer, frozen=True):
    id: str
    principal: str
    role: str
    name: str


class ContentsView(Answer, frozen=True):
    """What belongs to an app, an environment or a node and goes with it. ``deployed`` has to end first.

    ``deployments`` counts past ones, too; ``hidden`` counts what of all this the caller may not see.
    """

    part: str
    name: str
    deployed: list[DeployedView]
    secrets: list[RemovedSecret]
    bindings: list[RemovedBinding]
    deployments: int
    bundles: int
    hidden: int


class EnrolmentTokenCreate(Request, frozen=True):
    """A single-use token for the agent of ``node``; ``expires_in`` in seconds, 60 to 86,400."""

    node: str
    expires_in: int = 3600


class EnrolmentTokenCreated(Answer, frozen=True):
    """``token`` is shown once; it carries the server's verify key (and the CA's SPKI hash where TLS is on) for pinning."""

    id: str
    node: str
    token: str
    expires_at: datetime

"""Bundles and deployments as people and CI see them."""

from __future__ import annotations

from datetime import datetime

from overseer.wire.messages import Answer, Request


class BundleFile(Request, frozen=True):
    """A file below the project directory: a relative POSIX path and exactly one of text and base64."""

    path: str
    content: str | None = None
    content_base64: str | None = None


class BundleCreate(Request, frozen=True):
    """``compose_files`` in order (default: as Compose finds them); ``variables`` are Compose's own, never secrets."""

    files: list[BundleFile]
    compose_files: list[str] = []
    profiles: list[str] = []
    variables: dict[str, str] = {}


class BundleView(Answer, frozen=True):
    """``digest`` is an HMAC: equal bundles of an app have equal digests, and it is no oracle for their content."""

    id: str
    app: str
    digest: str
    size: int
    references: list[str]
    created_at: datetime


class DeploymentCreate(Request, frozen=True):
    """``deploy`` a bundle (by digest) of ``app``, or ``undeploy`` the app's project.

    Where: exactly one of ``node``, ``nodes`` (in that order) and ``labels`` (every node that has all of them, by name). The last
    two make a group of one deployment for each node: ``parallel`` of them at a time, and none begins after one did not succeed.
    ``plan`` is the digest of a plan: the deployment is refused where a plan made now would be another one.
    ``target``: ``compose``, or ``swarm`` for a stack of the Swarm that the node's engine manages.
    """

    app: str
    node: str | None = None
    environment: str | None = None
    action: str = "deploy"
    bundle: str | None = None
    allow_persisting: bool = False
    wait_timeout: int = 60
    nodes: list[str] | None = None
    labels: dict[str, str] | None = None
    parallel: int = 1
    plan: str | None = None
    target: str = "compose"


class DeploymentRollback(Request, frozen=True):
    """``wait_timeout`` in seconds; left out: as it was."""

    wait_timeout: int | None = None


class DeploymentReference(Answer, frozen=True):
    """Which version a reference got. ``matches``: does the container hold it (None: not reported yet)."""

    reference: str
    secret_id: str
    name: str
    version: int
    kinds: list[str]
    services: list[str]
    persists: bool
    matches: bool | None


class ServiceState(Answer, frozen=True):
    """A container as the agent saw it."""

    service: str
    container_id: str
    state: str
    health: str
    exit_code: int | None = None


class DeploymentView(Answer, frozen=True):
    """``state``: queued, released, applying, succeeded, failed, superseded.

    ``group`` it belongs to; ``plan`` it was pinned to; ``rollback_of`` the deployment whose bundle and versions it repeats;
    ``rollout`` that made it.
    """

    id: str
    app: str
    environment: str | None
    node: str
    action: str
    bundle: str | None
    project: str
    state: str
    references: list[DeploymentReference]
    services: list[ServiceState]
    output: str
    error: str
    created_by: str | None
    created_at: datetime
    finished_at: datetime | None
    group: str | None = None
    plan: str | None = None
    rollback_of: str | None = None
    rollout: str | None = None
    target: str = "compose"


class DeploymentGroupView(Answer, frozen=True):
    """Deployments that were ordered together, in their turn; ``parallel`` of them run at a time.

    ``state``: running, succeeded (all of them) or failed (one is failed or superseded, and none is open).
    """

    id: str
    state: str
    parallel: int
    created_at: datetime
    deployments: list[DeploymentView]


class DeploymentEvent(Answer, frozen=True):
    """What a deployment just did: it came into ``state``, or its redacted output grew by ``output``.

    ``offset`` is where that text begins, in characters; 0 again where the agent began anew.
    """

    deployment: str
    node: str
    state: str
    error: str = ""
    output: str = ""
    offset: int = 0
    finished_at: datetime | None = None


class VerifiedReference(Answer, frozen=True):
    """``result``: matches, differs or unknown (the agent has not reported it), as seen at ``checked_at``."""

    reference: str
    name: str
    version: int
    services: list[str]
    result: str
    checked_at: datetime | None


class VerificationView(Answer, frozen=True):
    """What containers hold against what they should hold, by the agent's last report (keyed fingerprints, never values).

    ``result``: differs where one reference does, else unknown where one is, else matches. ``current``: false where a later
    deployment took its place, so that what is said here is about containers that may be gone.
    """

    deployment: str
    app: str
    environment: str | None
    node: str
    state: str
    current: bool
    result: str
    checked_at: datetime | None
    references: list[VerifiedReference]

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
    """``deploy`` a bundle (by digest) of ``app`` on ``node``, or ``undeploy`` the app's project there."""

    app: str
    node: str
    environment: str | None = None
    action: str = "deploy"
    bundle: str | None = None
    allow_persisting: bool = False
    wait_timeout: int = 60


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
    """``state``: queued, released, applying, succeeded, failed, superseded."""

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

"""Secrets, versions, resolution and explanation."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from overseer.wire.messages import Answer, Request


class ScopeView(Answer, frozen=True):
    """A scope by names; all None is global."""

    app: str | None = None
    environment: str | None = None
    node: str | None = None


class GeneratorSpec(Request, frozen=True):
    """How to make a value: ``type`` is a kind of generator (password, token, x509, …), ``length`` its size in the kind's unit.

    ``options`` as in the text form; ``template`` is the JSON object of the kind json.
    """

    type: str
    length: int | None = None
    options: dict[str, str] = {}
    template: dict[str, Any] | None = None


class SecretCreate(Request, frozen=True):
    """Exactly one of ``value`` (text), ``value_base64`` (bytes) and ``generate`` (a spec such as ``hex:32``)."""

    name: str
    value: str | None = None
    value_base64: str | None = None
    generate: str | GeneratorSpec | None = None
    app: str | None = None
    environment: str | None = None
    node: str | None = None
    description: str = ""
    labels: dict[str, str] = {}
    owner: str | None = None
    expires_at: datetime | None = None
    rotation: dict[str, Any] | None = None


class SecretUpdate(Request, frozen=True):
    """A new version: exactly one of the three. ``activate`` false keeps the active version.

    ``immediate``: make it the active one at once and leave running containers as they are, instead of a rollout.
    """

    value: str | None = None
    value_base64: str | None = None
    generate: str | GeneratorSpec | None = None
    activate: bool = True
    immediate: bool = False


class SecretPatch(Request, frozen=True):
    """New metadata; a field that is not sent stays, null clears ``expires_at`` and ``rotation``."""

    description: str | msgspec.UnsetType = msgspec.UNSET
    labels: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
    owner: str | msgspec.UnsetType = msgspec.UNSET
    expires_at: datetime | msgspec.UnsetType | None = msgspec.UNSET
    rotation: dict[str, Any] | msgspec.UnsetType | None = msgspec.UNSET


class SecretRotate(Request, frozen=True):
    """With neither a value nor ``generate``: the rotation policy, the generator it was made with, or the default password.

    ``immediate`` as in an update.
    """

    value: str | None = None
    value_base64: str | None = None
    generate: str | GeneratorSpec | None = None
    immediate: bool = False


class SecretActivate(Request, frozen=True):
    """Which version becomes the active one; ``immediate`` as in an update."""

    version: int
    immediate: bool = False


class SecretView(Answer, frozen=True):
    """Metadata, never a value. ``version`` is the newest version, ``active_version`` the one that is used.

    ``rollout``: the id of the rollout that is bringing another version to running containers now; ``active_version`` follows
    when it has succeeded.
    """

    id: str
    name: str
    scope: ScopeView
    version: int
    active_version: int
    description: str
    labels: dict[str, str]
    owner: str
    expires_at: datetime | None
    rotation: dict[str, Any] | None
    source: dict[str, Any] | None
    created_at: datetime
    updated_at: datetime
    rollout: str | None = None


class ValueRequest(Request, frozen=True):
    """Which version (default: the active one) and why; the reason goes to the audit log."""

    version: int | None = None
    reason: str = ""


class ValueAnswer(Answer, frozen=True, omit_defaults=True):
    """``value`` where the bytes are UTF-8 text, ``value_base64`` otherwise. ``stale``: the backend that it comes from is away."""

    id: str
    name: str
    version: int
    value: str | None = None
    value_base64: str | None = None
    stale: bool = False


class VersionView(Answer, frozen=True):
    """One version, never its value. ``readable_until``: since another one took its place; it stays readable at least so long."""

    version: int
    active: bool
    created_at: datetime
    created_by: str | None
    readable_until: datetime | None = None


class ResolveRequest(Request, frozen=True):
    """The values that a consumer at this scope gets for ``names``; without names every secret that applies there."""

    names: list[str] | None = None
    app: str | None = None
    environment: str | None = None
    node: str | None = None
    reason: str = ""


class ResolveAnswer(Answer, frozen=True):
    """All or nothing."""

    values: list[ValueAnswer]


class ExplainRequest(Request, frozen=True):
    """Which secret of that name wins at this scope, and what it shadows."""

    name: str
    app: str | None = None
    environment: str | None = None
    node: str | None = None


class ExplainAnswer(Answer, frozen=True):
    """``shadowed`` in order of precedence, only what the caller may list."""

    name: str
    winner: SecretView | None
    shadowed: list[SecretView]
    precedence: list[str]

"""Backends, and secrets whose values come from them."""

from __future__ import annotations

from datetime import datetime

from msgspec import UNSET, UnsetType

from overseer.wire.messages import Answer, Request
from overseer.wire.secrets import ScopeView


class BackendCreate(Request, frozen=True):
    """``settings`` and ``credentials`` as the kind knows them. Times in seconds.

    ``ttl``: how long a value is used without asking again (sync: how often it is compared). ``stale_if_error``: for how long
    after that it still serves while the backend is away. ``max_age``: never longer than that in all. ``timeout``: of one request.
    """

    name: str
    kind: str
    settings: dict[str, str]
    credentials: dict[str, str] = {}
    description: str = ""
    ttl: int = 300
    stale_if_error: int = 86_400
    max_age: int = 604_800
    timeout: int = 5


class BackendPatch(Request, frozen=True):
    """What is absent stays. ``settings`` are replaced as a whole and need ``credentials`` beside them: whoever moves a backend to
    another address has to know them."""

    settings: dict[str, str] | UnsetType = UNSET
    credentials: dict[str, str] | UnsetType = UNSET
    description: str | UnsetType = UNSET
    ttl: int | UnsetType = UNSET
    stale_if_error: int | UnsetType = UNSET
    max_age: int | UnsetType = UNSET
    timeout: int | UnsetType = UNSET


class BackendView(Answer, frozen=True):
    """A backend, never a credential. Of the ``secrets`` that come from it, ``failing`` had a last try that went wrong.

    ``last_success``: when a value came from it last. ``resting``: the server process that answers leaves it alone for some
    seconds, because it failed several times in a row.
    """

    id: str
    name: str
    kind: str
    description: str
    settings: dict[str, str]
    ttl: int
    stale_if_error: int
    max_age: int
    timeout: int
    secrets: int
    failing: int
    created_at: datetime
    updated_at: datetime
    last_success: datetime | None = None
    resting: bool = False


class BackendTest(Answer, frozen=True):
    """Whether it can be asked; ``stage`` and ``message`` say what is wrong, '' where nothing is.

    Stages: address, dns, connect, timeout, tls, redirect, too_large, answer, unavailable, auth, permission, path, field.
    """

    ok: bool
    stage: str
    message: str


class BackendRefs(Answer, frozen=True):
    """What is directly in a folder; a slash at the end is a folder. Never values."""

    refs: list[str]


class SourceView(Answer, frozen=True):
    """Where one secret's value comes from, and how the last try went.

    ``fetched_at``: when what is kept was asked for; ``tried_at``: of the last try; ``failure``: the stage at which that
    went wrong, '' where it did not. ``state``: fresh; due (asked for before it is used next); stale (the backend is away, what is
    kept still serves); too_old (it does not any more); refused (the backend says no: nothing is given).
    ``set_by`` tied it. ``stopped``: why the server does not keep it up to date by itself any more (mode sync), '' where it does:
    no_setter, principal_disabled or no_binding. Whoever ties it again stands for it.
    """

    secret_id: str
    name: str
    scope: ScopeView
    backend_id: str
    backend: str
    ref: str
    field: str
    mode: str
    state: str
    failure: str
    fetched_at: datetime
    tried_at: datetime
    set_by: str | None
    stopped: str


class SourcedSecretCreate(Request, frozen=True):
    """A new secret whose value comes from a backend: ``ref`` (``PATH[@VERSION]``) and, of a JSON value, ``field``.

    ``mode``: ``pull`` (asked for when a value is about to leave) or ``sync`` (compared by the server, a new value is rolled out).
    """

    name: str
    backend: str
    ref: str
    field: str = ""
    mode: str = "pull"
    app: str | None = None
    environment: str | None = None
    node: str | None = None
    description: str = ""
    labels: dict[str, str] = {}
    owner: str = ""


class SecretSource(Request, frozen=True):
    """Where the value of an existing secret comes from from now on; as in :class:`SourcedSecretCreate`."""

    backend: str
    ref: str
    field: str = ""
    mode: str = "pull"

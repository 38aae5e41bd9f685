"""Many changes of secrets in one request, all or nothing; and moving a secret.

Evolution: an operation is known by its word ``operation``; a new one is a new class of :data:`Operation`, and an old server
refuses a word that it does not know.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec

from overseer.wire.messages import Answer, Request
from overseer.wire.secrets import SecretActivate, SecretCreate, SecretPatch, SecretRotate, SecretUpdate, SecretView

MAX_OPERATIONS: Final = 500


class BatchCreate(SecretCreate, frozen=True, kw_only=True, tag_field="operation", tag="create"):
    """A new secret; refused where the scope has one of that name."""


class BatchSet(SecretUpdate, frozen=True, kw_only=True, tag_field="operation", tag="set"):
    """A new secret, or a new version of the one of that name at exactly that scope. Metadata that is not sent stays.

    ``if_match`` is compared where the secret exists; with it a secret that does not exist is refused.
    """

    name: str
    app: str | None = None
    environment: str | None = None
    node: str | None = None
    description: str | msgspec.UnsetType = msgspec.UNSET
    labels: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
    owner: str | msgspec.UnsetType = msgspec.UNSET
    expires_at: datetime | msgspec.UnsetType | None = msgspec.UNSET
    rotation: dict[str, Any] | msgspec.UnsetType | None = msgspec.UNSET
    if_match: str | None = None


class BatchUpdate(SecretUpdate, frozen=True, kw_only=True, tag_field="operation", tag="update"):
    """A new version of the secret ``id``."""

    id: UUID
    if_match: str | None = None


class BatchPatch(SecretPatch, frozen=True, kw_only=True, tag_field="operation", tag="patch"):
    """New metadata of the secret ``id``."""

    id: UUID
    if_match: str | None = None


class BatchActivate(SecretActivate, frozen=True, kw_only=True, tag_field="operation", tag="activate"):
    """Another active version of the secret ``id``."""

    id: UUID
    if_match: str | None = None


class BatchRotate(SecretRotate, frozen=True, kw_only=True, tag_field="operation", tag="rotate"):
    """A generated or a given new version of the secret ``id``."""

    id: UUID
    if_match: str | None = None


class BatchDelete(Request, frozen=True, kw_only=True, tag_field="operation", tag="delete"):
    """The secret ``id`` with all of its history. ``force``: also where something that is deployed uses it."""

    id: UUID
    force: bool = False
    if_match: str | None = None


Operation = BatchCreate | BatchSet | BatchUpdate | BatchPatch | BatchActivate | BatchRotate | BatchDelete


class SecretBatch(Request, frozen=True):
    """Up to 500 operations, each on another secret. A version becomes the active one in the same moment as all others do, so
    where containers use a secret its operation has to say ``immediate`` (they keep what they have until they are deployed
    again) or ``activate: false``; a rollout takes one secret after the other and belongs to the single requests.
    """

    operations: Annotated[list[Operation], msgspec.Meta(min_length=1, max_length=MAX_OPERATIONS)]


class BatchResult(Answer, frozen=True):
    """What became of the operation at ``index``. ``secret`` is None where the secret is gone, and then so is ``etag``."""

    index: int
    id: str
    secret: SecretView | None
    etag: str | None


class SecretBatchAnswer(Answer, frozen=True):
    """One result for each operation, in their order."""

    results: list[BatchResult]


class ScopeTarget(Request, frozen=True):
    """A scope in full: null for a part says that it is not set. None has a default, so nothing becomes global by omission."""

    app: str | None
    environment: str | None
    node: str | None


class SecretMove(Request, frozen=True):
    """Where the secret is to be, and under which name (the one it has where none is given).

    ``force``: also where something that is deployed uses it; what runs keeps running.
    """

    scope: ScopeTarget
    name: str | None = None
    force: bool = False


class SecretMoved(Answer, frozen=True):
    """The secret at its new place. ``unshadowed``: what consumers of the old place may get now; ``shadowed``: what consumers of
    the new place got until now. Only what the caller may list."""

    secret: SecretView
    unshadowed: list[SecretView]
    shadowed: list[SecretView]

"""Putting a secret and its versions into the store: the one place where a value meets its envelope.

Guarantees: each version gets an id before it is encrypted, and that id, the secret's and the scope's are bound into the
envelope, so a row that is moved elsewhere does not open. It decides nothing: callers were let through already and hold the lock.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

from overseer.core.errors import AlreadyExists
from overseer.core.identifiers import new_id
from overseer.core.secret_value import SecretValue
from overseer.crypto.envelope import ValueContext
from overseer.server.services.gate import Entry
from overseer.server.services.key_service import KeyService
from overseer.server.services.secret_input import Metadata, NewValue
from overseer.server.storage import secret_rows
from overseer.server.storage.secret_rows import NewSecret
from overseer.server.storage.version_rows import StoredVersion, insert_version

TAKEN: Final = "there is a secret of that name at that scope already; add a version to it instead"


async def store_new(
    entry: Entry, keys: KeyService, secret_id: UUID, scope_id: UUID, name: str, metadata: Metadata, value: NewValue
) -> None:
    """A secret with version 1 active. Raises :class:`AlreadyExists` where the scope has one of that name."""
    new = NewSecret(
        id=secret_id,
        scope_id=scope_id,
        name=name,
        description=metadata.description,
        labels=metadata.labels,
        owner=metadata.owner,
        expires_at=metadata.expires_at,
        generator=value.generator,
        rotation=metadata.rotation,
        created_by=entry.actor.id,
    )
    if not await secret_rows.insert_secret(entry.session, new):
        raise AlreadyExists(TAKEN)
    await store_version(entry, keys, secret_id, scope_id, 1, value.value)


async def store_version(
    entry: Entry, keys: KeyService, secret_id: UUID, scope_id: UUID, version: int, value: SecretValue
) -> None:
    """One more version; the secret's own row is the caller's to change."""
    sealed = seal_version(entry, keys, secret_id, scope_id, version, value)
    await insert_version(entry.session, sealed, entry.actor.id)


def seal_version(
    entry: Entry, keys: KeyService, secret_id: UUID, scope_id: UUID, version: int, value: SecretValue
) -> StoredVersion:
    """The row of a version, with a new id and its envelope."""
    return seal_version_at(entry.now, keys, secret_id, scope_id, version, value)


def seal_version_at(
    now: datetime, keys: KeyService, secret_id: UUID, scope_id: UUID, version: int, value: SecretValue
) -> StoredVersion:
    """As :func:`seal_version`, for the server's own work at ``now``."""
    version_id = new_id(now)
    sealed = keys.encrypt(value, ValueContext(keys.instance_id, secret_id, version_id, scope_id))
    fields = (sealed.format, sealed.term, sealed.wrapped_dek, sealed.ciphertext)
    return StoredVersion(secret_id, version, version_id, scope_id, *fields)

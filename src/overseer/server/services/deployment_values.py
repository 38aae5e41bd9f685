"""The values behind a deployment's references: read in its transaction, opened after the audit rows of it were committed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from overseer.compose.fields import select_field
from overseer.core.audit_events import AuditEvent
from overseer.core.errors import InvalidInput, TooLarge
from overseer.core.secret_value import SecretValue
from overseer.server.services.value_opener import ValueOpener
from overseer.server.storage.database import Session
from overseer.server.storage.deployment_rows import DeploymentSecretRow
from overseer.server.storage.version_rows import MAX_READ_BYTES, StoredVersion, stored_versions


@dataclass(frozen=True, slots=True)
class ReferencedVersion:
    """A reference of a deployment and the stored version behind it; None where the secret was deleted since."""

    row: DeploymentSecretRow
    stored: StoredVersion | None


async def referenced_versions(session: Session, rows: Sequence[DeploymentSecretRow]) -> list[ReferencedVersion]:
    """The stored versions behind ``rows``, in their order."""
    found = await stored_versions(session, sorted({(row.secret_id, row.version) for row in rows}))
    return [ReferencedVersion(row, found.get((row.secret_id, row.version))) for row in rows]


async def open_references(
    opener: ValueOpener, references: Sequence[ReferencedVersion], released: Sequence[AuditEvent]
) -> dict[str, SecretValue]:
    """The value (or the field asked for) of each reference that still exists; ``released`` are the committed rows of it.

    Raises :class:`DecryptionFailed` naming secrets by id, :class:`InvalidInput` where a value has not the field.
    """
    values, faults = await _selected(opener, references, released)
    if faults:
        raise InvalidInput(next(iter(faults.values())))
    return values


async def field_faults(
    opener: ValueOpener, references: Sequence[ReferencedVersion], released: Sequence[AuditEvent]
) -> dict[str, str]:
    """Why values have not the fields that are asked for, by reference. Nothing leaves. Raises :class:`DecryptionFailed`."""
    return (await _selected(opener, references, released))[1]


async def _selected(
    opener: ValueOpener, references: Sequence[ReferencedVersion], released: Sequence[AuditEvent]
) -> tuple[dict[str, SecretValue], dict[str, str]]:
    """Each version is opened once, however many references ask for a part of it; how much is parsed for them is bounded."""
    versions: dict[UUID, tuple[StoredVersion, AuditEvent]] = {}
    parsed = 0
    for one, event in zip(references, released, strict=True):
        if one.stored is not None:
            versions.setdefault(one.stored.id, (one.stored, event))
            parsed += len(one.stored.ciphertext) if one.row.field else 0
    if parsed > MAX_READ_BYTES:
        raise TooLarge(f"fields are taken out of at most {MAX_READ_BYTES} bytes in all; give large values secrets of their own")
    values = dict(zip(versions, await opener.open_all(list(versions.values())), strict=True))
    # Parsing a megabyte of JSON takes a while; other requests go on meanwhile.
    return await asyncio.to_thread(_select, references, values)


def _select(
    references: Sequence[ReferencedVersion], values: dict[UUID, SecretValue]
) -> tuple[dict[str, SecretValue], dict[str, str]]:
    found: dict[str, SecretValue] = {}
    faults: dict[str, str] = {}
    for row, stored in ((one.row, one.stored) for one in references):
        if stored is None:
            continue
        try:
            value = values[stored.id]
            found[row.reference] = select_field(value, row.field, row.secret_name) if row.field else value
        except InvalidInput as error:
            faults[row.reference] = error.message
    return found, faults

"""The values behind a deployment's references: read in its transaction, opened after the audit rows of it were committed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from overseer.compose.fields import select_field
from overseer.core.audit_events import AuditEvent
from overseer.core.secret_value import SecretValue
from overseer.server.services.value_opener import ValueOpener
from overseer.server.storage.database import Session
from overseer.server.storage.deployment_rows import DeploymentSecretRow
from overseer.server.storage.version_rows import StoredVersion, stored_versions


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
    present = [(one.row, one.stored, event) for one, event in zip(references, released, strict=True) if one.stored is not None]
    values = await opener.open_all([(stored, event) for _, stored, event in present])
    return {
        row.reference: select_field(value, row.field, row.secret_name) if row.field else value
        for (row, _, _), value in zip(present, values, strict=True)
    }

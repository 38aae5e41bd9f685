"""Moving secrets between instances."""

from __future__ import annotations

import base64
from typing import Final

from overseer.core.permissions import Permission
from overseer.server.api.call import Call
from overseer.server.api.route import KIBIBYTE, LARGE_BODY, route
from overseer.wire.migrations import (
    MigrationArchive,
    MigrationComparison,
    MigrationExport,
    MigrationExported,
    MigrationImport,
    MigrationImported,
)

#: An archive of 16 MiB in base64, and the rest of the message.
ARCHIVE_BODY: Final = 22 * KIBIBYTE * KIBIBYTE + LARGE_BODY // 8


@route(
    "POST",
    "/api/migration/export",
    permission=Permission.MIGRATION_EXPORT,
    summary="Write secrets with their whole history to a signed file for another instance, encrypted for age recipients",
    body=MigrationExport,
    returns=MigrationExported,
)
async def export_migration(call: Call[MigrationExport, None]) -> MigrationExported:
    made = await call.services.migration_exports.export(call.caller, call.body)
    return MigrationExported(
        instance=str(made.instance_id),
        signed_by=made.signed_by,
        secrets=made.secrets,
        versions=made.versions,
        content_base64=base64.b64encode(made.content).decode("ascii"),
    )


@route(
    "POST",
    "/api/migration/import",
    permission=Permission.MIGRATION_IMPORT,
    summary="Take in secrets of another instance with their ids and history, all or nothing; a dry run says what would be done",
    body=MigrationImport,
    returns=MigrationImported,
    body_limit=ARCHIVE_BODY,
)
async def import_migration(call: Call[MigrationImport, None]) -> MigrationImported:
    return await call.services.migration_imports.take_in(call.caller, call.body)


@route(
    "POST",
    "/api/migration/compare",
    permission=Permission.MIGRATION_IMPORT,
    summary="Compare secrets of another instance with those here by value, without showing either",
    body=MigrationArchive,
    returns=MigrationComparison,
    body_limit=ARCHIVE_BODY,
)
async def compare_migration(call: Call[MigrationArchive, None]) -> MigrationComparison:
    return await call.services.migration_imports.compare(call.caller, call.body)

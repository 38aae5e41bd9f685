"""Moving secrets between instances, over the API."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Literal

from overseer.client.retries import RetryingClient
from overseer.core.errors import ConfigurationProblem
from overseer.core.secret_value import SecretValue
from overseer.wire.migrations import (
    MigrationArchive,
    MigrationComparison,
    MigrationExport,
    MigrationExported,
    MigrationImport,
    MigrationImported,
)

SECONDS = 300.0


class Migrations:
    """``/api/migration``. An archive is what ``interchange.migration_archive`` reads: the lines inside the age file."""

    def __init__(self, http: RetryingClient) -> None:
        self._http = http

    def export(
        self,
        recipients: Sequence[str],
        *,
        apps: Sequence[str] = (),
        environment: str | None = None,
        node: str | None = None,
        with_global: bool = False,
        everything: bool = False,
        reason: str = "",
    ) -> tuple[MigrationExported, bytes]:
        """Secrets with their history as an age file for ``recipients``, signed by the instance."""
        body = MigrationExport(
            recipients=[*recipients],
            apps=[*apps],
            environment=environment,
            node=node,
            with_global=with_global,
            everything=everything,
            reason=reason,
        )
        path = "/api/migration/export"
        answer = self._http.request("POST", path, body, returns=MigrationExported, timeout=SECONDS).value
        try:
            return answer, base64.b64decode(answer.content_base64, validate=True)
        except (binascii.Error, ValueError):
            raise ConfigurationProblem("the server sent a file that is not base64") from None

    def take_in(
        self,
        archive: SecretValue,
        *,
        signed_by: str | None = None,
        app_names: Mapping[str, str] | None = None,
        on_conflict: Literal["fail", "skip"] = "fail",
        dry_run: bool = False,
        reason: str = "",
    ) -> MigrationImported:
        """Store what is not here yet, all or nothing. What came before is left alone, so an import whose answer was lost can be
        repeated."""
        body = MigrationImport(
            archive_base64=_encoded(archive),
            signed_by=signed_by,
            app_names=dict(app_names or {}),
            on_conflict=on_conflict,
            dry_run=dry_run,
            reason=reason,
        )
        path = "/api/migration/import"
        return self._http.request("POST", path, body, returns=MigrationImported, timeout=SECONDS, repeatable=dry_run).value

    def compare(
        self, archive: SecretValue, *, app_names: Mapping[str, str] | None = None, reason: str = ""
    ) -> MigrationComparison:
        """Whether what is in the archive is there, by value, without values."""
        body = MigrationArchive(archive_base64=_encoded(archive), app_names=dict(app_names or {}), reason=reason)
        path = "/api/migration/compare"
        return self._http.request("POST", path, body, returns=MigrationComparison, timeout=SECONDS, repeatable=True).value


def _encoded(archive: SecretValue) -> str:
    return base64.b64encode(archive.reveal()).decode("ascii")

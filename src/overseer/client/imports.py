"""Imports, their undo, and exports, over the API."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from uuid import uuid4

from overseer.client.pages import every
from overseer.client.retries import IDEMPOTENCY_KEY, RetryingClient
from overseer.core.errors import ConfigurationProblem
from overseer.core.scopes import GLOBAL_NAMES, Scope
from overseer.core.secret_value import SecretValue
from overseer.wire.imports import (
    Conflicts,
    ExportAnswer,
    ExportRequest,
    ImportAnswer,
    ImportEntry,
    ImportRequest,
    ImportUndo,
    ImportUndone,
    ImportView,
    LiveImportRequest,
)
from overseer.wire.messages import Page

#: For one import: a server asks a backend for thousands of values before it answers.
SECONDS: Final = 300.0


class Imports:
    """``/api/import``, ``/api/imports`` and ``/api/export``."""

    def __init__(self, http: RetryingClient) -> None:
        self._http = http

    def store(
        self,
        secrets: Sequence[tuple[str, SecretValue]],
        scope: Scope[str] = GLOBAL_NAMES,
        *,
        on_conflict: Conflicts = "fail",
        dry_run: bool = False,
        immediate: bool = False,
        origin: str = "",
        reason: str = "",
        erase_after: Mapping[str, int] | None = None,
    ) -> ImportAnswer:
        """Up to 5,000 names with their values, all or nothing. ``erase_after``: seconds after which the server deletes a new
        secret again, by its name. Where an answer is lost the request is sent again and imports nothing twice.
        """
        ends = erase_after or {}
        body = ImportRequest(
            entries=[ImportEntry(name=name, erase_after=ends.get(name), **_content(value)) for name, value in secrets],
            app=scope.app,
            environment=scope.environment,
            node=scope.node,
            on_conflict=on_conflict,
            dry_run=dry_run,
            immediate=immediate,
            origin=origin,
            reason=reason,
        )
        return self._import("/api/import", body)

    def _import(self, path: str, body: ImportRequest | LiveImportRequest) -> ImportAnswer:
        headers = {IDEMPOTENCY_KEY: uuid4().hex}
        return self._http.request("POST", path, body, returns=ImportAnswer, headers=headers, timeout=SECONDS).value

    def from_backend(self, body: LiveImportRequest) -> ImportAnswer:
        """Secrets out of a folder of a backend; their values do not pass here."""
        return self._import("/api/import/backend", body)

    def list(self) -> Iterator[ImportView]:
        """Your own imports, and those of which you may list every secret, newest first."""
        return every(self._http, "/api/imports", Page[ImportView], {})

    def get(self, import_id: str) -> ImportView:
        """One import, and what an undo would take back."""
        return self._http.request("GET", f"/api/imports/{import_id}", returns=ImportView).value

    def undo(self, import_id: str, *, immediate: bool = False) -> ImportUndone:
        """Take back what nothing happened to since."""
        body = ImportUndo(immediate=immediate)
        return self._http.request("POST", f"/api/imports/{import_id}/undo", body, returns=ImportUndone).value

    def export(
        self,
        scope: Scope[str] = GLOBAL_NAMES,
        names: Sequence[str] | None = None,
        *,
        form: str = "dotenv",
        recipients: Sequence[str] = (),
        plaintext: bool = False,
        reason: str = "",
    ) -> tuple[tuple[str, ...], SecretValue]:
        """Names and the file of the secrets of exactly that scope, for age ``recipients`` or in plain text."""
        body = ExportRequest(
            format=form,
            names=None if names is None else [*names],
            app=scope.app,
            environment=scope.environment,
            node=scope.node,
            recipients=[*recipients],
            plaintext=plaintext,
            reason=reason,
        )
        answer = self._http.request("POST", "/api/export", body, returns=ExportAnswer).value
        try:
            return tuple(answer.names), SecretValue(base64.b64decode(answer.content_base64, validate=True))
        except (binascii.Error, ValueError):
            raise ConfigurationProblem("the server sent a file that is not base64") from None


def _content(value: SecretValue) -> dict[str, Any]:
    raw = value.reveal()
    try:
        return {"value": raw.decode("utf-8")}
    except UnicodeDecodeError:
        return {"value_base64": base64.b64encode(raw).decode("ascii")}

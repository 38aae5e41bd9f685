"""The sealed audit log: checkpoints, keys, proofs, canonical rows."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

from overseer.client.pages import every
from overseer.client.retries import IDEMPOTENCY_KEY, RetryingClient
from overseer.wire.audit import AuditErase, AuditErased, AuditExport
from overseer.wire.audit_log import (
    CheckpointView,
    ConsistencyProof,
    InclusionProof,
    IntegrityView,
    LogKeysView,
    LogKeyView,
    RecordsView,
)
from overseer.wire.messages import Page


class AuditLog:
    """What ``Client.audit_log`` gives."""

    def __init__(self, http: RetryingClient) -> None:
        self._http = http

    def latest(self) -> CheckpointView:
        """The newest checkpoint; keep its note elsewhere."""
        return self._http.request("GET", "/api/audit/checkpoints/latest", returns=CheckpointView).value

    def checkpoints(self) -> Iterator[CheckpointView]:
        """Newest first."""
        return every(self._http, "/api/audit/checkpoints", Page[CheckpointView], {"limit": 100})

    def keys(self) -> LogKeysView:
        """The public keys that sign checkpoints, and where the log begins."""
        return self._http.request("GET", "/api/audit/keys", returns=LogKeysView).value

    def rotate_key(self) -> LogKeyView:
        """A new key signs from now on."""
        headers = {IDEMPOTENCY_KEY: uuid4().hex}
        return self._http.request("POST", "/api/audit/keys", headers=headers, returns=LogKeyView).value

    def prove_row(self, row: str, *, size: int | None = None) -> InclusionProof:
        """That the row of this id is in the log of a checkpoint's size."""
        query = {"row": row, "size": size}
        return self._http.request("GET", "/api/audit/proofs/inclusion", query=query, returns=InclusionProof).value

    def prove_growth(self, old_size: int, *, new_size: int | None = None) -> ConsistencyProof:
        """That one checkpoint's log is the beginning of another's."""
        query = {"old_size": old_size, "new_size": new_size}
        return self._http.request("GET", "/api/audit/proofs/consistency", query=query, returns=ConsistencyProof).value

    def records(self, *, first: int = 0, limit: int = 5000) -> Iterator[RecordsView]:
        """Every sealed row from an index on, part by part, as far as the log was sealed when it began."""
        end: int | None = None
        while end is None or first < end:
            count = limit if end is None else min(limit, end - first)
            query = {"first": first, "limit": count}
            part = self._http.request("GET", "/api/audit/records", query=query, returns=RecordsView).value
            end = part.size if end is None else end
            if not part.records:
                return
            yield part
            first += len(part.records)

    def export_rows(self, form: str = "jsonl", **filters: str | None) -> Iterator[AuditExport]:
        """Rows that match, as JSON Lines or CSV, newest first, part by part; the whole is their texts, joined."""
        cursor: str | None = None
        while True:
            query = {**filters, "format": form, "limit": 5000, "cursor": cursor}
            part = self._http.request("GET", "/api/audit/export", query=query, returns=AuditExport).value
            yield part
            if part.next_cursor is None or part.next_cursor == cursor:
                return
            cursor = part.next_cursor

    def erase_texts(self, *, actor: str | None = None, row: str | None = None) -> AuditErased:
        """Erase reasons and user agents beside the rows of a principal (name or id), or beside one row."""
        body = AuditErase(actor=actor, row=row)
        return self._http.request("POST", "/api/audit/erase-text", body, returns=AuditErased).value

    def integrity(self) -> IntegrityView:
        """How the log stands."""
        return self._http.request("GET", "/api/audit/integrity", returns=IntegrityView).value

"""Reading secrets: lists, metadata, versions, and one value.

A value whose ``expires_at`` has passed is served all the same: it is a date to warn by, and refusing at that second would
take applications down. Every view carries the date.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final
from uuid import UUID

from overseer.core.access import Resource
from overseer.core.audit_events import AuditAction
from overseer.core.permissions import Permission
from overseer.core.principals import Caller
from overseer.core.scopes import PRECEDENCE, Scope
from overseer.server.services.approval_guard import guard_reveal
from overseer.server.services.cursors import bad_cursor, check_limit, read_cursor, write_cursor
from overseer.server.services.gate import Entry, Gate
from overseer.server.services.key_service import KeyService
from overseer.server.services.reveal_batches import Released, RevealBatches
from overseer.server.services.secret_access import known_secret, no_such_version
from overseer.server.services.secret_input import check_text, refusal
from overseer.server.services.secret_views import secret_view, tagged_view
from overseer.server.services.source_refresh import STALE, SourceRefresh
from overseer.server.services.tagged import Tagged
from overseer.server.services.value_opener import Revealed, ValueOpener
from overseer.server.storage.secret_rows import SecretFilter, secret_by_id, visible_page
from overseer.server.storage.version_rows import MAX_VERSION, stored_versions, version_page
from overseer.wire.messages import Page
from overseer.wire.secrets import SecretView, ValueRequest, VersionView

MAX_FILTER: Final = 256
_PART_RANK: Final = {"app": 4, "node": 2, "environment": 1}
SCOPE_RULE: Final = f"scope is one of {', '.join(PRECEDENCE)}: which parts are set, and no others"


class SecretReading:
    """See the module's text."""

    def __init__(
        self, gate: Gate, keys: KeyService, opener: ValueOpener, batches: RevealBatches, sources: SourceRefresh
    ) -> None:
        self._sources = sources
        self._gate = gate
        self._keys = keys
        self._opener = opener
        self._batches = batches

    async def list(
        self,
        caller: Caller,
        *,
        app: str | None = None,
        environment: str | None = None,
        node: str | None = None,
        scope: str | None = None,
        name: str | None = None,
        label: str | None = None,
        q: str | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page[SecretView]:
        """The secrets that the caller may list, by name. Needs ``secret:list`` over anything; one audit row a page.

        ``scope`` says exactly which parts are set (``global``, ``app+environment``); ``name`` is exact or ends in ``*``;
        ``label`` is ``key`` or ``key=value``; ``q`` is looked for in name and description, whatever its case.
        """
        async with self._gate.enter(caller, AuditAction.SECRET_LIST) as entry:
            names = Scope(app, environment, node)
            entry.authorise_list(Permission.SECRET_LIST, Resource("secret", name or "", scope_names=names))
            wanted = _filter(names, scope, name, label, q)
            after = None if cursor is None else _after(cursor)
            check_limit(limit)
            actor, session = entry.actor, entry.session
            rows = await visible_page(session, actor.id, Permission.SECRET_LIST, entry.now, wanted, after, limit + 1)
        more = len(rows) > limit
        rows = rows[:limit]
        return Page(
            items=[secret_view(row) for row in rows], next_cursor=write_cursor(rows[-1].name, str(rows[-1].id)) if more else None
        )

    async def get(self, caller: Caller, secret_id: UUID) -> Tagged[SecretView]:
        """The metadata of one secret. Needs ``secret:list`` on it."""
        async with self._gate.enter(caller, AuditAction.SECRET_READ) as entry:
            row = await known_secret(entry, secret_id, Permission.SECRET_LIST)
        return tagged_view(row)

    async def reveal(self, caller: Caller, secret_id: UUID, body: ValueRequest) -> Revealed:
        """The value of the active version, or of the one that ``body`` names. Needs ``secret:reveal`` on the secret.

        The audit row is committed before anything is decrypted. Raises :class:`Unavailable`, :class:`DecryptionFailed`, and
        :class:`ApprovalRequired` where a policy guards it.
        """
        _ = self._keys.keyring  # sealed: say so before a row claims that a value was released
        caller = _with_reason(caller, body.reason)
        released = await self._batches.release(caller, secret_id, body.version)
        if released is None:
            released = await self._release_alone(caller, secret_id, body.version)
        value = await self._opener.open(released.stored, released.event)
        stale = released.code == STALE
        return Revealed(str(secret_id), released.name, released.stored.version, value, stale)

    async def _release_alone(self, caller: Caller, secret_id: UUID, wanted: int | None) -> Released:
        """One reveal through the gate: the same decision, one transaction for it alone. Where its backend has to be asked first,
        that happens between two of them."""
        async with self._gate.enter(caller, AuditAction.SECRET_REVEAL) as entry:
            due = await self._sources.due(entry, [await known_secret(entry, secret_id, Permission.SECRET_REVEAL)])
            if not due:
                return await self._release(entry, secret_id, wanted, ())
            entry.postpone()
        await self._sources.refresh(due, caller.request_id)
        async with self._gate.enter(caller, AuditAction.SECRET_REVEAL) as entry:
            await known_secret(entry, secret_id, Permission.SECRET_REVEAL)
            return await self._release(entry, secret_id, wanted, (secret_id,))

    async def _release(self, entry: Entry, secret_id: UUID, wanted: int | None, asked: Sequence[UUID]) -> Released:
        """What was authorised just now, once it is known that it may leave."""
        row = await secret_by_id(entry.session, secret_id)
        if row is None:
            entry.hide("secret")
        version = row.active_version if wanted is None else wanted
        found = await stored_versions(entry.session, [(row.id, version)])
        if not found:
            raise no_such_version()
        await self._sources.judge(entry, [row], asked)
        await guard_reveal(entry, row, version)
        entry.amend(version=version)
        event = entry.events[-1]
        return Released(row.name, found[row.id, version], event.code, lambda: event)

    async def versions(
        self, caller: Caller, secret_id: UUID, cursor: str | None = None, limit: int = 100
    ) -> Page[VersionView]:
        """The versions of a secret, newest first. Needs ``secret:list`` on it."""
        async with self._gate.enter(caller, AuditAction.SECRET_VERSIONS) as entry:
            await known_secret(entry, secret_id, Permission.SECRET_LIST)
            before = None if cursor is None else read_cursor(cursor, int)[0]
            if before is not None and not 1 <= before <= MAX_VERSION:
                raise bad_cursor()
            check_limit(limit)
            rows = await version_page(entry.session, secret_id, before, limit + 1)
        items = [
            VersionView(
                version=row.version,
                active=row.active,
                created_at=row.created_at,
                created_by=row.created_by,
                readable_until=row.readable_until,
            )
            for row in rows[:limit]
        ]
        return Page(items=items, next_cursor=write_cursor(items[-1].version) if len(rows) > limit else None)


def _with_reason(caller: Caller, reason: str) -> Caller:
    return replace(caller, reason=reason) if reason else caller


def _filter(names: Scope[str], scope: str | None, name: str | None, label: str | None, q: str | None) -> SecretFilter:
    texts = {"app": names.app, "environment": names.environment, "node": names.node, "name": name, "label": label, "q": q}
    for place, text in texts.items():
        if text is not None:
            check_text(text, f"query.{place}", 2 * MAX_FILTER)
    key, equals, value = (label or "").partition("=")
    return SecretFilter(
        app=names.app,
        environment=names.environment,
        node=names.node,
        scope_rank=None if scope is None else _rank(scope),
        name=None if name is None else name.removesuffix("*"),
        name_is_prefix=name is not None and name.endswith("*"),
        label_key=None if label is None else key,
        label_value=value if equals else None,
        text=q or None,
    )


def _rank(scope: str) -> int:
    if scope == "global":
        return 0
    parts = scope.split("+")
    if len(set(parts)) != len(parts) or not set(parts) <= _PART_RANK.keys():
        raise refusal("query.scope", SCOPE_RULE, "bad_scope")
    return sum(_PART_RANK[part] for part in parts)


def _after(cursor: str) -> tuple[str, UUID]:
    name, secret_id = read_cursor(cursor, str, str)
    try:
        return check_text(name, "query.cursor", MAX_FILTER), UUID(secret_id)
    except ValueError:
        raise bad_cursor() from None

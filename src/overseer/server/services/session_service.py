"""Sessions as their users and administrators see them: listed, ended one by one, all at once, or by whoever signs out."""

from __future__ import annotations

from uuid import UUID

from overseer.core.access import Resource
from overseer.core.audit_events import AuditAction
from overseer.core.errors import Conflict
from overseer.core.permissions import Permission
from overseer.core.principals import Caller
from overseer.server.services.cursors import MAX_LIMIT, part_of
from overseer.server.services.gate import Entry, Gate
from overseer.server.services.granted_rights import require_reach
from overseer.server.storage import principal_rows, session_rows, user_rows
from overseer.server.storage.session_rows import SessionRow
from overseer.wire.messages import Page
from overseer.wire.people import SessionsEnded, SessionView


class SessionService:
    """See the module's text."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    async def list_own_sessions(
        self, caller: Caller, cursor: str | None = None, limit: int = MAX_LIMIT
    ) -> Page[SessionView]:
        """The caller's own live sessions, newest first; needs no permission."""
        async with self._gate.enter(caller, AuditAction.SESSION_LIST) as entry:
            entry.accept(Resource("session", entry.actor.name, id=entry.actor.id))
            rows = await session_rows.live_sessions(entry.session, user_id=entry.actor.id)
            found, after = part_of(rows, lambda row: str(row.id), cursor, limit, descending=True)
            current = entry.actor.token_id
        return Page(items=[_view(row, current) for row in found], next_cursor=after)

    async def list_sessions(
        self, caller: Caller, user_id: UUID, cursor: str | None = None, limit: int = MAX_LIMIT
    ) -> Page[SessionView]:
        """The live sessions of a user, newest first."""
        async with self._gate.enter(caller, AuditAction.SESSION_LIST) as entry:
            user = await user_rows.user_by_id(entry.session, user_id)
            if user is None:
                entry.missing(Resource("user", id=user_id))
            entry.authorise(
                Permission.TOKEN_LIST, Resource("user", user.name, id=user_id), hide_without=Permission.PRINCIPAL_LIST
            )
            rows = await session_rows.live_sessions(entry.session, user_id=user_id)
            found, after = part_of(rows, lambda row: str(row.id), cursor, limit, descending=True)
            current = entry.actor.token_id
        return Page(items=[_view(row, current) for row in found], next_cursor=after)

    async def revoke_session(self, caller: Caller, session_id: UUID) -> None:
        """It is refused from the next request on. A user may always end its own."""
        async with self._gate.enter(caller, AuditAction.SESSION_REVOKE) as entry:
            found = await session_rows.live_sessions(entry.session, session_id=session_id)
            if not found:
                entry.missing(Resource("session", id=session_id))
            resource = Resource("session", found[0].principal, id=session_id)
            if found[0].principal_id == entry.actor.id:
                entry.accept(resource)
            else:
                entry.authorise(Permission.TOKEN_WRITE, resource, hide_without=Permission.TOKEN_LIST)
                await _require_reach(entry, found[0].principal_id)
            await principal_rows.revoke_token(entry.session, session_id)

    async def revoke_sessions(self, caller: Caller, user_id: UUID) -> SessionsEnded:
        """End all sessions of a user; its tokens stay."""
        async with self._gate.enter(caller, AuditAction.SESSION_REVOKE) as entry:
            user = await user_rows.user_by_id(entry.session, user_id)
            if user is None:
                entry.missing(Resource("user", id=user_id))
            entry.authorise(
                Permission.TOKEN_WRITE, Resource("user", user.name, id=user_id), hide_without=Permission.PRINCIPAL_LIST
            )
            await _require_reach(entry, user_id)
            ended = await session_rows.revoke_sessions_of(entry.session, user_id)
            entry.amend(code=str(ended))
        return SessionsEnded(ended=ended)

    async def sign_out(self, caller: Caller) -> None:
        """End the session that asks. Raises :class:`Conflict` for a token, which is revoked by its id."""
        async with self._gate.enter(caller, AuditAction.SESSION_REVOKE, enrolling=True) as entry:
            entry.accept(Resource("session", entry.actor.name, id=entry.actor.token_id))
            if not await session_rows.live_sessions(entry.session, session_id=entry.actor.token_id):
                raise Conflict("this credential is a token, not a session: revoke it by its id")
            await principal_rows.revoke_token(entry.session, entry.actor.token_id)


async def _require_reach(entry: Entry, user_id: UUID) -> None:
    subjects = await principal_rows.subjects_of(entry.session, user_id)
    require_reach(entry, Permission.TOKEN_WRITE, await principal_rows.all_bindings(entry.session, subjects))


def _view(row: SessionRow, current: UUID) -> SessionView:
    return SessionView(
        id=str(row.id),
        user=row.principal,
        user_id=str(row.principal_id),
        description=row.description,
        current=row.id == current,
        created_at=row.created_at,
        last_used_at=row.last_used_at,
        expires_at=row.expires_at,
        idle_seconds=row.idle_seconds,
    )

"""Sessions: made at a sign-in, given another secret when what they may do or are proven by changes.

A session is a token (contract of the gate, of batched reveals and of revocation) that also ends when it is not used, and when its
user has begun :data:`MOST_SESSIONS` newer ones: lists of sessions are short, whoever signs in all day long.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

from overseer.core.access import Resource
from overseer.core.identifiers import new_id
from overseer.core.principals import Actor, Caller, PrincipalKind
from overseer.crypto.tokens import TokenPrefix, new_token
from overseer.server.services.gate import Entry
from overseer.server.storage.session_rows import insert_session, keep_newest_sessions, revoke_sessions_of, rotate_session
from overseer.wire.people import SessionCreated

MOST_SESSIONS: Final = 100


@dataclass(frozen=True, slots=True)
class SessionRules:
    """How long a session lives, used or not, and how long without use; in seconds. ``second_factor``: whoever signs in with a
    password and has none can do nothing but set one up."""

    life: int = 12 * 3600
    idle: int = 3600
    second_factor: bool = False


async def open_session(
    entry: Entry, rules: SessionRules, caller: Caller, user_id: UUID, user: str, *, enrolling: bool = False
) -> SessionCreated:
    """A new session of a user who was just proven; the entry's rows name the user and the session from here on.

    ``enrolling``: the gate lets it set up a second factor and sign out, and nothing else, until that is in force.
    """
    text, digest = new_token(TokenPrefix.SESSION)
    session_id, expires_at = new_id(entry.now), entry.now + timedelta(seconds=rules.life)
    client = caller.client or "a client"
    description = f"{client} at {caller.peer}" if caller.peer else client
    await insert_session(
        entry.session, digest, session_id, user_id, description, expires_at, rules.idle, enrolling=enrolling
    )
    await keep_newest_sessions(entry.session, user_id, MOST_SESSIONS)
    entry.attribute(Actor(user_id, PrincipalKind.USER, user, session_id, ()))
    entry.accept(Resource("session", user, id=session_id))
    return SessionCreated(
        id=str(session_id),
        session=text.reveal().decode("ascii"),
        user=user,
        expires_at=expires_at,
        idle_seconds=rules.idle,
        enrolling=enrolling,
    )


async def renew_session(entry: Entry, *, enrolling: bool = False) -> str | None:
    """End the actor's other sessions, and give the one that asks another secret; None where a token asks. ``enrolling``: as for
    :func:`open_session`."""
    actor = entry.actor
    await revoke_sessions_of(entry.session, actor.id, but=actor.token_id)
    text, digest = new_token(TokenPrefix.SESSION)
    if not await rotate_session(entry.session, actor.token_id, digest, enrolling=enrolling):
        return None
    return text.reveal().decode("ascii")

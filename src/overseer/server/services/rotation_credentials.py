"""The values that a step of a rotation hands to its rotator: the old one, the new one, and the administrator's credential.

Guarantees: the audit rows of the use are committed before anything is opened. An administrator's credential that comes from a
backend is asked for when it is due, as for anybody who gets it, and is not used where the backend refuses or what is kept is too
old (``source_refresh``).
"""

from __future__ import annotations

from uuid import UUID

from overseer.core.audit_events import AuditAction
from overseer.core.errors import NotReady
from overseer.server.rotators.contract import Change
from overseer.server.services.gate import Gate
from overseer.server.services.key_service import KeyService
from overseer.server.services.rotation_events import run_event
from overseer.server.services.source_refresh import STALE, SourceRefresh, is_due, judge
from overseer.server.services.value_opener import open_stored
from overseer.server.storage.backend_rows import sources_of
from overseer.server.storage.database import Session
from overseer.server.storage.secret_rotation_rows import RunRow
from overseer.server.storage.secret_rows import SecretRow, secret_by_id
from overseer.server.storage.version_rows import stored_versions


class RotationCredentials:
    """For the steps only: it decides nothing."""

    def __init__(self, gate: Gate, keys: KeyService, sources: SourceRefresh) -> None:
        self._gate = gate
        self._keys = keys
        self._sources = sources

    async def change(self, run: RunRow, step: str) -> Change:
        """What ``step`` needs. Raises :class:`NotReady`, and as :meth:`SourceRefresh.judge` where a backend says no."""
        assert run.previous_version is not None  # noqa: S101  # prepared before
        assert run.candidate_version is not None  # noqa: S101  # as well
        asked = await self._ask_backend(run)
        async with self._gate.own_work() as (session, events):
            secret, admin = await secret_by_id(session, run.secret_id), await _admin(session, run)
            if secret is None:
                raise NotReady("the secret was deleted meanwhile", retry_after=5)
            age = await _age(session, admin, asked)
            wanted = [(run.secret_id, run.previous_version), (run.secret_id, run.candidate_version)]
            wanted.append((admin.id, admin.active_version))
            found = await stored_versions(session, wanted)
            if len(found) < len(set(wanted)):
                raise NotReady("a version that the rotation needs is gone", retry_after=5)
            events.append(run_event(AuditAction.SECRET_USE, admin, run, admin.active_version, age or f"rotation:{step}"))
            events.append(run_event(AuditAction.ROTATION_STEP, secret, run, run.candidate_version, step))
        keyring = await self._keys.keyring_for({one.kek_term for one in found.values()})
        old, new, credential = (open_stored(found[one], keyring) for one in wanted)
        return Change(
            run=str(run.id),
            secret=str(run.secret_id),
            name=secret.name,
            old_version=run.previous_version,
            new_version=run.candidate_version,
            old=old,
            new=new,
            admin=credential,
        )

    async def _ask_backend(self, run: RunRow) -> frozenset[UUID]:
        """Bring the administrator's credential up to date where it is due; what was asked for."""
        async with self._gate.own_work() as (session, _):
            admin = await _admin(session, run)
            now = await session.fetchval("database_clock")
            found = [] if admin.source is None else (await sources_of(session, [admin.id])).values()
            due = [one for one in found if is_due(one, now)]
        if due:
            await self._sources.refresh(due, f"rotation-{run.id}")
        return frozenset(one.secret_id for one in due)


async def _admin(session: Session, run: RunRow) -> SecretRow:
    found = await secret_by_id(session, UUID((run.rotator or {})["admin"]))
    if found is None:
        raise NotReady("the secret with the administrator's credential is gone", retry_after=5)
    return found


async def _age(session: Session, admin: SecretRow, asked: frozenset[UUID]) -> str:
    """'' for a credential that may be used, or the word for one that is old and may."""
    if admin.source is None:
        return ""
    source = (await sources_of(session, [admin.id])).get(admin.id)
    now = await session.fetchval("database_clock")
    return STALE if source is not None and judge(source, now, asked) == STALE else ""

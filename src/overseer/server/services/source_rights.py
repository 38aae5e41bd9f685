"""Whether secrets are still kept up to date by the leader (mode sync): whoever tied them may still tie them."""

from __future__ import annotations

from collections.abc import Sequence

from overseer.core.access import Resource
from overseer.core.audit_events import AuditAction, AuditEvent, Outcome
from overseer.core.backend_references import grant_name
from overseer.core.permissions import Permission
from overseer.server.services.standing_rights import standing_refusal, stopped_events
from overseer.server.storage.backend_rows import SourceRow, stop_source
from overseer.server.storage.database import Session
from overseer.server.storage.secret_rows import SecretRow, secrets_by_id


async def still_wanted(
    session: Session, sources: Sequence[SourceRow], request_id: str
) -> tuple[list[SourceRow], list[AuditEvent]]:
    """Those that go on, and the rows of those that do not; why is noted with each of them."""
    secrets = {one.id: one for one in await secrets_by_id(session, [source.secret_id for source in sources])}
    wanted: list[SourceRow] = []
    events: list[AuditEvent] = []
    for source in sources:
        secret = secrets.get(source.secret_id)
        if secret is None:
            continue
        reference = Resource(
            "backend", grant_name(source.backend, source.ref), secret.scope, source.backend_id, secret.scope_names
        )
        needs = [(Permission.SECRET_WRITE, secret.resource()), (Permission.BACKEND_USE, reference)]
        code = await standing_refusal(session, source.created_by, needs)
        if not code:
            wanted.append(source)
            continue
        await stop_source(session, source.secret_id, code)
        denied = _event(secret, request_id)
        events.extend(stopped_events(denied, source.created_by, code, first=not source.stopped))
    return wanted, events


def _event(secret: SecretRow, request_id: str) -> AuditEvent:
    names = secret.scope_names
    return AuditEvent(
        action=AuditAction.SECRET_PULL,
        outcome=Outcome.DENIED,
        request_id=request_id,
        resource_kind="secret",
        resource_id=secret.id,
        resource_name=secret.name,
        app=names.app,
        environment=names.environment,
        node=names.node,
    )

"""The audit rows of rotations."""

from __future__ import annotations

from overseer.core.audit_events import AuditAction, AuditEvent, Outcome
from overseer.server.storage.secret_rotation_rows import RunRow
from overseer.server.storage.secret_rows import SecretRow


def run_event(action: AuditAction, secret: SecretRow, run: RunRow | None, version: int | None, code: str) -> AuditEvent:
    """The row of what the server does by itself, on behalf of whoever asked for it or set it up; ``run`` None: before any."""
    names = secret.scope_names
    return AuditEvent(
        action=action,
        outcome=Outcome.FAILED if action is AuditAction.ALARM_ROTATION_FAILED else Outcome.ALLOWED,
        request_id="rotation" if run is None else f"rotation-{run.id}",
        on_behalf_of=None if run is None else run.created_by,
        resource_kind="secret",
        resource_id=secret.id,
        resource_name=secret.name,
        app=names.app,
        environment=names.environment,
        node=names.node,
        version=version,
        code=code,
    )

"""The source of a secret as people see it: where its value comes from, how old what is kept is, whether it still serves."""

from __future__ import annotations

from datetime import datetime

from overseer.core.errors import BackendRefused, BackendUnavailable, NotReady
from overseer.server.services.source_refresh import judge
from overseer.server.storage.backend_rows import SourceRow
from overseer.server.storage.secret_rows import SecretRow
from overseer.wire.backends import SourceView
from overseer.wire.secrets import ScopeView


def source_view(secret: SecretRow, source: SourceRow, now: datetime) -> SourceView:
    """The row as it is shown; ``state`` is what a release of the value at ``now`` would find."""
    names = secret.scope_names
    return SourceView(
        secret_id=str(secret.id),
        name=secret.name,
        scope=ScopeView(app=names.app, environment=names.environment, node=names.node),
        backend_id=str(source.backend_id),
        backend=source.backend,
        ref=source.ref,
        field=source.field,
        mode=source.mode,
        state=_state(source, now),
        failure=source.failure,
        fetched_at=source.fetched_at,
        tried_at=source.tried_at,
        set_by=source.setter,
        stopped=source.stopped,
    )


def _state(source: SourceRow, now: datetime) -> str:
    try:
        return judge(source, now, frozenset()) or "fresh"
    except BackendRefused:
        return "refused"
    except BackendUnavailable:
        return "too_old"
    except NotReady:
        return "due"

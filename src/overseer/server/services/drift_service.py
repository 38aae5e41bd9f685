"""Drift: agents say now and then what containers hold, and people see where that is something else than what was deployed.

A node speaks for its own current deployments only. Drift is told to whoever may list the deployment.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec

from overseer.core.access import Resource
from overseer.core.audit_events import AuditAction
from overseer.core.errors import Conflict, InvalidInput, Problem
from overseer.core.permissions import Permission
from overseer.core.principals import Caller
from overseer.core.scopes import Scope
from overseer.server.services.agent_service import own_node
from overseer.server.services.deployment_values import referenced_versions
from overseer.server.services.fingerprint_comparison import compare
from overseer.server.services.gate import Entry, Gate
from overseer.server.services.key_service import KeyService
from overseer.server.services.value_opener import ValueOpener
from overseer.server.storage import deployment_rows, usage_rows
from overseer.server.storage.usage_rows import CheckedRow, HeldReference, Services
from overseer.wire.agent import DeploymentHolding, HoldingsAnswer, HoldingsReport
from overseer.wire.messages import Page
from overseer.wire.usage import DriftView

MAX_HOLDINGS: Final = 200
MAX_LIMIT: Final = 200
UNCHECKED_AFTER: Final = timedelta(minutes=30)
"""Without a word about what containers hold for so long, a deployment counts as unchecked."""
_CHUNK: Final = 200
_MAX_CHUNKS: Final = 25


class DriftService:
    """See the module's text."""

    def __init__(self, gate: Gate, keys: KeyService, opener: ValueOpener) -> None:
        self._gate = gate
        self._keys = keys
        self._opener = opener

    async def holdings(self, caller: Caller, body: HoldingsReport) -> HoldingsAnswer:
        """Store what the containers of the caller's node hold, compared. Needs ``node:serve`` on the own node.

        Holdings of deployments that are not current there are named as ``stale`` and not stored. A report in which nothing is new
        leaves no audit row: agents send one a minute, and nothing leaves the server.
        """
        async with self._gate.enter(caller, AuditAction.NODE_HOLDINGS) as entry:
            entry.authorise(Permission.NODE_SERVE, own_node(entry))
            node_id = entry.actor.node_id
            if node_id is None:
                raise Conflict("only a node's own token says what containers hold")
            wanted = _by_id(body)
            current = await usage_rows.current_on_node(entry.session, node_id, list(wanted))
            news = [await self._check(entry, one, wanted[one], before) for one, before in current.items()]
            if not any(news):
                entry.drop_row()
        stale = [str(one) for one in wanted if one not in current]
        return HoldingsAnswer(accepted=[str(one) for one in current], stale=stale)

    async def drift(
        self,
        caller: Caller,
        *,
        app: str | None = None,
        environment: str | None = None,
        node: str | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page[DriftView]:
        """What is not as it was deployed, of the deployments that the caller may list; ``limit`` deployments (1 to 200)."""
        async with self._gate.enter(caller, AuditAction.DEPLOYMENT_DRIFT) as entry:
            entry.authorise_list(Permission.DEPLOYMENT_LIST, Resource("deployment"))
            before = _cursor(cursor)
            if not 1 <= limit <= MAX_LIMIT:
                rule = f"limit is 1 to {MAX_LIMIT}"
                raise InvalidInput(rule, problems=[Problem("query.limit", rule, "bad_limit")])
            found: list[tuple[UUID, list[DriftView]]] = []
            for _ in range(_MAX_CHUNKS):
                rows = await usage_rows.checked_page(entry.session, (app, environment, node), before, _CHUNK)
                seen = [row for row in rows if entry.permits(Permission.DEPLOYMENT_LIST, _resource(row))]
                references = await usage_rows.held_references(entry.session, [row.id for row in seen])
                drifts = [(r.id, _drift(r, [h for h in references if h.deployment_id == r.id], entry.now)) for r in seen]
                found += [(deployment_id, drift) for deployment_id, drift in drifts if drift]
                before = rows[-1].id if len(rows) == _CHUNK else None
                if before is None or len(found) > limit:
                    break
        more = found[limit - 1][0] if len(found) > limit else before
        items = [view for _, views in found[:limit] for view in views]
        return Page(items=items, next_cursor=None if more is None else str(more))

    async def _check(
        self, entry: Entry, deployment_id: UUID, holding: DeploymentHolding, before: Services | None
    ) -> bool:
        """Store one holding; whether it says anything new."""
        services = [msgspec.to_builtins(service) for service in holding.services]
        await usage_rows.write_check(entry.session, deployment_id, services)
        news = before is None or _states(before) != _states(services)
        if holding.fingerprints:
            rows = (await deployment_rows.secrets_of(entry.session, [deployment_id]))[deployment_id]
            references = await referenced_versions(entry.session, rows)
            event = entry.events[-1]
            matches = await compare(self._keys, self._opener, deployment_id, references, holding.fingerprints, event)
            await deployment_rows.write_matches(entry.session, deployment_id, matches)
            news = news or any(matches.get(row.reference, row.matches) is not row.matches for row in rows)
        return news


def _by_id(body: HoldingsReport) -> dict[UUID, DeploymentHolding]:
    if len(body.holdings) > MAX_HOLDINGS:
        rule = f"a report has at most {MAX_HOLDINGS} holdings; send more reports"
        raise InvalidInput(rule, problems=[Problem("body.holdings", rule, "too_many")])
    found: dict[UUID, DeploymentHolding] = {}
    for number, holding in enumerate(body.holdings):
        place, rule = f"body.holdings[{number}].deployment_id", "the id of a deployment, each once"
        try:
            deployment_id = UUID(holding.deployment_id)
        except ValueError:
            deployment_id = None
        if deployment_id is None or deployment_id in found:
            raise InvalidInput(f"{place}: {rule}", problems=[Problem(place, rule, "bad_id")])
        found[deployment_id] = holding
    return found


def _drift(row: CheckedRow, references: list[HeldReference], now: datetime) -> list[DriftView]:
    """Every difference of one deployment."""
    found = [
        _view(row, "mismatch", held.services, held.checked_at, held) for held in references if held.matches is False
    ]
    gone = sorted(_running(row.reported) - _running(row.held) - _completed(row.held)) if row.held is not None else []
    if gone:
        found.append(_view(row, "gone", gone, row.checked_at))
    if references and (row.checked_at or row.finished_at) + UNCHECKED_AFTER < now:
        services = sorted({service for held in references for service in held.services})
        found.append(_view(row, "unchecked", services, row.checked_at))
    return found


def _view(
    row: CheckedRow, kind: str, services: list[str], checked_at: datetime | None, held: HeldReference | None = None
) -> DriftView:
    return DriftView(
        kind=kind,
        deployment_id=str(row.id),
        app=row.app,
        environment=row.environment,
        node=row.node,
        project=row.project,
        reference=held.reference if held else None,
        name=held.secret_name if held else None,
        version=held.version if held else None,
        services=services,
        checked_at=checked_at,
    )


def _states(services: Services) -> list[tuple[str, str, str]]:
    return sorted((one["service"], one["container_id"], one["state"]) for one in services)


def _running(services: Services | None) -> set[str]:
    return {one["service"] for one in services or [] if one["state"] in {"running", "restarting", "paused"}}


def _completed(services: Services | None) -> set[str]:
    """Services that ended well: a job that is done is not gone. What has a health check was to run on, and is no job.

    ``complete`` is Swarm's word for a task that ended well.
    """
    return {
        one["service"]
        for one in services or []
        if one["state"] in {"exited", "complete"} and one.get("exit_code") == 0 and not one.get("health")
    }


def _resource(row: CheckedRow) -> Resource:
    return Resource("deployment", row.app, row.scope, row.id, Scope(row.app, row.environment, row.node))


def _cursor(cursor: str | None) -> UUID | None:
    try:
        return UUID(cursor) if cursor is not None else None
    except ValueError:
        rule = "cursor is the next_cursor of the page before"
        raise InvalidInput(rule, problems=[Problem("query.cursor", rule, "bad_cursor")]) from None

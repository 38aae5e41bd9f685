"""The sealed log: checkpoints, keys, proofs, canonical rows, and how it stands."""

from __future__ import annotations

from overseer.core.permissions import Permission
from overseer.server.api.call import Call
from overseer.server.api.queries import GrowthQuery, PageQuery, RecordsQuery, RowProofQuery
from overseer.server.api.route import route
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


@route(
    "GET",
    "/api/audit/checkpoints",
    permission=Permission.AUDIT_READ,
    summary="List signed checkpoints of the audit log, newest first",
    query=PageQuery,
    returns=Page[CheckpointView],
)
async def list_checkpoints(call: Call[None, PageQuery]) -> Page[CheckpointView]:
    return await call.services.audit_log.checkpoints(call.caller, cursor=call.query.cursor, limit=call.query.limit)


@route(
    "GET",
    "/api/audit/checkpoints/latest",
    permission=Permission.AUDIT_READ,
    summary="Show the newest checkpoint; keep its note elsewhere to prove later that nothing was cut off or changed",
    returns=CheckpointView,
)
async def show_latest_checkpoint(call: Call[None, None]) -> CheckpointView:
    return await call.services.audit_log.latest(call.caller)


@route(
    "GET",
    "/api/audit/keys",
    permission=Permission.AUDIT_READ,
    summary="Show the public keys that sign checkpoints, and where the log begins",
    returns=LogKeysView,
)
async def list_log_keys(call: Call[None, None]) -> LogKeysView:
    return await call.services.audit_log.log_keys(call.caller)


@route(
    "POST",
    "/api/audit/keys",
    permission=Permission.KEY_WRITE,
    summary="Sign checkpoints with a new key from now on; old and new key sign the statement that introduces it",
    returns=LogKeyView,
    status=201,
)
async def rotate_log_key(call: Call[None, None]) -> LogKeyView:
    return await call.services.audit_log.rotate_log_key(call.caller, call.idempotency)


@route(
    "GET",
    "/api/audit/proofs/inclusion",
    permission=Permission.AUDIT_READ,
    summary="Prove that an audit row is in the log of a checkpoint's size (RFC 9162); by default the newest",
    query=RowProofQuery,
    returns=InclusionProof,
)
async def prove_row(call: Call[None, RowProofQuery]) -> InclusionProof:
    return await call.services.audit_log.prove_row(call.caller, call.query.row, call.query.size)


@route(
    "GET",
    "/api/audit/proofs/consistency",
    permission=Permission.AUDIT_READ,
    summary="Prove that the log of one checkpoint's size is the beginning of another's (RFC 9162); by default the newest",
    query=GrowthQuery,
    returns=ConsistencyProof,
)
async def prove_growth(call: Call[None, GrowthQuery]) -> ConsistencyProof:
    return await call.services.audit_log.prove_growth(call.caller, call.query.old_size, call.query.new_size)


@route(
    "GET",
    "/api/audit/records",
    permission=Permission.AUDIT_READ,
    summary="Export sealed rows as canonical bytes, with what it takes to verify them elsewhere",
    query=RecordsQuery,
    returns=RecordsView,
)
async def export_records(call: Call[None, RecordsQuery]) -> RecordsView:
    return await call.services.audit_log.records(call.caller, call.query.first, call.query.limit)


@route(
    "GET",
    "/api/audit/integrity",
    permission=Permission.AUDIT_READ,
    summary="Show how the log stands: newest checkpoint, rows that wait to be sealed, the server's own check",
    returns=IntegrityView,
)
async def show_integrity(call: Call[None, None]) -> IntegrityView:
    return await call.services.audit_log.integrity(call.caller)

"""Which log this is, and that nothing is written into another one.

The audit log is sealed in the order of transaction ids, and those mean something within one cluster, database and table only.
A database that was restored from a dump or copied goes on with other ids: rows written before the next *incarnation* begins
would break the proof. So every new connection compares what it sees with the newest row of ``audit_incarnation`` and refuses
a difference. A promoted standby keeps all three.
"""

from __future__ import annotations

from dataclasses import dataclass

import asyncpg

from overseer.core.errors import ConfigurationProblem
from overseer.server.storage.queries import named_queries


@dataclass(frozen=True, slots=True)
class LogIdentity:
    """The cluster's system identifier (decimal), and the oids of the database and of the table ``audit``."""

    system_identifier: str
    database_oid: int
    table_oid: int


@dataclass(frozen=True, slots=True)
class LogState:
    """What a connection sees: the log's identity, the recorded one (None before the first incarnation), and its own session."""

    seen: LogIdentity
    recorded: LogIdentity | None
    incarnation: int | None
    synchronous_commit: str
    idle_limit: str
    role: str


async def read_log_state(connection: asyncpg.Connection) -> LogState:
    """One round trip. Raises :class:`ConfigurationProblem` where the tables are not there or the server hides its identity."""
    try:
        row = await connection.fetchrow(named_queries()["log_identity"])
    except asyncpg.UndefinedTableError:
        raise ConfigurationProblem("the database holds no Overseer yet: run `overseer server init`") from None
    except asyncpg.InsufficientPrivilegeError:
        raise ConfigurationProblem(
            "the database role may not read what the server needs: run `overseer server migrate` as the owner "
            "of the tables, and as a "
            "superuser GRANT EXECUTE ON FUNCTION pg_control_system(), pg_control_checkpoint() TO PUBLIC"
        ) from None
    recorded = None
    if row["incarnation"] is not None:
        recorded = LogIdentity(row["recorded_system_identifier"], row["recorded_database_oid"], row["recorded_table_oid"])
    return LogState(
        seen=LogIdentity(row["system_identifier"], row["database_oid"], row["table_oid"] or 0),
        recorded=recorded,
        incarnation=row["incarnation"],
        synchronous_commit=row["synchronous_commit"],
        idle_limit=row["idle_limit"],
        role=row["role"],
    )


def check_log_identity(state: LogState) -> None:
    """Raises :class:`ConfigurationProblem` where the log is not the recorded one."""
    if state.recorded is None:
        raise ConfigurationProblem("the audit log has no incarnation yet: run `overseer server init`")
    if state.seen != state.recorded:
        raise ConfigurationProblem(
            f"this database is a copy or was restored: its audit log is not the one of incarnation "
            f"{state.incarnation}, so nothing is "
            "written. Connect to the original, or, when this copy shall take its place, run `overseer server migrate --adopt-log`"
        )


async def begin_incarnation(connection: asyncpg.Connection) -> int:
    """Begin the next incarnation of the log here, as the owner of the tables; returns its number.

    Only for a new log, or for a copy that takes the original's place: the original must not be written any more.
    """
    async with connection.transaction():
        await connection.execute(named_queries()["incarnation_begin"])
    incarnation: int = (await read_log_state(connection)).incarnation or 0
    return incarnation

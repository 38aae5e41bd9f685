"""What holds for every session of the service, and what the server under it must be.

``session_setup`` runs on each new connection of the pool and refuses it (nothing is written) where the log is another one or
where a pooler dropped our settings. The session takes the role ``overseer_service``, which can append to the audit log and
not change it, and cannot make or alter tables. ``SET ROLE`` survives the pool's ``RESET ALL``; whoever can run any SQL in the
session can leave the role, so it guards against mistakes and against SQL that is confined to one statement, not against a
taken-over server process.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final

import asyncpg

from overseer.core.errors import ConfigurationProblem
from overseer.server.storage.log_identity import check_log_identity, read_log_state
from overseer.server.storage.queries import named_queries

OLDEST_VERSION: Final = 150000
SERVICE_ROLE: Final = "overseer_service"

# Where the role does not exist, or the login may not take it (a managed database without CREATEROLE), the login role works
# itself.
ROLE_REFUSED: Final = (asyncpg.InvalidParameterValueError, asyncpg.InsufficientPrivilegeError, asyncpg.UndefinedObjectError)


async def session_setup(connection: asyncpg.Connection) -> None:
    """Prepare one new connection of the pool. Raises :class:`ConfigurationProblem`; the connection is then closed unused."""
    queries = named_queries()
    with suppress(*ROLE_REFUSED):  # the migration run has warned of it
        await connection.execute(queries["service_role_enter"])
    state = await read_log_state(connection)
    check_log_identity(state)
    if state.synchronous_commit != "on" or state.idle_limit == "0":
        raise ConfigurationProblem(
            "the database session does not have the settings that were asked for (synchronous_commit, "
            "timeouts): connect directly, or "
            "through a pooler in session mode that passes start-up parameters on"
        )


async def check_server(connection: asyncpg.Connection) -> tuple[str, ...]:
    """Warnings for people about the server. Raises :class:`ConfigurationProblem` where Overseer cannot keep its promises on
    it."""
    facts = await connection.fetchrow(named_queries()["server_facts"])
    if facts["version"] < OLDEST_VERSION:
        raise ConfigurationProblem("the database is older than PostgreSQL 15: upgrade it")
    if facts["encoding"] != "UTF8":
        raise ConfigurationProblem("the database's encoding is not UTF8: create it with ENCODING 'UTF8' TEMPLATE template0")
    if not (facts["fsync"] and facts["full_page_writes"]):
        raise ConfigurationProblem(
            "the database runs with fsync or full_page_writes off, so an answered write or an audit row could "
            "be lost: switch both on"
        )
    warnings = []
    if facts["max_prepared_transactions"]:
        warnings.append(
            "max_prepared_transactions is not 0: a forgotten prepared transaction holds the sealing of the "
            "audit log back; set it to 0"
        )
    return tuple(warnings)

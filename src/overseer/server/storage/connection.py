"""From ``OVERSEER_DATABASE_URL`` to connections.

Guarantees: a connection to another machine is TLS with the certificate chain and the host name verified, unless the URL says
in so many words that it shall be weaker; a mode that falls back to plain text without a word (``allow``, ``prefer``) is
refused there. Settings of the service's sessions travel in the start-up packet, so the pool's ``RESET ALL`` returns to them.
The URL may hold a password: it is never part of an error.

What it will not do: read ``PGSSLMODE`` and its relatives for another machine, or keep a connection.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

import asyncpg

from overseer.core.errors import ConfigurationProblem, StoreUnavailable
from overseer.server.storage.database import translate

CONNECT_SECONDS: Final = 10.0
_SETTING: Final = "OVERSEER_DATABASE_URL"
_MODES: Final = ("disable", "require", "verify-ca", "verify-full")
_TLS_PARTS: Final = ("sslmode", "sslrootcert", "sslcert", "sslkey")

#: Sessions of the service. 10 s for a statement and 15 s for an idle transaction bound how long a stuck request can hold the
#: sealing of the audit log back; pg_temp comes last, so that no temporary table can stand in for one of ours.
SERVICE_SETTINGS: Final = {
    "application_name": "overseer",
    "TimeZone": "UTC",
    "search_path": "pg_catalog, public, pg_temp",
    "synchronous_commit": "on",
    "default_transaction_isolation": "read committed",
    "plan_cache_mode": "force_generic_plan",
    "jit": "off",
    "statement_timeout": "10s",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "15s",
}

#: The migrator's session: as long as it takes, but never in a queue behind a long transaction, which would stop everyone.
MIGRATION_SETTINGS: Final = {
    "application_name": "overseer migrator",
    "TimeZone": "UTC",
    "search_path": "public, pg_temp",
    "synchronous_commit": "on",
    "statement_timeout": "0",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "60s",
}


def connect_arguments(url: str) -> dict[str, Any]:
    """Keyword arguments for ``asyncpg.connect`` or ``create_pool``: ``dsn``, ``ssl`` and which server of several to take.

    ``url`` is a libpq URI (``postgresql://user@host/name?sslmode=verify-full&sslrootcert=/path``), several hosts allowed. Without
    ``sslmode`` another machine means ``verify-full``; without ``sslrootcert`` (or with ``system``) the system's trust store
    counts. Raises :class:`ConfigurationProblem`.
    """
    try:
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
        hosts = _hosts(parts.netloc.rpartition("@")[2], query.get("host", ""))
    except ValueError:
        raise ConfigurationProblem(f"{_SETTING} is not a URL of the form postgresql://user@host:5432/database") from None
    if parts.scheme not in ("postgresql", "postgres"):
        raise ConfigurationProblem(f"{_SETTING} begins with postgresql://")
    tls: dict[str, str] = {name: query.pop(name) for name in _TLS_PARTS if name in query}
    query.setdefault("target_session_attrs", "read-write")  # after a failover the standby is the wrong one of several hosts
    dsn = urlunsplit((parts.scheme, parts.netloc, parts.path, urlencode(query), ""))
    return {"dsn": dsn, "ssl": _tls(tls, remote=any(not _is_here(host) for host in hosts))}


def service_arguments(url: str) -> dict[str, Any]:
    """:func:`connect_arguments` with the settings of the service's sessions; for the pool, together with ``session_setup``."""
    return {**connect_arguments(url), "server_settings": dict(SERVICE_SETTINGS)}


@asynccontextmanager
async def login_connection(url: str, settings: Mapping[str, str] = MIGRATION_SETTINGS) -> AsyncIterator[asyncpg.Connection]:
    """One connection as the login role, for migrations and checks at start, backups and restores.

    Raises :class:`ConfigurationProblem` where the server refuses what the URL says (certificate, password, database), and
    :class:`StoreUnavailable` where it does not answer within ten seconds.
    """
    arguments = connect_arguments(url)
    try:
        connection = await asyncpg.connect(**arguments, server_settings=dict(settings), timeout=CONNECT_SECONDS)
    except Exception as error:  # noqa: BLE001 - whatever the driver raises may quote the URL
        raise _refused(error) from None
    try:
        yield connection
    finally:
        await connection.close(timeout=CONNECT_SECONDS)


def _refused(error: Exception) -> BaseException:  # noqa: PLR0911 - a table
    if isinstance(error, ssl.SSLCertVerificationError):
        return ConfigurationProblem(
            f"the database's certificate does not verify ({error.verify_message}): name the CA's file with "
            f"sslrootcert in {_SETTING}, "
            "and connect by a name that the certificate holds"
        )
    if isinstance(error, asyncpg.InvalidAuthorizationSpecificationError):
        return ConfigurationProblem(
            f"the database refused the login of {_SETTING}: check user, password, sslmode and pg_hba.conf"
        )
    if isinstance(error, asyncpg.InvalidCatalogNameError):
        return ConfigurationProblem(f"the database that {_SETTING} names does not exist: create it, or mend the name")
    if isinstance(error, asyncpg.TargetServerAttributeNotMatched):
        return StoreUnavailable("no database server of the list accepts writes now; try again when the failover is done")
    if isinstance(error, ConnectionError) and "SSL" in str(error):
        return ConfigurationProblem(f"the database offers no TLS, which {_SETTING} demands: switch ssl on there")
    if isinstance(error, OSError | TimeoutError):
        return StoreUnavailable("the database cannot be reached; is it running, and is its address right?")
    if isinstance(error, asyncpg.InterfaceError | ValueError):
        return ConfigurationProblem(f"{_SETTING} cannot be understood: check every part of it")
    return translate(error)


def _hosts(authority: str, in_query: str) -> list[str]:
    """The hosts of a URL that may name several, without ports; empty where it names none (then libpq's sockets are meant)."""
    if authority:
        names = [f"//{part}" for part in authority.split(",")]
        return [unquote(urlsplit(name).hostname or "") for name in names]
    return [host for host in in_query.split(",") if host]


def _is_here(host: str) -> bool:
    if not host or host.startswith("/") or host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _tls(parts: dict[str, str], *, remote: bool) -> ssl.SSLContext | bool | str | None:
    mode = parts.get("sslmode")
    if mode is None:
        if not remote and not parts:
            return None
        mode = "verify-full"
    if mode in ("allow", "prefer") and not remote:
        return mode
    if mode not in _MODES:
        raise ConfigurationProblem(
            f"sslmode in {_SETTING} is one of verify-full (for another machine), verify-ca, require, disable"
        )
    if mode == "disable":
        return False
    try:
        root = parts.get("sslrootcert")
        context = ssl.create_default_context(cafile=None if root in (None, "system") else root)
        if parts.get("sslcert"):
            context.load_cert_chain(parts["sslcert"], parts.get("sslkey"))
    except (OSError, ssl.SSLError):
        raise ConfigurationProblem(
            f"sslrootcert, sslcert or sslkey in {_SETTING} names a file that cannot be read as PEM"
        ) from None
    context.check_hostname = mode == "verify-full"
    if mode == "require" and root is None:  # with a CA, libpq's `require` verifies it, and so does this
        context.verify_mode = ssl.CERT_NONE
    return context

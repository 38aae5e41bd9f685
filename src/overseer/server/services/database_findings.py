"""What `overseer doctor` sees of the database and of the keys in it: as the server's own sessions see it. Nothing is changed.

It passes no gate: like ``bootstrap`` it works with the database's URL, and who has that may read everything here anyway.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

from overseer.core.errors import ConfigurationProblem, KeyProblem, OverseerError
from overseer.core.findings import Finding, clock_finding, ok, problem, warning
from overseer.crypto.keyring import Keyring
from overseer.crypto.wrap_budget import MAX_WRAPS
from overseer.server.seals.selection import make_seal
from overseer.server.services.key_limits import KeyLimits
from overseer.server.services.key_service import wrapped_keys
from overseer.server.services.key_views import newest_kek
from overseer.server.services.leader_watch import leader_finding, lock_holder
from overseer.server.storage.backup_rows import BackupState, backup_state
from overseer.server.storage.connection import service_arguments
from overseer.server.storage.database import Database, Record, Session
from overseer.server.storage.keyring_rows import InstanceRow, KeyRow, load_instance, load_keys, recorded_term
from overseer.server.storage.migrator import pending_migrations
from overseer.server.storage.rotation_rows import RotationRow, newest_rotation
from overseer.server.storage.service_session import SERVICE_ROLE, session_setup
from overseer.server.storage.wrapped_tables import rows_on_old_terms

OLD_BACKUP_DAYS: Final = 7


async def database_findings(url: str, seal: str, limits: KeyLimits) -> list[Finding]:
    """``seal`` is the setting ``OVERSEER_SEAL``, ``limits`` the settings of key rotation."""
    found: list[Finding] = []
    try:
        pending = await pending_migrations(url)
    except OverseerError as error:
        found.append(problem("database", error.message, "see OVERSEER_DATABASE_URL and the database's own log"))
        return found
    if pending:
        text = f"the schema lacks {len(pending)} migration(s) of this release"
        return [problem("schema", text, "run `overseer server init`")]
    database = Database(service_arguments(url), setup=session_setup, size=1)
    try:
        async with database.session() as session:
            found += await _server(session)
            found += await _keys(session, seal, limits)
            found.append(leader_finding(await lock_holder(session)))
            found.append(backup_finding(await backup_state(session)))
    except ConfigurationProblem as error:  # the log is another one, or a pooler drops our settings
        found.append(problem("log identity", error.message, "see docs/how-to/back-up-the-key.md"))
    except OverseerError as error:
        found.append(problem("database", error.message, "see the database's own log"))
    finally:
        await database.close()
    return found


async def _server(session: Session) -> list[Finding]:
    before = datetime.now(UTC)
    facts = await session.fetchrow("database_facts")
    after = datetime.now(UTC)
    if facts is None:
        raise RuntimeError("a query of settings gave no row")
    excess = await session.fetchval("service_role_excess") if facts["role"] == SERVICE_ROLE else ""
    strangers = await session.fetchval("service_role_strangers") if facts["role"] == SERVICE_ROLE else 0
    off = (facts["now"] - (before + (after - before) / 2)).total_seconds()
    return [
        ok("database", f"PostgreSQL {facts['version_text']} answers, and its schema is this release's"),
        ok("log identity", "the audit log is the one that this instance began"),
        *_durability(facts),
        *_role(facts, excess, strangers),
        clock_finding("database clock", off, "the database's"),
    ]


def _durability(facts: Record) -> Iterator[Finding]:
    if facts["durable"]:  # off is refused at start, and may have been switched off since
        yield ok("durability", "fsync and full_page_writes are on; synchronous_commit is on in Overseer's sessions")
    else:
        yield problem("durability", "fsync or full_page_writes is off: an answered write may be lost", "switch both on")
    if not facts["checksums"]:
        advice = "enable them with pg_checksums while the database is stopped"
        yield warning("checksums", "the cluster has no data checksums: a disk that errs is noticed late", advice)
    if facts["prepared"] or facts["max_prepared"]:
        text = f"prepared transactions are possible, {facts['prepared']} are open: one that is forgotten holds the log back"
        yield warning("prepared transactions", text, "set max_prepared_transactions to 0")
    else:
        yield ok("prepared transactions", "max_prepared_transactions is 0")
    if facts["idle_session_limit"] not in ("0", "0ms"):
        text = f"idle_session_timeout is {facts['idle_session_limit']}: the server's idle connections are cut"
        yield warning("idle timeouts", text, "set it to 0 for this role")
    else:
        yield ok("idle timeouts", f"idle transactions end after {facts['idle_transaction_limit']}, idle connections are kept")


def _role(facts: Record, excess: str | None, strangers: int) -> Iterator[Finding]:
    if facts["role"] != SERVICE_ROLE:
        text = f"the server works as the role {facts['role']}, which may do more than append to the audit log"
        yield warning("database role", text, f"let the login make and take the role {SERVICE_ROLE} (CREATEROLE), then migrate")
    elif excess:
        yield problem("database role", f"{SERVICE_ROLE} may do more to the log than append: {excess}", "revoke it")
    else:
        yield ok("database role", f"the server works as {SERVICE_ROLE}, which can only append to the audit log")
    if strangers:
        text = f"{strangers} other login(s) of the cluster may take the role {SERVICE_ROLE}"
        yield warning("database logins", text, "give each database of Overseer a cluster of its own, or deny them CONNECT")
    if not (facts["tls"] or facts["here"]):
        text = "the connection to the database is not encrypted"
        yield problem("database tls", text, "take sslmode=disable out of OVERSEER_DATABASE_URL")


async def _keys(session: Session, seal: str, limits: KeyLimits) -> list[Finding]:
    instance = await load_instance(session)
    if instance is None:
        return [problem("instance", "the database holds no instance yet", "run `overseer server init`")]
    rows = await load_keys(session)
    newest = newest_kek(rows)
    old = await rows_on_old_terms(session, newest.term)
    rotation = await newest_rotation(session)
    now: Any = await session.fetchval("database_clock")
    return [
        *_seal(instance, seal),
        *await _root_key(instance, rows, seal),
        wraps_finding(newest.term, newest.wraps_reserved),
        _age(newest, limits, now),
        *old_terms_findings(sum(old.values()), rotation),
        *_idle_terms(rows, newest, old),
        keyring_finding(newest.term, await recorded_term(session)),
    ]


def keyring_finding(newest: int, recorded: int) -> Finding:
    """Whether the newest term is one that the audit log would expect; ``recorded`` 0: the log has no rotation."""
    check = "keyring"
    if recorded <= newest:
        return ok(check, "no newer term than the newest was ever recorded in the audit log")
    text = f"the audit log records a rotation to term {recorded}, and the newest term is {newest}: older keys were put back"
    return problem(check, text, "find out who wrote the database, then rotate; what was encrypted since may not open")


def _seal(instance: InstanceRow, seal: str) -> Iterator[Finding]:
    kind = seal.partition(":")[0]
    if instance.seal_kind == kind:
        yield ok("seal", f"the instance was sealed with {kind}, as the setting says")
    else:
        text = f"the instance was sealed with {instance.seal_kind}, and OVERSEER_SEAL says {kind}"
        yield problem("seal", text, "set OVERSEER_SEAL to what the instance was sealed with, or migrate the seal")


async def _root_key(instance: InstanceRow, rows: list[KeyRow], seal: str) -> list[Finding]:
    """Whether the key file is the one of this instance; other seals need an operator or a service for that."""
    if not seal.startswith("file:"):
        return []
    try:
        Keyring.open(instance.id, await make_seal(seal).root_key(), wrapped_keys(rows), instance.check_value)
    except (KeyProblem, ConfigurationProblem) as error:
        return [problem("root key", error.message, "a server cannot start like this")]
    return [ok("root key", "the key file opens the keyring")]


def wraps_finding(term: int, reserved: int) -> Finding:
    """How much of the bound of NIST SP 800-38D is left for the newest term."""
    share = reserved / MAX_WRAPS
    text = f"term {term} has {1 - share:.0%} of its 2^32 encryptions left"
    if share > 0.75:
        return problem("key use", text, "run `overseer key rotate`, and see why the leader did not")
    return ok("key use", text)


def _age(newest: KeyRow, limits: KeyLimits, now: datetime) -> Finding:
    days = (now - newest.created_at).days
    due_at = limits.due_at(newest)
    text = f"term {newest.term} is {days} day(s) old"
    if due_at is None:
        advice = "set OVERSEER_KEY_MAX_AGE_DAYS, or run `overseer key rotate` once a year"
        return ok("key age", text) if days < 365 else warning("key age", text + ", and is never replaced by itself", advice)
    if now >= due_at:
        return warning("key age", f"{text}: it is due for rotation", "a server that runs unsealed does it within seconds")
    return ok("key age", f"{text}, and is replaced on {due_at:%Y-%m-%d}")


def backup_finding(state: BackupState) -> Finding:
    """Whether there is a backup, how old it is, whether the last try failed, and whether schedules are followed."""
    if state.held:
        text = "this instance was restored or copied: no schedule of backups is followed, and retention leaves older files alone"
        return problem("backup", text, "if it takes the other's place, run `overseer backup resume` on the server's machine")
    if state.succeeded_at is None:
        advice = "see docs/how-to/back-up-and-restore.md: `overseer backup create --to`, or a schedule in overseer.toml"
        return warning("backup", "no backup was ever made with `overseer backup`", advice)
    days = (state.now - state.succeeded_at).days
    text = f"the last backup is {days} day(s) old"
    if state.last_state == "failed":
        return problem("backup", f"the last try failed; {text}", "see `overseer backup list` and the server's log")
    if days >= OLD_BACKUP_DAYS:
        return warning("backup", text, "make one, or give [backup.NAME] in overseer.toml a schedule")
    return ok("backup", text)


def old_terms_findings(remaining: int, rotation: RotationRow | None) -> Iterator[Finding]:
    """Whether everything is under the newest term."""
    if rotation is not None and rotation.running:
        text = f"a rotation to term {rotation.term} is running, {remaining} row(s) are left"
        yield ok("old terms", text)
    elif remaining:
        text = f"{remaining} row(s) are under old terms and do not open"
        yield problem("old terms", text, "run `overseer key verify`, and restore what it names from a backup")
    else:
        yield ok("old terms", "every data key is wrapped by the newest term")


def _idle_terms(rows: list[KeyRow], newest: KeyRow, old: dict[int, int]) -> Iterator[Finding]:
    idle = [row.term for row in rows if row.purpose == newest.purpose and row.term < newest.term and not old.get(row.term)]
    if idle:
        terms = ", ".join(str(term) for term in idle)
        yield ok("unused terms", f"nothing uses term(s) {terms} any more: `overseer key retire` deletes one")

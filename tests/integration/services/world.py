"""A ready server without its edges: a migrated and initialised database, the gate, the services, and people to call them."""

from __future__ import annotations

import asyncio
import inspect
import itertools
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

import asyncpg

from overseer.core.access import Binding, Match, NamePattern, PartSelector
from overseer.core.permissions import BUILT_IN_ROLES, Permission, to_bits
from overseer.core.principals import Caller, PrincipalKind
from overseer.core.secret_value import SecretValue
from overseer.crypto.keyring import Keyring
from overseer.crypto.keys import RootKey
from overseer.crypto.tokens import TokenPrefix, new_token
from overseer.server.backend_settings import AddressRules
from overseer.server.services.backend_calls import BackendCalls
from overseer.server.services.gate import Gate
from overseer.server.services.idempotency import IdempotencyKeeper
from overseer.server.services.key_service import KeyService
from overseer.server.services.resolve_batches import ResolveBatches
from overseer.server.services.resolve_service import ResolveService
from overseer.server.services.reveal_batches import RevealBatches
from overseer.server.services.rollout_driver import RolloutDriver
from overseer.server.services.secret_service import SecretService
from overseer.server.services.source_refresh import SourceRefresh
from overseer.server.services.value_opener import ValueOpener
from overseer.server.services.work_signal import WorkSignal
from overseer.server.storage import principal_rows
from overseer.server.storage.connection import service_arguments
from overseer.server.storage.database import Database
from overseer.server.storage.scope_rows import Part, insert_part
from overseer.server.storage.service_session import session_setup
from overseer.wire.secrets import SecretCreate, SecretView

PEER = "192.0.2.7"
_WAITING: Final = "FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
BESIDE = ["alarm:decrypt_failed", "alarm:node_key_mismatch", "alarm:unseal_failed"]


class Looking:
    """One connection as the database's owner, for one statement after another: each new one reads the catalogue again first."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = asyncio.Lock()
        self._connection: asyncpg.Connection | None = None

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[asyncpg.Connection]:
        """The one, or another where that is busy (a statement may wait for a lock); a new one where the last has ended."""
        if self._lock.locked():
            other = await asyncpg.connect(self._url)
            try:
                yield other
            finally:
                await other.close()
            return
        async with self._lock:
            if self._connection is None or self._connection.is_closed():
                self._connection = await asyncpg.connect(self._url)
            yield self._connection

    async def close(self) -> None:
        """Nothing is connected any more, until the next statement."""
        if self._connection is not None:
            await self._connection.close()


@dataclass
class World:
    """One installation. ``owner`` may do everything everywhere; make weaker callers with :meth:`service_account`."""

    url: str
    database: Database
    instance_id: UUID
    root_key: RootKey
    gate: Gate
    keys: KeyService
    idempotency: IdempotencyKeeper
    opener: ValueOpener
    calls: BackendCalls
    sources: SourceRefresh
    secrets: SecretService
    resolver: ResolveService
    signal: WorkSignal
    looking: Looking
    owner: Caller = field(init=False)
    parts: dict[tuple[Part, str], UUID] = field(default_factory=dict)
    _requests: Iterable[int] = field(default_factory=lambda: itertools.count(1))

    async def add(self, part: Part, *names: str) -> None:
        """Create apps, environments or nodes."""
        async with self.database.work() as session:
            for name in names:
                self.parts[part, name] = uuid4()
                if part is Part.NODE:
                    await session.execute("node_insert", self.parts[part, name], name, "")
                else:
                    await insert_part(session, part, self.parts[part, name], name, "")

    async def service_account(
        self,
        role: str | frozenset[Permission] | None = None,
        *,
        app: str = "any",
        environment: str = "any",
        node: str = "any",
        name: str = "*",
        expires_at: datetime | None = None,
    ) -> Caller:
        """A caller with a live token of a new service account; with a role (or bare permissions) where the parts select:
        ``any``, ``unset`` or the name of a part. Bind more with :meth:`bind`."""
        account = f"account-{next(iter(self._requests))}"
        caller = await self._principal(PrincipalKind.SERVICE_ACCOUNT, account)
        if role is not None:
            await self.bind(caller, role, app=app, environment=environment, node=node, name=name, expires_at=expires_at)
        return caller

    async def bind(
        self,
        caller: Caller,
        role: str | frozenset[Permission],
        *,
        app: str = "any",
        environment: str = "any",
        node: str = "any",
        name: str = "*",
        expires_at: datetime | None = None,
        subject: UUID | None = None,
        emergency: str | None = None,
    ) -> UUID:
        """Give ``caller`` (or the group ``subject``) a role or bare permissions; the id of the binding.

        ``emergency``: ``dormant``, ``active`` or ``over`` (it was activated, and that has ended).
        """
        permissions = BUILT_IN_ROLES[role] if isinstance(role, str) else role
        selectors = [self._selector(part, text) for part, text in zip(Part, (app, environment, node), strict=True)]
        binding = Binding(uuid4(), to_bits(permissions), *selectors, NamePattern.parse(name), expires_at)
        role_name = role if isinstance(role, str) else "owner"
        async with self.database.work() as session:
            holder = subject or (await session.fetchrow("actor_by_token", caller.token_hash, ""))["principal_id"]
            found = await principal_rows.role_by_name(session, role_name)
            if emergency is None:
                await principal_rows.insert_binding(session, binding, holder, found.id, None)
            else:
                await self._insert_emergency(session, binding, holder, found.id, emergency)
        return binding.id

    async def _insert_emergency(self, session: Any, binding: Binding, holder: UUID, role: UUID, state: str) -> None:
        """With its clocks set as the service sets them."""
        asleep = replace(binding, expires_at=datetime.now(UTC) - timedelta(seconds=1))
        until = binding.expires_at
        await principal_rows.insert_binding(
            session, asleep, holder, role, None, active_seconds=3600, available_until=until
        )
        if state != "dormant":
            await principal_rows.activate_binding(session, binding.id)
        if state == "over":
            await principal_rows.deactivate_binding(session, binding.id)

    def caller(self, token_hash: bytes | None) -> Caller:
        """A request of whoever holds the token."""
        return Caller(token_hash, f"request-{next(iter(self._requests))}", PEER, "test")

    async def secret(self, name: str, value: str = "v1", **fields: Any) -> SecretView:
        """A secret, made by the owner."""
        return (await self.secrets.create(self.owner, SecretCreate(name=name, value=value, **fields))).view

    async def audit(self, caller: Caller | None = None) -> list[asyncpg.Record]:
        """Audit rows in order of their writing, all or those of one caller's request id; alarms are :meth:`alarms`."""
        rows = await self.sql("SELECT * FROM audit WHERE action <> ALL ($1) ORDER BY xact, id", BESIDE)
        return [row for row in rows if caller is None or row["request_id"] == caller.request_id]

    async def alarms(self) -> list[asyncpg.Record]:
        """Alarms that stand beside another row of the same request, in order of their writing."""
        return await self.sql("SELECT * FROM audit WHERE action = ANY ($1) ORDER BY xact, id", BESIDE)

    async def sql(self, statement: str, *arguments: Any) -> list[asyncpg.Record]:
        """A statement as the database's owner, past the service: to look at rows, or to tamper with them."""
        async with self.looking.connection() as connection:
            return await connection.fetch(statement, *arguments)

    async def somebody_waits(self) -> None:
        """Until a statement of this database waits for a lock that another one holds."""
        await eventually(lambda: self.sql(f"SELECT {_WAITING}"))

    async def cut_off(self, *calls: asyncio.Task[Any]) -> list[Any]:
        """End each connection that waits for a lock, until all ``calls`` have ended; their results or exceptions."""

        async def ended() -> bool:
            await self.sql(f"SELECT pg_terminate_backend(pid) {_WAITING}")
            return all(call.done() for call in calls)

        await eventually(ended)
        return await together(*calls)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[asyncpg.Connection]:
        """A connection of its own as the database's owner: for what holds locks or settings."""
        connection = await asyncpg.connect(self.url)
        try:
            yield connection
        finally:
            await connection.close()

    def _selector(self, part: Part, text: str) -> PartSelector:
        return PartSelector(Match(text)) if text in ("any", "unset") else PartSelector(Match.IS, self.parts[part, text])

    async def _principal(self, kind: PrincipalKind, name: str) -> Caller:
        _, digest = new_token(TokenPrefix.API)
        expires_at = datetime.now(UTC) + timedelta(hours=1)
        async with self.database.work() as session:
            row = await principal_rows.insert_principal(session, uuid4(), kind, name, "", None)
            token = principal_rows.NewToken(digest, uuid4(), row.id, "", expires_at, None, None)
            await principal_rows.insert_token(session, token)
        return self.caller(digest)

    async def initialise(self) -> None:
        """Instance, keyring, roles and owner, as the first start makes them; the server is unsealed."""
        _, keys, check_value = Keyring.create(self.instance_id, self.root_key)
        async with self.looking.connection() as connection, connection.transaction():
            await connection.execute(
                "INSERT INTO instance (id, check_value, seal_kind) VALUES ($1, $2, 'file')", self.instance_id, check_value
            )
            await connection.executemany(
                "INSERT INTO keyring_key (purpose, term, wrapped) VALUES ($1, $2, $3)",
                [(key.purpose, key.term, key.wrapped) for key in keys],
            )
            await connection.executemany(
                "INSERT INTO role (id, name, permissions, built_in) VALUES ($1, $2, $3, true)",
                [(uuid4(), name, to_bits(permissions)) for name, permissions in BUILT_IN_ROLES.items()],
            )
        self.owner = await self._principal(PrincipalKind.USER, "owner")
        await self.bind(self.owner, "owner")
        await self.keys.open(self.root_key)


@asynccontextmanager
async def made_world(url: str, *, pool_size: int = 10) -> AsyncIterator[World]:
    """A new world in the migrated database of ``url``, whatever was in it."""
    looking = Looking(url)
    async with looking.connection() as connection:
        await _empty(connection)
        shape = await connection.fetch(_SHAPE)
    database = Database(service_arguments(url), setup=session_setup, size=pool_size)
    gate = Gate(database)
    keys = KeyService(database, gate)
    opener, idempotency = ValueOpener(keys, gate), IdempotencyKeeper(keys)
    signal = WorkSignal()
    rollouts = RolloutDriver(gate, signal)
    calls = BackendCalls(keys, AddressRules(private_allowed=lambda _: True))
    sources = SourceRefresh(gate, keys, calls, rollouts)
    world = World(
        url=url,
        database=database,
        instance_id=uuid4(),
        root_key=RootKey.generate(),
        gate=gate,
        keys=keys,
        idempotency=idempotency,
        opener=opener,
        calls=calls,
        sources=sources,
        secrets=SecretService(gate, keys, idempotency, opener, rollouts, RevealBatches(database, gate), sources),
        resolver=ResolveService(gate, keys, opener, ResolveBatches(database, gate), sources),
        signal=signal,
        looking=looking,
    )
    try:
        await world.initialise()
        yield world
        async with world.connection() as connection:
            left = set(shape) ^ set(await connection.fetch(_SHAPE))
            assert not left, f"the next test would find triggers, columns or rights that this one changed: {left}"
    finally:
        await looking.close()
        await database.close()


_SHAPE: Final = """
SELECT t.tgrelid::regclass::text AS on, t.tgname::text AS what, t.tgenabled::text AS state FROM pg_trigger t
UNION ALL
SELECT c.oid::regclass::text, a.grantee::regrole::text, a.privilege_type FROM pg_class c, aclexplode(c.relacl) a
WHERE c.relnamespace = 'public'::regnamespace
UNION ALL
SELECT b.attrelid::regclass::text, b.attname || ' ' || a.grantee::regrole, a.privilege_type
FROM pg_attribute b, aclexplode(b.attacl) a
UNION ALL
SELECT c.oid::regclass::text, b.attname::text, '' FROM pg_class c JOIN pg_attribute b ON b.attrelid = c.oid
WHERE c.relnamespace = 'public'::regnamespace AND b.attnum > 0
"""


async def _empty(connection: asyncpg.Connection) -> None:
    """Delete every row: far quicker than to create and migrate a database for each test."""
    found = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> ALL ($1)"
    tables = await connection.fetch(found, ["schema_migration", "audit_incarnation"])
    async with connection.transaction():
        await connection.execute("SET LOCAL session_replication_role = replica")  # past the audit log's own guard
        await connection.execute("; ".join(f'DELETE FROM "{table["tablename"]}"' for table in tables))


def text(value: SecretValue) -> str:
    """The plaintext of a test's value."""
    return value.reveal().decode()


async def eventually(holds: Callable[[], Any], seconds: float = 90.0) -> None:
    """Wait for a state, not for a time: until ``holds``, which may be asynchronous, answers with something true."""
    async with asyncio.timeout(seconds):
        while True:
            found = holds()
            if await found if inspect.isawaitable(found) else found:
                return
            await asyncio.sleep(0.01)


async def together(*calls: Any) -> list[Any]:
    """The results, or the exceptions, of calls that run at once."""
    return await asyncio.gather(*calls, return_exceptions=True)

"""Sealing: what is signed is what was committed, in one final order, whatever happens meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from overseer.core.audit_record import COLUMNS, encode
from overseer.core.errors import KeyProblem, OverseerError
from overseer.crypto.checkpoints import key_chain, log_origin, signer_of
from overseer.crypto.merkle_log import split_hashes
from overseer.crypto.signed_notes import VerifierKey
from overseer.server.services import audit_sealer
from overseer.server.services.audit_sealer import AuditSealer
from overseer.server.storage.audit_log_rows import checkpoint_note, last_checkpoint, load_log_keys
from overseer.server.storage.audit_rows import insert_events
from overseer.server.storage.connection import service_arguments
from overseer.server.storage.database import Database
from overseer.server.storage.queries import named_queries
from overseer.server.storage.service_session import session_setup
from tests.integration.services.sealing import as_values, event, rebuilt, seal, sealer, write_rows
from tests.integration.services.world import World

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]


async def _notes(world: World) -> tuple[str, list[VerifierKey]]:
    async with world.database.session() as session:
        last = await last_checkpoint(session, log_origin(world.instance_id))
        keys = await load_log_keys(session)
    assert last is not None
    return checkpoint_note(last, keys), [VerifierKey(log_origin(world.instance_id), key.public) for key in keys]


async def test_rows_are_sealed_and_signed(world: World) -> None:
    await write_rows(world, 3, each=2)
    await sealer(world).run()
    tree, last = await rebuilt(world)
    assert (last["size"], last["root"], last["frontier"]) == (tree.size, tree.root(), tree.joined())
    assert last["size"] == await _count(world)
    note, keys = await _notes(world)
    assert signer_of(note, key_chain(keys[0], [])) is not None
    assert keys[0].public == world.keys.keyring.log_key(1).public
    before = last["seq"]
    await sealer(world).run()  # nothing new, nothing signed
    assert (await rebuilt(world))[1]["seq"] == before


async def test_a_batch_ends_with_a_transaction(world: World) -> None:
    await write_rows(world, 4, each=7)
    await sealer(world, batch=10).run()
    tree, last = await rebuilt(world)
    assert (last["size"], last["root"]) == (tree.size, tree.root())
    assert last["size"] == await _count(world)
    sizes = [row["size"] for row in await world.sql("SELECT size FROM audit_checkpoint ORDER BY seq")]
    assert len(sizes) >= 2


async def test_tiles_hold_every_leaf_once(world: World) -> None:
    for _ in range(3):
        await write_rows(world, 1, each=300)
        await sealer(world).run()
    tree, _ = await rebuilt(world)
    rows = await world.sql(
        "SELECT level, number, string_agg(hashes, ''::bytea ORDER BY first) AS hashes FROM audit_tile GROUP BY 1, 2 ORDER BY 1, 2"
    )
    leaves = [one for row in rows if row["level"] == 0 for one in split_hashes(row["hashes"])]
    upper = [one for row in rows if row["level"] == 1 for one in split_hashes(row["hashes"])]
    assert (len(leaves), len(upper)) == (tree.size, tree.size // 256)
    again = type(tree)()
    again.extend(leaves)
    assert again.root() == tree.root()


async def test_an_open_transaction_holds_the_horizon_and_is_named(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    await write_rows(world, 1)
    await sealer(world).run()
    async with world.connection() as other:
        transaction = other.transaction()
        await transaction.start()
        await other.execute("SELECT pg_current_xact_id()")
        pid = await other.fetchval("SELECT pg_backend_pid()")
        await write_rows(world, 2)
        work = sealer(world)
        await work.run()
        assert (await rebuilt(world))[1]["size"] == await _count(world) - 2
        monkeypatch.setattr(audit_sealer, "LATE_SECONDS", 0.0)
        with caplog.at_level(logging.ERROR):
            await work.run()
            await work.run()  # at most once a minute
        [record] = [one for one in caplog.records if "wait to be sealed" in one.getMessage()]
        assert f"pid {pid} in database" in record.getMessage()
        assert "pg_current_xact_id" not in record.getMessage()
        await transaction.rollback()
    await sealer(world).run()
    assert (await rebuilt(world))[1]["size"] == await _count(world)


@pytest.mark.parametrize("lock", [8102661214773306991, 8102661214773306992], ids=["leader", "sealer"])
async def test_a_stranger_who_holds_the_lock_of_those_who_seal_is_named(
    world: World, lock: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A role that may connect and nothing else can take an advisory lock; then no transaction is to blame."""
    role = f"stranger_{world.instance_id.hex[:12]}"
    await write_rows(world, 1)
    await sealer(world).run()
    await write_rows(world, 1)
    monkeypatch.setattr(audit_sealer, "LATE_SECONDS", -1.0)
    await world.sql(f"CREATE ROLE {role} LOGIN")
    name = await world.sql("SELECT current_database()")
    await world.sql(f"GRANT CONNECT ON DATABASE {name[0][0]} TO {role}")
    other = await asyncpg.connect(world.url, user=role)
    try:
        assert await other.fetchval("SELECT pg_try_advisory_lock($1)", lock)
        pid = await other.fetchval("SELECT pg_backend_pid()")
        with caplog.at_level(logging.ERROR):
            await sealer(world).run()
        [record] = [one for one in caplog.records if "wait to be sealed" in one.getMessage()]
        assert f"pid {pid} in database" in record.getMessage()
        assert "holds the lock" in record.getMessage()
        await other.execute("SELECT pg_advisory_unlock_all()")
        caplog.clear()
        with caplog.at_level(logging.ERROR):
            await sealer(world).run()
        assert "holds the lock" not in caplog.text
    finally:
        await other.close()
        await world.sql(f"DROP OWNED BY {role}")
        await world.sql(f"DROP ROLE {role}")


async def test_a_late_row_of_an_older_transaction_is_not_lost(world: World) -> None:
    """``id > last`` would lose it: the transaction begins first, another one commits, the first inserts and commits last."""
    async with world.connection() as other:
        transaction = other.transaction()
        await transaction.start()
        await other.execute("SELECT pg_current_xact_id()")
        await write_rows(world, 3)
        await sealer(world).run()
        await other.execute("INSERT INTO audit (request_id, action, outcome) VALUES ('late', 'secret:reveal', 'allowed')")
        await transaction.commit()
    await sealer(world).run()
    tree, last = await rebuilt(world)
    assert (last["size"], last["root"]) == (tree.size, tree.root())
    assert last["size"] == await _count(world)


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE audit_checkpoint SET root = sha256('x') WHERE seq = 2",
        "UPDATE audit_checkpoint SET size = size - 1, frontier = substr(frontier, 33) WHERE seq = 2",
        "UPDATE audit_checkpoint SET signature = sha256('x') || sha256('y') WHERE seq = 2",
        "UPDATE audit_checkpoint SET horizon = '9999999' WHERE seq = 2",
        "UPDATE audit_log_key SET public_key = sha256('x')",
        "DELETE FROM audit_checkpoint WHERE seq = 2",
    ],
)
async def test_nothing_is_signed_upon_a_changed_checkpoint(world: World, tampering: str) -> None:
    work = sealer(world)
    for _ in range(2):
        await write_rows(world, 2)
        await work.run()
    await world.sql(tampering)
    await write_rows(world, 2)
    before = await _count(world, "audit_checkpoint")
    with pytest.raises(KeyProblem, match="audit log"):
        await work.run()
    assert await _count(world, "audit_checkpoint") == before


async def test_the_service_cannot_change_what_was_sealed(world: World) -> None:
    await write_rows(world, 1)
    await sealer(world).run()
    connection = await asyncpg.connect(**service_arguments(world.url))
    try:
        await connection.execute("SET ROLE overseer_service")
        statements = [
            f"{verb} {table}{rest}"
            for table in ("audit", "audit_checkpoint", "audit_tile", "audit_log_key", "audit_retention", "audit_incarnation")
            for verb, rest in (("DELETE FROM", ""), ("TRUNCATE", " CASCADE"))
        ]
        statements += [
            "UPDATE audit SET action = 'x'",
            "UPDATE audit_checkpoint SET size = 1",
            "UPDATE audit_tile SET hashes = hashes",
            "UPDATE audit_log_key SET since_size = 1",
            "INSERT INTO audit (incarnation, request_id, action, outcome) VALUES (1, '', 'x', 'allowed')",
            "INSERT INTO audit (xact, request_id, action, outcome) VALUES ('3', '', 'x', 'allowed')",
            "INSERT INTO audit (id, request_id, action, outcome) OVERRIDING SYSTEM VALUE VALUES (1, '', 'x', 'allowed')",
            "INSERT INTO audit (at, request_id, action, outcome) VALUES (now(), '', 'x', 'allowed')",
            "ALTER TABLE audit DISABLE TRIGGER ALL",
            "DROP TABLE audit_tile",
        ]
        for statement in statements:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
    finally:
        await connection.close()


async def test_the_databases_records_are_those_of_the_independent_encoder(world: World) -> None:
    """Over rows with every kind of odd content, NULL beside '' in every column that may be either."""
    maker = random.Random(7)  # noqa: S311
    texts = [None, "", "a", "é\u2028\U0001f511", "\t\n", "NULL", "\\x00", "x" * 3000]
    kinds = {
        row["column_name"]: (row["data_type"], row["is_nullable"] == "YES")
        for row in await world.sql(
            "SELECT * FROM information_schema.columns WHERE table_name = 'audit' ORDER BY ordinal_position"
        )
    }
    assert list(kinds) == [name for name, _ in COLUMNS], "a column more needs a new format of the record"

    def value(name: str) -> Any:
        kind, nullable = kinds[name]
        if nullable and maker.random() < 0.4:
            return None
        if name == "outcome":
            return maker.choice(["allowed", "denied", "failed"])
        return {
            "text": lambda: maker.choice(texts[0 if nullable else 1 :]),
            "uuid": lambda: UUID(int=maker.getrandbits(128)),
            "integer": lambda: maker.choice([0, 1, -1, 2**31 - 1, -(2**31)]),
            "bytea": lambda: maker.randbytes(maker.choice([0, 1, 32])),
        }[kind]()

    names = [name for name, _ in COLUMNS[4:]]
    places = ", ".join(f"${n + 1}" for n in range(len(names)))
    async with world.connection() as connection:
        for _ in range(300):
            await connection.execute(f"INSERT INTO audit ({', '.join(names)}) VALUES ({places})", *map(value, names))
        for setting in ("SET TimeZone = 'Asia/Kolkata'", "SET DateStyle = 'German'", "SET bytea_output = 'escape'"):
            await connection.execute(setting)
        records = [row["record"] for row in await connection.fetch(named_queries()["log_records_below"], 9, "0")]
        rows = await connection.fetch("SELECT * FROM audit ORDER BY incarnation, xact, id")
    assert records == [encode(as_values(row)) for row in rows]


async def _writer(world: World, number: int, stop: asyncio.Event) -> int:
    """Transactions with savepoints, rollbacks and pauses until ``stop``; how many rows were committed."""
    maker, written = random.Random(number), 0  # noqa: S311
    while not stop.is_set():
        count = maker.randint(1, 4)
        with contextlib.suppress(_Undone):
            async with world.database.work() as session:
                await insert_events(session, [event()] * count)
                with contextlib.suppress(_Undone):
                    async with session.transaction():
                        await insert_events(session, [event()] * 2)
                        if maker.random() < 0.5:
                            raise _Undone
                        count += 2
                await asyncio.sleep(maker.random() * 0.02)
                if maker.random() < 0.2:
                    raise _Undone
            written += count
    return written


class _Undone(Exception):
    pass


async def test_twelve_writers_and_three_sealers_lose_nothing(world: World, racing: list[AuditSealer]) -> None:
    start, stop, maker = await _count(world), asyncio.Event(), random.Random(3)  # noqa: S311

    async def race(one: AuditSealer) -> None:
        while not stop.is_set():
            task = asyncio.create_task(one.run())
            if maker.random() < 0.4:  # a kill in the middle: of the task, and of its connection
                await asyncio.sleep(maker.random() * 0.01)
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError, OverseerError):
                await task
            await asyncio.sleep(maker.random() * 0.01)

    async def kill() -> None:
        """End a connection that is sealing now and then, as a crash of its process would."""
        while not stop.is_set():
            await world.sql(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND pid <> pg_backend_pid()"
                " AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) LIMIT 1"
            )
            await asyncio.sleep(0.15)

    async def end() -> None:
        """After a while in which much happened: ten kills at least, and over twenty checkpoints."""
        try:
            async with asyncio.timeout(60):
                await asyncio.sleep(2)
                while await _count(world, "audit_checkpoint") <= 20:  # noqa: ASYNC110  # a state of the database
                    await asyncio.sleep(0.1)
        finally:
            stop.set()

    writers = [_writer(world, number, stop) for number in range(12)]
    *written, _, _, _, _, _ = await asyncio.gather(*writers, *(race(one) for one in racing), kill(), end())
    await seal(world)
    tree, last = await rebuilt(world)
    assert (last["size"], last["root"]) == (tree.size, tree.root())
    assert last["size"] == await _count(world) == start + sum(written)
    seqs = [row["seq"] for row in await world.sql("SELECT seq FROM audit_checkpoint ORDER BY seq")]
    assert seqs == list(range(1, len(seqs) + 1))
    assert len(seqs) > 20
    tiles = await world.sql("SELECT sum(octet_length(hashes)) / 32 AS hashes FROM audit_tile WHERE level = 0")
    assert tiles[0]["hashes"] == tree.size


@pytest.fixture
async def racing(world: World) -> AsyncIterator[list[AuditSealer]]:
    """Three sealers with connections of their own: a late kill must not meet a connection that a writer has by then."""
    database = Database(service_arguments(world.url), setup=session_setup)
    yield [AuditSealer(database, world.keys, 20) for _ in range(3)]
    await database.close()


async def _count(world: World, table: str = "audit") -> int:
    [row] = await world.sql(f"SELECT count(*) AS n FROM {table}")
    return int(row["n"])


async def test_a_batch_ends_behind_its_last_transaction_whatever_its_number_of_digits(world: World) -> None:
    """As texts, 100 would come before 99: the next batch would then seal rows a second time."""
    forge = (
        "INSERT INTO audit (xact, id, request_id, action, outcome) OVERRIDING SYSTEM VALUE"
        " SELECT n::text::xid8, n, 'forged', 'secret:reveal', 'allowed' FROM generate_series(96, 103) n"
    )
    await world.sql(forge)
    await sealer(world, batch=5).run()
    [count] = await world.sql("SELECT (SELECT max(size) FROM audit_checkpoint) AS sealed, (SELECT count(*) FROM audit) AS rows")
    assert count["sealed"] == count["rows"]

"""Every way to tamper with the log is found and located: with SQL as a superuser in the database, and in an exported file."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from overseer.cli.audit_export import verify_file, write_end, write_head, write_part
from overseer.core.errors import InvalidInput
from overseer.crypto.checkpoints import log_origin, retire_rows
from overseer.crypto.log_report import LogReport, Trust
from overseer.crypto.signed_notes import VerifierKey
from overseer.server.services.audit_log_service import AuditLogService
from overseer.server.storage.log_reading import verify_database
from tests.faults.sealed_log import the_log_verifies
from tests.integration.services.sealing import seal, write_rows
from tests.integration.services.world import World

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

SEALED = 600
KEY = "(incarnation, xact, id)"
AT = "(SELECT incarnation, xact, id FROM audit ORDER BY incarnation, xact, id OFFSET {} LIMIT 1)"
TILE = "(level, number, first)"
COPY_CONTENT = (
    "UPDATE audit a SET request_id = b.request_id FROM audit b"
    f" WHERE (a.incarnation, a.xact, a.id) = {AT.format(5)} AND (b.incarnation, b.xact, b.id) = {AT.format(9)}"
)
FORGED_ROW = (
    "INSERT INTO audit (incarnation, xact, id, request_id, action, outcome) OVERRIDING SYSTEM VALUE"
    " VALUES ({}, '5', 9, 'forged', 'secret:reveal', 'allowed')"
)
LARGE_CHECKPOINT = (
    "INSERT INTO audit_checkpoint SELECT seq + 1, (1::bigint << 62) + 1, root, frontier, incarnation,"
    " (horizon::text::bigint + 1)::text::xid8, timeline, at, signature, key_term FROM audit_checkpoint WHERE size = 600"
)
FORGE = (
    "INSERT INTO audit (incarnation, xact, id, request_id, action, outcome) OVERRIDING SYSTEM VALUE"
    " SELECT incarnation, xact, {id}, 'forged', 'secret:reveal', 'allowed' FROM audit WHERE (incarnation, xact, id) = "
)


@dataclass
class Log:
    """A sealed log, an export of it, and what somebody kept elsewhere."""

    world: World
    service: AuditLogService
    trust: Trust
    file: Path

    async def tampered(self, *statements: str) -> LogReport:
        """The database's report after statements of a superuser who went past the triggers."""
        async with self.world.connection() as connection:
            await connection.execute("SET session_replication_role = replica")
            for statement in statements:
                await connection.execute(statement)
        return await verify_database(self.world.url, self.trust)

    async def export(self, *, readable: bool = False) -> None:
        keys = await self.service.log_keys(self.world.owner)
        content, first = write_head(keys), keys.first
        while (part := await self.service.records(self.world.owner, first, 170)).records:
            content += write_part(part, readable=readable)
            first += len(part.records)
        self.file.write_bytes(content + write_end(first - keys.first))

    def edited(self, edit: Callable[[list[bytes]], list[bytes]], trust: Trust | None = None) -> LogReport:
        """The file's report after an edit of its lines; in the lines given, rows are those that begin with a record."""
        self.file.write_bytes(b"".join(edit(self.file.read_bytes().splitlines(keepends=True))))
        return verify_file(self.file, trust or self.trust)


@pytest.fixture
async def log(world: World, tmp_path: Path) -> Log:
    for count in (2, 300, 1, 290, 7):
        await write_rows(world, 1, each=count)
        await seal(world)
    await write_rows(world, 2)
    service = AuditLogService(world.gate, world.keys, world.idempotency)
    key = VerifierKey(log_origin(world.instance_id), world.keys.keyring.log_key(1).public)
    kept = (await service.latest(world.owner)).note
    made = Log(world, service, Trust(key, (kept,)), tmp_path / "audit.jsonl")
    await made.export()
    return made


def told(report: LogReport) -> list[tuple[str, int, int]]:
    return [(one.kind, one.index, one.count) for one in report.findings]


async def test_nothing_is_found_where_nothing_was_done(log: Log) -> None:
    report = await log.tampered()
    assert (report.findings, report.sealed, report.warnings) == ((), SEALED, ())
    assert report.unsealed >= 2
    assert report.newest is not None
    assert report.newest.size == SEALED
    report = verify_file(log.file, log.trust)
    assert (report.findings, report.sealed, report.unsealed, report.warnings) == ((), SEALED, 0, ())
    await log.export(readable=True)
    assert verify_file(log.file, log.trust).findings == ()
    assert json.loads(log.file.read_text("utf-8").splitlines()[1])["row"]["actor_name"] == "alice"
    assert len(verify_file(log.file, Trust()).warnings) == 2


DATABASE = {
    "edit": ([f"UPDATE audit SET actor_name = 'mallory' WHERE {KEY} = {AT.format(5)}"], [("changed", 5, 1)]),
    "null for ''": ([f"UPDATE audit SET app = NULL, code = '' WHERE {KEY} = {AT.format(5)}"], [("changed", 5, 1)]),
    "'' for null": ([f"UPDATE audit SET environment = '' WHERE {KEY} = {AT.format(598)}"], [("changed", 598, 1)]),
    "time": ([f"UPDATE audit SET at = at - interval '1 microsecond' WHERE {KEY} = {AT.format(0)}"], [("changed", 0, 1)]),
    "deletion": ([f"DELETE FROM audit WHERE {KEY} = {AT.format(302)}"], [("removed", 302, 1)]),
    "deletions": ([f"DELETE FROM audit WHERE {KEY} IN {AT.format(100).replace('LIMIT 1', 'LIMIT 50')}"], [("removed", 100, 50)]),
    "first": ([f"DELETE FROM audit WHERE {KEY} = {AT.format(0)}"], [("removed", 0, 1)]),
    "insertion with a forged transaction": ([FORGE.format(id=0) + AT.format(310)], [("inserted", 303, 1)]),
    "insertion at the beginning": (
        [FORGED_ROW.format(1)],
        [("inserted", 0, 1)],
    ),
    "another order": (
        [f"UPDATE audit SET xact = (SELECT xact FROM audit WHERE {KEY} = {AT.format(310)}) WHERE {KEY} = {AT.format(5)}"],
        [("removed", 5, 1), ("inserted", 303, 1)],
    ),
    "swapped contents": (
        [COPY_CONTENT],
        [("changed", 5, 1)],
    ),
    "cut tail, checkpoints left": ([f"DELETE FROM audit WHERE {KEY} >= {AT.format(590)}"], [("truncated", 590, 10)]),
    "all of it": (["DELETE FROM audit"], [("truncated", 0, SEALED)]),
    "edit with its stored hash": (
        [f"UPDATE audit SET actor_name = 'mallory' WHERE {KEY} = {AT.format(400)}",
         f"UPDATE audit_tile SET hashes = overlay(hashes PLACING sha256('x') FROM 1 FOR 32) WHERE {TILE} = (0, 1, 47)"],
        [("rewritten", 303, 290)],
    ),
    "two edits": (
        [f"UPDATE audit SET actor_name = 'mallory' WHERE {KEY} IN ({AT.format(5)[1:-1]}) OR {KEY} IN ({AT.format(500)[1:-1]})"],
        [("changed", 5, 1), ("changed", 500, 1)],
    ),
    "a checkpoint of a size that none has": (
        [LARGE_CHECKPOINT],
        [("unsigned", SEALED, (1 << 62) + 1 - SEALED)],
    ),
    "a checkpoint": (["UPDATE audit_checkpoint SET root = sha256('x') WHERE size = 302"], [("unsigned", 2, 300)]),
    "a row of the future": (
        [FORGED_ROW.format(9)],
        [("impossible", SEALED, 1)],
    ),
    "cut with its checkpoints": (
        [f"DELETE FROM audit WHERE {KEY} >= {AT.format(593)}", "DELETE FROM audit_checkpoint WHERE size > 593",
         f"UPDATE audit_tile SET hashes = substr(hashes, 1, 32 * (593 - 512 - first)) WHERE {TILE} < (0, 2, 81) AND number = 2",
         f"DELETE FROM audit_tile WHERE {TILE} >= (0, 2, 81) AND level = 0"],
        [("truncated", 593, 7)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DATABASE)
async def test_the_database_tells_on_it(log: Log, name: str) -> None:
    statements, expected = DATABASE[name]
    report = await log.tampered(*statements)
    assert not report.verified
    assert told(report) == expected
    for one in report.findings:
        if one.kind in ("changed", "inserted"):
            incarnation, xact, row_id = report.keys[one.found or 0].split(".")
            [row] = await log.world.sql(
                "SELECT request_id, actor_name FROM audit WHERE (incarnation, xact, id) = ($1, $2::text::xid8, $3)",
                int(incarnation), xact, int(row_id),
            )  # fmt: skip
            assert name not in ("edit", "two edits") or row["actor_name"] == "mallory"


def _rows(lines: list[bytes]) -> list[int]:
    """The places of the rows among the lines."""
    return [place for place, line in enumerate(lines) if line.startswith(b'{"record"')]


def _row_edit(change: Callable[[list[bytes], list[int]], None]) -> Callable[[list[bytes]], list[bytes]]:
    def edit(lines: list[bytes]) -> list[bytes]:
        change(lines, _rows(lines))
        return [line for line in lines if line]

    return edit


def _swap(lines: list[bytes], rows: list[int]) -> None:
    lines[rows[20]], lines[rows[21]] = lines[rows[21]], lines[rows[20]]


def _copy(lines: list[bytes], rows: list[int]) -> None:
    lines[rows[20]] += lines[rows[3]]


def _set(index: int, content: bytes) -> Callable[[list[bytes], list[int]], None]:
    def change(lines: list[bytes], rows: list[int]) -> None:
        lines[rows[index]] = content

    return change


FORGED_LINE = b'{"record":"AAAA"}\n'
FILE: dict[str, tuple[Callable[[list[bytes]], list[bytes]], list[tuple[str, int, int]]]] = {
    "edit": (_row_edit(_set(5, FORGED_LINE)), [("changed", 5, 1)]),
    "no base64": (_row_edit(_set(5, b'{"record":"A A="}\n')), [("changed", 5, 1)]),
    "garbage": (_row_edit(_set(5, b"garbage\n")), [("changed", 5, 1)]),
    "deletion": (_row_edit(_set(302, b"")), [("removed", 302, 1), ("truncated", 599, 1)]),
    "insertion": (_row_edit(lambda lines, rows: lines.insert(rows[7], FORGED_LINE)), [("inserted", 7, 1), ("truncated", 601, 1)]),
    "order": (_row_edit(_swap), [("moved", 21, 1)]),
    "a copy": (_row_edit(_copy), [("inserted", 21, 1), ("truncated", 601, 1)]),
    "cut in the middle": (lambda lines: lines[: len(lines) // 2], [("truncated", 302, 298), ("truncated", 302, 1)]),
    "cut tail with its checkpoint": (
        lambda lines: [*lines[: _rows(lines)[592] + 3], b'{"end":593}\n'],
        [("truncated", 593, 7)],
    ),
    "a forged row behind the last checkpoint": (
        lambda lines: [*lines[:-1], FORGED_LINE, b'{"end":601}\n'],
        [("inserted", SEALED, 1)],
    ),
    "lines behind the end": (lambda lines: [*lines, FORGED_LINE], [("inserted", SEALED, 1)]),
    "the count": (lambda lines: [*lines[:-1], b'{"end":7}\n'], [("truncated", SEALED, 1)]),
}  # fmt: skip


@pytest.mark.parametrize("name", FILE)
async def test_the_file_tells_on_it(log: Log, name: str) -> None:
    edit, expected = FILE[name]
    report = log.edited(edit)
    assert told(report) == expected


async def test_a_file_without_its_checkpoints_proves_nothing(log: Log) -> None:
    """Whatever its rows say then, nobody signed it."""

    def edit(lines: list[bytes]) -> list[bytes]:
        left = [line for line in lines if not line.startswith((b'{"checkpoint"', b'{"leaves"'))]
        return [*left[:5], FORGED_LINE, *left[6:]]

    assert told(log.edited(edit, Trust(log.trust.key))) == [("inserted", 0, SEALED)]


async def test_a_changed_checkpoint_in_a_file_is_found(log: Log) -> None:
    def edit(lines: list[bytes]) -> list[bytes]:
        return [
            line.replace(b"timeline 1", b"timeline 2") if b'"checkpoint"' in line and b"\\n302\\n" in line else line
            for line in lines
        ]

    assert told(log.edited(edit)) == [("unsigned", 2, 300)]


async def test_readable_fields_have_to_be_those_of_the_record(log: Log) -> None:
    await log.export(readable=True)
    report = log.edited(lambda lines: [line.replace(b'"alice"', b'"bob"') if at == 9 else line for at, line in enumerate(lines)])
    assert [(one.kind, one.detail) for one in report.findings] == [("changed", "the readable fields are not those of the record")]


async def test_another_key_and_another_log_are_refused(log: Log) -> None:
    other = VerifierKey(log.trust.key.name if log.trust.key else "", os.urandom(32))
    assert verify_file(log.file, log.trust).origin == log_origin(log.world.instance_id)
    with pytest.raises(InvalidInput, match="not signed by the key"):
        verify_file(log.file, Trust(other))
    with pytest.raises(InvalidInput, match="not signed by the key"):
        await verify_database(log.world.url, Trust(other))
    foreign = log.trust.checkpoints[0].replace(str(log.world.instance_id), "00000000-0000-0000-0000-000000000000")
    with pytest.raises(InvalidInput, match="another log"):
        verify_file(log.file, Trust(None, (foreign,)))
    for content in (b"", b"{}\n", b"[]\n", b'{"overseer_audit_log":2}\n'):
        log.file.write_bytes(content)
        with pytest.raises(InvalidInput, match="export"):
            verify_file(log.file, Trust())
    with pytest.raises(InvalidInput, match="cannot be read"):
        verify_file(log.file.with_name("none"), Trust())


async def test_a_new_key_is_followed_from_the_old_one(log: Log) -> None:
    await log.service.rotate_log_key(log.world.owner)
    await write_rows(log.world, 3)
    await seal(log.world)
    assert (await verify_database(log.world.url, log.trust)).verified
    await log.export()
    assert verify_file(log.file, log.trust).verified
    newest = VerifierKey(log_origin(log.world.instance_id), log.world.keys.keyring.log_key(2).public)
    assert verify_file(log.file, Trust(newest)).verified


async def test_a_log_that_was_cut_behind_a_change_of_its_key(log: Log) -> None:
    """Who trusts the new key holds what introduced it to be a checkpoint: no other one need have been kept."""
    await log.service.rotate_log_key(log.world.owner)
    newest = VerifierKey(log_origin(log.world.instance_id), log.world.keys.keyring.log_key(2).public)
    [row] = await log.world.sql("SELECT since_size FROM audit_log_key WHERE term = 2")
    log.trust = Trust(newest)
    assert (await log.tampered()).verified
    cut = f"DELETE FROM audit WHERE {KEY} >= {AT.format(302)}"
    report = await log.tampered(cut, "DELETE FROM audit_checkpoint WHERE size > 302")
    assert told(report) == [("truncated", 302, row["since_size"] - 302)]


async def test_a_beginning_that_was_removed_on_purpose(log: Log) -> None:
    """Only where the log's key has signed that it was."""
    [row] = await log.world.sql("SELECT root FROM audit_checkpoint WHERE size = 302")
    keep = f"DELETE FROM audit WHERE {KEY} < {AT.format(302)}"
    assert told(await log.tampered(keep)) == [("removed", 0, 302)]
    statement = retire_rows(log_origin(log.world.instance_id), 302, row["root"], log.world.keys.keyring.log_key(1))
    await log.world.sql("INSERT INTO audit_retention (size, statement) VALUES (302, $1)", statement)
    report = await verify_database(log.world.url, log.trust)
    assert (told(report), report.first, report.sealed) == ([], 302, 298)
    await log.export()
    report = verify_file(log.file, log.trust)
    assert (told(report), report.first, report.sealed) == ([], 302, 298)
    changed = await log.tampered(f"UPDATE audit SET actor_name = 'mallory' WHERE {KEY} = {AT.format(10)}")
    assert told(changed) == [("changed", 312, 1)]
    await log.world.sql("UPDATE audit_retention SET size = 303")
    with pytest.raises(InvalidInput, match="beginning"):
        await verify_database(log.world.url, log.trust)


async def test_the_word_of_the_fault_harness(log: Log) -> None:
    await seal(log.world)
    assert log.trust.checkpoints
    said = await asyncio.to_thread(the_log_verifies, log.world.url, log.trust.checkpoints, within=1.0)
    assert "verify" in said
    await log.tampered(f"DELETE FROM audit WHERE {KEY} = {AT.format(302)}")
    with pytest.raises(AssertionError, match="removed at 302"):
        await asyncio.to_thread(the_log_verifies, log.world.url)

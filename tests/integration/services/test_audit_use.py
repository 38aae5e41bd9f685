"""Searching and exporting the audit log, and erasing what people wrote beside it."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from overseer.core.audit_events import AuditAction, AuditEvent, Outcome
from overseer.core.audit_filter import AuditFilter
from overseer.core.errors import Denied, InvalidInput
from overseer.core.permissions import Permission
from overseer.crypto.log_report import Trust
from overseer.server.services.audit_service import AuditService
from overseer.server.storage.audit_reading import LAST_KEY, search
from overseer.server.storage.audit_rows import insert_events
from overseer.server.storage.log_reading import verify_database
from overseer.wire.audit import AuditErase
from tests.integration.services.sealing import event, sealer, write_rows
from tests.integration.services.world import World

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

ID = uuid4()
FIELDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    # filter: the row that matches, the filter's value
    "actor": ({"actor_name": "bob"}, {"actor": "bob"}),
    "actor by id": ({"actor_id": ID}, {"actor": str(ID)}),
    "on behalf": ({"on_behalf_of": ID}, {"on_behalf_of": str(ID)}),
    "action": ({"action": AuditAction.BINDING_CREATE}, {"action": "binding:create"}),
    "beginning of an action": ({"action": AuditAction.ALARM_SINK_BEHIND}, {"action": "alarm:*"}),
    "outcome": ({"outcome": Outcome.FAILED}, {"outcome": "failed"}),
    "code": ({"code": "weird"}, {"code": "weird"}),
    "kind": ({"resource_kind": "bundle"}, {"resource_kind": "bundle"}),
    "name": ({"resource_name": "smtp"}, {"resource": "smtp"}),
    "id": ({"resource_id": ID}, {"resource_id": ID}),
    "app": ({"app": "blog"}, {"app": "blog"}),
    "environment": ({"environment": "prod"}, {"environment": "prod"}),
    "node": ({"node": "n7"}, {"node": "n7"}),
    "peer": ({"peer": "198.51.100.9"}, {"peer": "198.51.100.9"}),
    "request": ({"request_id": "r-77"}, {"request_id": "r-77"}),
    "token": ({"token_id": ID}, {"token_id": ID}),
    "text": ({"reason": "Ticket OPS-7 says so"}, {"text": "ops-7"}),
}


@pytest.fixture
def audit(world: World) -> AuditService:
    return AuditService(world.gate)


async def write(world: World, *events: AuditEvent) -> None:
    async with world.database.work() as session:
        await insert_events(session, events)


@pytest.mark.parametrize("case", FIELDS)
async def test_each_filter_finds_its_row_and_no_other(world: World, audit: AuditService, case: str) -> None:
    row, wanted = FIELDS[case]
    await write(world, event(), replace(event(), **row), event())
    found = [one for one in (await audit.list(world.owner, AuditFilter(**wanted))).items if one.action != "audit:list"]
    assert len(found) == 1
    expected = row.get("reason", next(iter(row.values())))
    assert str(expected) in {str(value) for value in (getattr(found[0], name) for name in found[0].__struct_fields__)}


async def test_on_behalf_is_found_by_name(world: World, audit: AuditService) -> None:
    [user] = await world.sql("INSERT INTO principal (id, kind, name) VALUES (gen_random_uuid(), 'user', 'eve') RETURNING id")
    await write(world, replace(event(), on_behalf_of=user["id"]), event())
    assert len((await audit.list(world.owner, AuditFilter(on_behalf_of="eve"))).items) == 1


async def test_a_step_looks_at_few_rows_and_the_cursor_goes_on(world: World) -> None:
    await write(world, replace(event(), request_id="the-old-one"))
    await write_rows(world, 30)
    async with world.database.session() as session:
        wanted, after, steps, found = AuditFilter(request_id="the-old-one"), LAST_KEY, 0, []
        while True:
            rows, end = await search(session, wanted, after, 10, budget=7)
            steps, found = steps + 1, [*found, *rows]
            if end is None:
                break
            assert end < after
            after = end
    assert [row["request_id"] for row in found] == ["the-old-one"]
    [count] = await world.sql("SELECT count(*) FROM audit")
    assert steps in (count["count"] // 7, count["count"] // 7 + 1)


async def test_every_row_is_found_once_over_a_digit_more_in_the_transaction_ids(world: World) -> None:
    """Ids are compared as numbers: as texts, 1000 would come before 999."""
    forge = (
        "INSERT INTO audit (xact, id, request_id, action, outcome) OVERRIDING SYSTEM VALUE"
        " SELECT n::text::xid8, n, 'forged', 'secret:reveal', 'allowed' FROM generate_series(95, 105) n"
    )
    await world.sql(forge)
    seen: list[int] = []
    async with world.database.session() as session:
        after = LAST_KEY
        while after is not None:
            rows, after = await search(session, AuditFilter(request_id="forged"), after, 3, budget=2)
            seen += [row["id"] for row in rows]
    assert seen == list(range(105, 94, -1))


async def test_pages_hold_every_row_once_while_rows_come_in(world: World, audit: AuditService) -> None:
    await write_rows(world, 12, each=3)
    cursor, seen = None, []
    while True:
        page = await audit.list(world.owner, AuditFilter(action="secret:reveal"), cursor=cursor, limit=5)
        seen += [row.id for row in page.items]
        await write_rows(world, 1)
        if (cursor := page.next_cursor) is None:
            break
    assert len(seen) == len(set(seen)) == 36


async def test_a_time_is_found_from_checkpoints_and_loses_no_row(world: World) -> None:
    """Rows of three days, sealed day by day: the search of the middle one looks at few others, and finds all of its own."""
    days = [datetime(2026, 5, day, 12, tzinfo=UTC) for day in (1, 2, 3)]
    for _ in days:
        await write_rows(world, 20)
        await sealer(world).run()
    async with world.connection() as connection:
        await connection.execute("SET session_replication_role = replica")
        for seq, day in reversed(list(enumerate(days, 1))):
            below = "(SELECT horizon FROM audit_checkpoint WHERE seq = $2)"
            await connection.execute(f"UPDATE audit SET at = $1 WHERE xact < {below}", day, seq)
            await connection.execute("UPDATE audit_checkpoint SET at = $1 WHERE seq = $2", day + timedelta(hours=1), seq)
    wanted = AuditFilter(since=days[1] - timedelta(hours=2), until=days[1] + timedelta(hours=2), action="secret:reveal")
    async with world.database.session() as session:
        rows, end = await search(session, wanted, LAST_KEY, 100, budget=45)
    assert len(rows) == 20
    assert end is None or end.xact < int(rows[-1]["xact"])


async def test_an_export_is_the_same_rows_and_no_formula(world: World, audit: AuditService) -> None:
    await write(world, replace(event(), request_id="x", reason='=HYPERLINK("http://evil")'), replace(event(), request_id="x"))
    lines, table, cursor = "", "", None
    while True:
        part = await audit.export(world.owner, "csv", AuditFilter(request_id="x"), cursor=cursor, limit=1)
        table += part.text
        if (cursor := part.next_cursor) is None:
            break
    lines = (await audit.export(world.owner, "jsonl", AuditFilter(request_id="x"))).text
    rows = list(csv.DictReader(io.StringIO(table, newline="")))
    assert [row["id"] for row in rows] == [json.loads(line)["id"] for line in lines.splitlines()]
    assert {row["reason"] for row in rows} == {"'=HYPERLINK(\"http://evil\")", ""}
    [count] = await world.sql("SELECT count(*) FROM audit WHERE action = 'audit:export'")
    assert count["count"] >= 3
    with pytest.raises(InvalidInput, match="format"):
        await audit.export(world.owner, "xml")


async def test_free_text_is_erased_and_the_log_verifies_and_says_so(world: World, audit: AuditService) -> None:
    who, other = uuid4(), uuid4()
    await write(world, replace(event(), actor_id=who, reason="my back hurts", user_agent="Phone of Eve"))
    await write(world, replace(event(), actor_id=other, reason="ticket 7"), replace(event(), actor_id=other, reason="ticket 8"))
    await sealer(world).run()
    with pytest.raises(Denied):
        await audit.erase_texts(await world.service_account("auditor"), AuditErase(actor=str(who)))
    assert (await audit.erase_texts(world.owner, AuditErase(actor=str(who)))).erased == 1
    [row] = (await audit.list(world.owner, AuditFilter(actor=str(other), text="ticket 7"))).items
    assert (await audit.erase_texts(world.owner, AuditErase(row=row.id))).erased == 1
    assert [one["reason"] for one in await world.sql("SELECT reason FROM audit_text WHERE reason <> ''")] == ["ticket 8"]
    await sealer(world).run()
    report = await verify_database(world.url, Trust())
    assert report.verified
    assert any("2 free texts" in warning for warning in report.warnings)
    for body in (AuditErase(), AuditErase(actor="a", row="1.2.3"), AuditErase(row="x")):
        with pytest.raises(InvalidInput):
            await audit.erase_texts(world.owner, body)


async def test_a_text_that_was_changed_is_found(world: World) -> None:
    await write(world, replace(event(), reason="ticket 7"))
    await sealer(world).run()
    await world.sql("UPDATE audit_text SET reason = 'ticket 8'")
    report = await verify_database(world.url, Trust())
    assert not report.verified
    assert "text" in report.findings[0].detail


async def test_exporting_needs_audit_read_and_erasing_its_own_permission(world: World, audit: AuditService) -> None:
    reader = await world.service_account(frozenset({Permission.AUDIT_READ}))
    await write_rows(world, 2)
    assert (await audit.export(reader)).rows == 2
    with pytest.raises(Denied):
        await audit.erase_texts(reader, AuditErase(actor=str(uuid4())))
    stranger = await world.service_account("viewer")
    with pytest.raises(Denied):
        await audit.export(stranger)

"""Rows go out to files, syslog servers and webhooks: in order, at least once, and nothing waits for them."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import json
import ssl
import stat
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from overseer.core.audit_events import AuditAction, Outcome
from overseer.core.errors import ConfigurationProblem, NotReady
from overseer.core.secret_value import SecretValue
from overseer.crypto.checkpoints import Checkpoint
from overseer.server.services.audit_sinks import BATCH, AuditSink
from overseer.server.services.sink_targets import FileTarget, Item, SyslogTarget, Target, make_target
from overseer.server.sink_settings import SinkSettings
from overseer.server.storage.audit_rows import insert_events
from tests.integration.services.sealing import event, sealer, write_rows
from tests.integration.services.world import World, eventually
from tests.unit.server.certificate import self_signed

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

SECRET = SecretValue(b"a webhook's secret")


@dataclass
class Memory:
    """A target that remembers, fails where it is told to, and may hang."""

    items: list[Item] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    fails: int = 0
    after_taking: bool = False

    async def send(self, name: str, items: Sequence[Item]) -> None:
        self.names.append(name)
        if self.after_taking or not self.fails:
            self.items += items
        if self.fails:
            self.fails -= 1
            raise NotReady("down", retry_after=1)

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [row for row in map(json.loads, (one.line for one in self.items)) if row["type"] == "row"]


def settings(**fields: Any) -> SinkSettings:
    return SinkSettings(**{"type": "file", "path": Path("/nowhere"), "from_beginning": True, **fields})


def sink(world: World, target: Target, **fields: Any) -> AuditSink:
    return AuditSink(world.gate, world.keys, "siem", settings(**fields), target)


async def test_every_sealed_row_goes_out_once_in_order_and_a_checkpoint_follows(world: World) -> None:
    await write_rows(world, 3, each=BATCH // 2)
    await sealer(world).run()
    await write_rows(world, 2)  # not sealed
    memory = Memory()
    await sink(world, memory).run()
    [last] = await world.sql("SELECT size FROM audit_checkpoint ORDER BY seq DESC LIMIT 1")
    expected = await world.sql("SELECT incarnation, xact::text AS x, id FROM audit ORDER BY audit.incarnation, audit.xact, id")
    ids = [f"{row['incarnation']}.{row['x']}.{row['id']}" for row in expected][: last["size"]]
    assert [row["id"] for row in memory.rows] == ids
    note = json.loads(memory.items[-1].line)["note"]
    assert Checkpoint.parse(note).size == last["size"]
    await sink(world, memory).run()
    assert len(memory.rows) == len(ids)


async def test_what_a_target_did_not_confirm_is_sent_again_under_the_same_name(world: World) -> None:
    await write_rows(world, 3)
    await sealer(world).run()
    memory = Memory(fails=1, after_taking=True)
    one = sink(world, memory)
    with pytest.raises(NotReady):
        await one.run()
    first = list(memory.rows)
    await sink(world, memory).run()  # another leader
    assert memory.rows == first + first
    assert memory.names[0] == memory.names[1]


async def test_a_new_sink_begins_now_unless_it_is_told_otherwise(world: World) -> None:
    await write_rows(world, 3)
    await sealer(world).run()
    memory = Memory()
    await sink(world, memory, from_beginning=False).run()
    assert memory.rows == []
    await write_rows(world, 2)
    await sealer(world).run()
    await sink(world, memory, from_beginning=False).run()
    assert len(memory.rows) == 2


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"actions": ("binding:*", "secret:reveal")}, ["binding:create", "secret:reveal"]),
        ({"outcomes": ("failed",)}, ["alarm:sink_behind"]),
        ({"alarms_only": True}, ["alarm:sink_behind"]),
    ],
)
async def test_filters(world: World, fields: dict[str, Any], expected: list[str]) -> None:
    await sealer(world).run()
    memory = Memory()
    async with world.database.work() as session:
        await insert_events(
            session,
            [
                replace(event(), action=AuditAction.BINDING_CREATE),
                event(),
                replace(event(), action=AuditAction.SECRET_LIST),
                replace(event(), action=AuditAction.ALARM_SINK_BEHIND, outcome=Outcome.FAILED),
            ],
        )
    await sealer(world).run()
    await sink(world, memory, **fields).run()
    assert [row["action"] for row in memory.rows] == expected
    assert not fields.get("alarms_only") or len(memory.items) == 1


async def test_reasons_leave_only_where_the_operator_says_so(world: World) -> None:
    async with world.database.work() as session:
        await insert_events(session, [replace(event(), reason="private matter")])
    await sealer(world).run()
    quiet, open_ = Memory(), Memory()
    await sink(world, quiet).run()
    await AuditSink(world.gate, world.keys, "other", settings(texts=True), open_).run()
    assert not any(b"private matter" in item.line for item in quiet.items)
    assert any(b"private matter" in item.line for item in open_.items)


async def test_a_sink_that_is_behind_raises_an_alarm_once_and_requests_go_on(world: World) -> None:
    await write_rows(world, 1)
    async with world.connection() as connection:
        await connection.execute("SET session_replication_role = replica")
        await connection.execute("UPDATE audit SET at = at - interval '1 hour'")
    await sealer(world).run()
    memory = Memory(fails=3)
    one = sink(world, memory)
    for _ in range(3):
        with pytest.raises(NotReady):
            await one.run()
    alarms = await world.sql("SELECT resource_name, actor_kind FROM audit WHERE action = 'alarm:sink_behind'")
    assert [(row["resource_name"], row["actor_kind"]) for row in alarms] == [("siem", "server")]
    await one.run()
    [reader] = await world.sql("SELECT alarmed_at FROM audit_reader WHERE name = 'sink:siem'")
    assert reader["alarmed_at"] is None


async def test_no_transaction_is_open_while_a_target_hangs(world: World) -> None:
    await write_rows(world, 1)
    await sealer(world).run()
    hanging = asyncio.Event()

    class Hangs(Memory):
        async def send(self, name: str, items: Sequence[Item]) -> None:
            hanging.set()
            await asyncio.sleep(3600)

    work = asyncio.create_task(sink(world, Hangs()).run())
    await asyncio.wait_for(hanging.wait(), 90)
    [busy] = await world.sql(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'"
    )
    assert busy["count"] == 0
    work.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await work


def items(count: int) -> list[Item]:
    at = datetime(2026, 5, 1, 12, 0, 0, 123456, tzinfo=UTC)
    return [Item("secret:reveal", "allowed", at, json.dumps({"n": n}).encode()) for n in range(count)]


def check_rotated(folder: Path) -> None:
    names = sorted(one.name for one in folder.iterdir())
    assert names[-2:] == ["audit.jsonl.1", "audit.jsonl.2"]
    assert len(names) <= 3
    for one in folder.iterdir():
        assert all(json.loads(line) for line in one.read_bytes().splitlines() if line != b'{"torn')


async def test_a_file_is_the_servers_alone_rotates_and_ends_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    target = FileTarget(path, 60, keep=2)
    await target.send("x", items(2))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with path.open("ab") as file:
        file.write(b'{"torn')
    for _ in range(12):
        await target.send("x", items(2))
    check_rotated(tmp_path)
    path.unlink(missing_ok=True)
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        await target.send("x", items(1))
    path.unlink()
    path.write_bytes(b"")
    path.chmod(0o644)
    with pytest.raises(NotReady):
        await target.send("x", items(1))


@asynccontextmanager
async def receiver(context: ssl.SSLContext | None = None) -> AsyncIterator[tuple[int, bytearray]]:
    """A server that takes everything and closes when its client does."""
    taken = bytearray()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while part := await reader.read(65536):
            taken.extend(part)
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1], taken
    finally:
        server.close()


def frames(content: bytes) -> list[bytes]:
    """Messages of octet counting."""
    found = []
    while content:
        count, _, rest = content.partition(b" ")
        found.append(rest[: int(count)])
        content = rest[int(count) :]
    return found


async def test_syslog_messages_are_framed_by_octets() -> None:
    async with receiver() as (port, taken):
        await SyslogTarget("127.0.0.1", port, tls=False, ca_file=None).send("x", items(3))
        await eventually(lambda: bytes(taken).count(b'{"n": ') == 3 and taken.endswith(b"}"))
    messages = frames(bytes(taken))
    assert len(messages) == 3
    head, _, body = messages[2].partition(b"\xef\xbb\xbf")
    priority, at, _, program, process, message_id, data = head.rstrip().split(b" ")
    assert (priority, at) == (b"<110>1", b"2026-05-01T12:00:00.123456Z")
    assert (program, process, message_id, data) == (b"overseer", b"-", b"secret:reveal", b"-")
    assert json.loads(body) == {"n": 2}


async def test_syslog_over_tls_trusts_its_ca_alone(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    async with receiver(context) as (port, taken):
        await SyslogTarget("localhost", port, tls=True, ca_file=certificate).send("x", items(2))
        await eventually(lambda: len(frames(bytes(taken))) == 2)
        with pytest.raises(ssl.SSLCertVerificationError):
            await SyslogTarget("localhost", port, tls=True, ca_file=None).send("x", items(1))
    assert len(frames(bytes(taken))) == 2


@asynccontextmanager
async def webhook(*answers: bytes) -> AsyncIterator[tuple[str, list[tuple[dict[str, str], bytes]]]]:
    """An HTTP server that answers with these status lines, one after the other."""
    seen: list[tuple[dict[str, str], bytes]] = []
    left = list(answers)

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        seen.append((headers, await reader.readexactly(int(headers["content-length"]))))
        writer.write(b"HTTP/1.1 " + left.pop(0) + b"\r\ncontent-length: 0\r\nlocation: /x\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook", seen
    finally:
        server.close()


async def test_a_webhook_is_signed_over_time_and_body_and_only_2xx_counts() -> None:
    async with webhook(b"204 No Content", b"500 Oops", b"302 Found") as (url, seen):
        target = make_target("siem", SinkSettings(type="webhook", url=url, secret=SECRET, allow_private=True))
        await target.send("1.2.3/4", items(2))
        for _ in range(2):
            with pytest.raises(NotReady):
                await target.send("1.2.3/4", items(1))
    headers, body = seen[0]
    at, _, digest = headers["overseer-signature"].removeprefix("t=").partition(",v1=")
    assert hmac.compare_digest(digest, hmac.new(SECRET.reveal(), f"{at}.".encode() + body, hashlib.sha256).hexdigest())
    assert headers["overseer-delivery"] == "1.2.3/4"
    assert [json.loads(line) for line in body.splitlines()] == [{"n": 0}, {"n": 1}]
    assert len(seen) == 3


async def test_a_webhook_on_a_private_address_needs_the_operators_word() -> None:
    async with webhook(b"204 No Content") as (url, seen):
        target = make_target("siem", SinkSettings(type="webhook", url=url, secret=SECRET))
        with pytest.raises(NotReady, match="address"):
            await target.send("x", items(1))
    assert seen == []


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({"type": "pigeon"}, "type is one of"),
        ({"type": "file"}, "needs path"),
        ({"type": "webhook", "url": "https://x.example/"}, "needs secret"),
        ({"type": "webhook", "url": "http://x.example/", "secret": SECRET}, "https"),
        ({"type": "webhook", "url": "https://x.example/", "secret": SecretValue(b"short")}, "16"),
        ({"type": "file", "path": Path("/x"), "outcomes": ("maybe",)}, "outcomes"),
        ({"type": "file", "path": Path("/x"), "behind_seconds": 1}, "behind_seconds"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(fields: dict[str, Any], rule: str) -> None:
    with pytest.raises(ConfigurationProblem, match=rule):
        SinkSettings(**fields)

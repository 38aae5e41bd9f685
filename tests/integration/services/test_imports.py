"""Imports and exports: all or nothing, compared without an oracle, taken back where nothing changed, released one by one."""

from __future__ import annotations

import base64
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest

from overseer.core.errors import (
    ApprovalRequired,
    BatchRefused,
    Conflict,
    Denied,
    IdempotencyMismatch,
    InvalidInput,
    OverseerError,
    Unavailable,
)
from overseer.core.permissions import Permission
from overseer.core.principals import Caller
from overseer.core.secret_value import SecretValue
from overseer.crypto.age_keys import Identity
from overseer.crypto.age_messages import decrypt_with
from overseer.interchange.formats import READERS
from overseer.server.services import import_service
from overseer.server.services.export_service import Exported, ExportService
from overseer.server.services.housekeeping import Housekeeping
from overseer.server.services.idempotency import Idempotency
from overseer.server.services.import_service import ImportService
from overseer.server.services.import_storing import ImportStoring
from overseer.server.services.rollout_driver import RolloutDriver
from overseer.wire.imports import ExportRequest, ImportAnswer, ImportRequest, ImportUndo
from overseer.wire.secrets import SecretPatch, SecretUpdate, ValueRequest
from tests.integration.services.approving import Office
from tests.integration.services.world import World, text, together

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]
CANARY = "canary-91ab"
MANY = 600


@pytest.fixture
def imports(world: World) -> ImportService:
    return ImportService(world.gate, world.keys, ImportStoring(world.gate, world.opener, world.secrets, world.idempotency))


@pytest.fixture
def exports(world: World) -> ExportService:
    return ExportService(world.gate, world.keys, world.opener, world.sources)


def request(values: dict[str, str], **fields: Any) -> ImportRequest:
    entries = [{"name": name, "value": value} for name, value in values.items()]
    return msgspec.convert({"entries": entries, **fields}, ImportRequest)


def told(answer: ImportAnswer) -> dict[str, tuple[str, str]]:
    return {one.name: (one.state, one.done) for one in answer.results}


async def value(world: World, secret_id: str) -> str:
    return text((await world.secrets.reveal(world.owner, UUID(secret_id), ValueRequest())).value)


async def held(world: World) -> dict[str, str]:
    listed = (await world.secrets.list(world.owner)).items
    return {one.name: await value(world, one.id) for one in listed}


async def test_a_dry_run_tells_and_changes_nothing(world: World, imports: ImportService) -> None:
    await world.secret("same", "v")
    await world.secret("changed", "old")
    before = await world.sql("SELECT * FROM secret_version ORDER BY id")
    caller = world.caller(world.owner.token_hash)
    for policy, done in (("fail", "fail"), ("skip", "skip"), ("new-version", "update")):
        wanted = request({"same": "v", "changed": CANARY, "new": CANARY}, dry_run=True, on_conflict=policy)
        answer = await imports.import_secrets(caller, wanted)
        assert told(answer) == {"same": ("same", "skip"), "changed": ("changed", done), "new": ("new", "create")}
        assert answer.id is None
        assert CANARY not in msgspec.json.encode(answer).decode()
    assert await world.sql("SELECT * FROM secret_version ORDER BY id") == before
    rows = [(row["action"], row["resource_name"], row["code"]) for row in await world.audit(caller)][:3]
    assert rows == [
        ("import:compare", "same", "compared"), ("import:compare", "changed", "compared"), ("import:compare", "new", ""),
    ]  # fmt: skip


async def test_the_policies(world: World, imports: ImportService) -> None:
    await world.secret("a", "old")
    with pytest.raises(BatchRefused) as caught:
        await imports.import_secrets(world.owner, request({"a": CANARY, "b": "x"}))
    assert [(one.place, one.code) for one in caught.value.problems] == [("a", "conflict")]
    assert CANARY not in str(caught.value)
    skipped = await imports.import_secrets(world.owner, request({"a": "new", "b": "x"}, on_conflict="skip"))
    assert told(skipped) == {"a": ("changed", "skip"), "b": ("new", "create")}
    assert await held(world) == {"a": "old", "b": "x"}
    updated = await imports.import_secrets(world.owner, request({"a": "new", "b": "x"}, on_conflict="new-version"))
    assert told(updated) == {"a": ("changed", "update"), "b": ("same", "skip")}
    assert await held(world) == {"a": "new", "b": "x"}
    again = await imports.import_secrets(world.owner, request({"a": "new", "b": "x"}, on_conflict="new-version"))
    assert again.id is None
    assert {one.done for one in again.results} == {"skip"}


async def test_nothing_is_stored_where_one_cannot_be(world: World, imports: ImportService) -> None:
    for values, error in (
        ({"a": "x", "bad name": "y"}, InvalidInput),
        ({"a": "x", "big": "y" * (1024 * 1024 + 1)}, InvalidInput),
    ):
        with pytest.raises(error):
            await imports.import_secrets(world.owner, request(values, app="shop"))
    with pytest.raises(InvalidInput):
        await imports.import_secrets(world.owner, msgspec.convert({"entries": [{"name": "a"}]}, ImportRequest))
    twice = msgspec.convert({"entries": [{"name": "a", "value": "1"}, {"name": "a", "value": "2"}]}, ImportRequest)
    with pytest.raises(InvalidInput, match="twice"):
        await imports.import_secrets(world.owner, twice)
    with pytest.raises(Unavailable, match="app create"):
        await imports.import_secrets(world.owner, request({"a": "x"}, app="nope"))
    only_a = await world.service_account(frozenset({Permission.SECRET_WRITE, Permission.SECRET_LIST}), name="a")
    with pytest.raises((Denied, Unavailable)):
        await imports.import_secrets(only_a, request({"a": "x", "b": "y"}, app="shop"))
    assert await held(world) == {}


async def test_who_may_not_reveal_learns_nothing_of_the_value(world: World, imports: ImportService) -> None:
    await world.secret("a", "guess")
    writer = await world.service_account(frozenset({Permission.SECRET_WRITE, Permission.SECRET_LIST}))
    answers = [
        await imports.import_secrets(writer, request({"a": guess}, dry_run=True)) for guess in ("guess", "another")
    ]
    assert [told(one) for one in answers] == [{"a": ("exists", "fail")}] * 2


async def test_a_guarded_value_is_compared_with_nothing(world: World, imports: ImportService, exports: ExportService) -> None:
    office = await Office.open(world)
    await world.secret("a", "guess")
    await office.policy("reveal")
    answer = await imports.import_secrets(world.owner, request({"a": "guess"}, dry_run=True))
    assert told(answer) == {"a": ("exists", "fail")}
    with pytest.raises(ApprovalRequired) as caught:
        await exports.export(world.owner, ExportRequest(format="json", plaintext=True))
    assert [one.place for one in caught.value.problems] == ["a"]


async def test_undo_takes_back_what_nothing_happened_to(world: World, imports: ImportService) -> None:
    for name in ("kept", "changed", "patched", "gone"):
        await world.secret(name, "old")
    names = ["kept", "changed", "patched", "gone", "made", "made-then-changed"]
    answer = await imports.import_secrets(
        world.owner, request(dict.fromkeys(names, "new"), on_conflict="new-version", origin="dotenv app.env")
    )
    assert answer.id is not None
    ids = {one.name: UUID(one.id) for one in (await world.secrets.list(world.owner)).items}
    await world.secrets.update(world.owner, ids["changed"], SecretUpdate(value="newer"))
    await world.secrets.patch(world.owner, ids["patched"], SecretPatch(description="d"))
    await world.secrets.delete(world.owner, ids["gone"])
    await world.secrets.update(world.owner, ids["made-then-changed"], SecretUpdate(value="newer"))
    shown = await imports.get(world.owner, UUID(answer.id))
    assert {one.name: one.state for one in shown.items} == {
        "kept": "unchanged", "changed": "changed since", "patched": "changed since", "gone": "deleted since",
        "made": "unchanged", "made-then-changed": "changed since",
    }  # fmt: skip
    caller = world.caller(world.owner.token_hash)
    undone = await imports.undo(caller, UUID(answer.id), ImportUndo())
    assert {one.name: one.done for one in undone.results} == {
        "kept": "restored", "changed": "kept", "patched": "kept", "gone": "kept", "made": "deleted", "made-then-changed": "kept",
    }  # fmt: skip
    assert await held(world) == {"kept": "old", "changed": "newer", "patched": "new", "made-then-changed": "newer"}
    actions = [row["action"] for row in await world.audit(caller)]
    assert sorted(actions) == ["import:undo", "import:undo", "secret:activate", "secret:delete"]
    with pytest.raises(Conflict, match="already"):
        await imports.undo(world.owner, UUID(answer.id), ImportUndo())


async def test_undo_needs_what_its_changes_need(world: World, imports: ImportService) -> None:
    answer = await imports.import_secrets(world.owner, request({"made": "x"}))
    assert answer.id is not None
    weak = await world.service_account(frozenset({Permission.SECRET_LIST, Permission.SECRET_ACTIVATE}))
    with pytest.raises(Denied) as caught:
        await imports.undo(weak, UUID(answer.id), ImportUndo())
    assert [one.place for one in caught.value.problems] == ["made"]
    blind = await world.service_account(frozenset({Permission.SECRET_LIST}), name="other")
    for import_id in (UUID(answer.id), uuid4()):
        with pytest.raises(Unavailable):
            await imports.undo(blind, import_id, ImportUndo())
    assert (await imports.list(blind)).items == []
    assert [one.id for one in (await imports.list(weak)).items] == [answer.id]
    assert await held(world) == {"made": "x"}


async def test_imports_are_listed_in_pages(world: World, imports: ImportService) -> None:
    made = [(await imports.import_secrets(world.owner, request({f"s{number}": "x"}))).id for number in range(3)]
    first = await imports.list(world.owner, limit=2)
    second = await imports.list(world.owner, first.next_cursor, limit=2)
    assert [one.id for one in (*first.items, *second.items)] == made[::-1]
    assert second.next_cursor is None


def plain(exported: Exported) -> dict[str, str]:
    return {one.name: one.value.reveal().decode() for one in READERS[exported.format](exported.content.reveal())}


async def test_an_export_is_encrypted_and_audited(world: World, exports: ExportService) -> None:
    await world.secret("a", CANARY, app="shop")
    await world.secret("b", "two\nlines", app="shop")
    await world.secret("elsewhere", "x")
    identity = Identity.generate()
    reader = await world.service_account(frozenset({Permission.SECRET_LIST, Permission.SECRET_REVEAL}))
    body = ExportRequest(format="json", app="shop", recipients=[str(identity.recipient)], reason="a move")
    exported = await exports.export(reader, body)
    assert exported.encrypted
    assert CANARY.encode() not in exported.content.reveal()
    opened = decrypt_with(exported.content.reveal(), [identity])
    assert plain(Exported("json", False, (), opened)) == {"a": CANARY, "b": "two\nlines"}
    rows = [row for row in await world.audit(reader) if row["action"] == "secret:export"]
    assert [(row["resource_name"], row["outcome"], row["version"], row["code"]) for row in rows] == [
        ("a", "allowed", 1, ""), ("b", "allowed", 1, ""),
    ]  # fmt: skip


async def test_a_whole_scope_leaves_in_one_export(world: World, imports: ImportService, exports: ExportService) -> None:
    """More than the five hundred of a batch, each with its own row."""
    made = {f"S{number:04}": f"value {number}" for number in range(MANY)}
    await imports.import_secrets(world.owner, request(made))
    caller = world.caller(world.owner.token_hash)
    assert plain(await exports.export(caller, ExportRequest(format="json", plaintext=True))) == made
    rows = await world.audit(caller)
    assert {(row["action"], row["outcome"], row["code"]) for row in rows} == {("secret:export", "allowed", "plaintext")}
    assert sorted(row["resource_name"] for row in rows) == sorted(made)


async def test_plain_text_needs_its_own_permission(world: World, exports: ExportService) -> None:
    await world.secret("a", "x")
    await world.secret("b", "y")
    holds = frozenset({Permission.SECRET_LIST, Permission.SECRET_REVEAL})
    reader = await world.service_account(holds)
    wanted = ExportRequest(format="dotenv", plaintext=True)
    with pytest.raises(Unavailable) as caught:
        await exports.export(reader, wanted)
    assert [(one.place, one.code) for one in caught.value.problems] == [("a", "denied"), ("b", "denied")]
    assert {row["outcome"] for row in await world.audit(reader)} == {"denied"}
    await world.bind(reader, frozenset({Permission.SECRET_EXPORT}), name="a")
    with pytest.raises(Unavailable) as caught:
        await exports.export(world.caller(reader.token_hash), wanted)
    assert [one.place for one in caught.value.problems] == ["b"]
    only_a = world.caller(reader.token_hash)
    exported = await exports.export(only_a, ExportRequest(format="dotenv", plaintext=True, names=["a"]))
    assert plain(exported) == {"A": "x"}
    assert [row["code"] for row in await world.audit(only_a)] == ["plaintext"]


async def test_an_export_hides_what_its_caller_may_not_know(world: World, exports: ExportService) -> None:
    await world.secret("a", "x")
    await world.secret("hidden", "y")
    identity = str(Identity.generate().recipient)
    weak = await world.service_account(frozenset({Permission.SECRET_LIST, Permission.SECRET_REVEAL}), name="a")
    assert (await exports.export(weak, ExportRequest(format="json", recipients=[identity]))).names == ("a",)
    refusals = []
    for name in ("hidden", "nope"):
        with pytest.raises(Unavailable) as caught:
            await exports.export(weak, ExportRequest(format="json", recipients=[identity], names=["a", name]))
        refusals.append([(one.rule, one.code) for one in caught.value.problems])
    assert refusals[0] == refusals[1]


@pytest.mark.parametrize(
    "fields",
    [{"format": "toml", "plaintext": True}, {}, {"plaintext": True, "recipients": ["age1x"]}, {"recipients": ["age1nope"]}],
)
async def test_a_bad_export_releases_nothing(world: World, exports: ExportService, fields: dict[str, Any]) -> None:
    await world.secret("a", "x")
    caller: Caller = world.caller(world.owner.token_hash)
    with pytest.raises(InvalidInput):
        await exports.export(caller, msgspec.convert(fields, ExportRequest))
    assert "allowed" not in {row["outcome"] for row in await world.audit(caller)}


async def test_what_a_format_cannot_carry_is_named(world: World, exports: ExportService) -> None:
    body = SecretUpdate(value_base64=base64.b64encode(b"\xff\x00").decode())
    made = await world.secret("binary", "x")
    await world.secrets.update(world.owner, UUID(made.id), body)
    with pytest.raises(OverseerError) as caught:
        await exports.export(world.owner, ExportRequest(format="dotenv", plaintext=True))
    assert [one.place for one in caught.value.problems] == ["binary"]
    exported = await exports.export(world.owner, ExportRequest(format="yaml", plaintext=True))
    assert READERS["yaml"](exported.content.reveal())[0].value == SecretValue(b"\xff\x00")


def keyed(body: ImportRequest) -> Idempotency:
    return Idempotency("k1", "POST /api/import", msgspec.json.encode(body))


async def test_the_same_request_twice_imports_once(world: World, imports: ImportService) -> None:
    await world.secret("a", "old")
    await world.secret("same", "x")
    # Who may not reveal cannot be told that the value is the same by now: only the key stands against a second version.
    writer = await world.service_account(frozenset({Permission.SECRET_WRITE, Permission.SECRET_LIST}))
    body = request({"a": "new", "b": "x"}, on_conflict="new-version")
    first = await imports.import_secrets(writer, body, keyed(body))
    caller = world.caller(writer.token_hash)
    again = await imports.import_secrets(caller, body, keyed(body))
    assert again == first
    assert {row["code"] for row in await world.audit(caller)} == {"replayed"}
    views = {one.name: one.version for one in (await world.secrets.list(world.owner)).items}
    assert views == {"a": 2, "b": 1, "same": 1}
    other = request({"a": "other"}, on_conflict="new-version")
    with pytest.raises(IdempotencyMismatch):
        await imports.import_secrets(writer, other, keyed(other))
    stranger = await world.service_account(frozenset({Permission.SECRET_LIST}))
    with pytest.raises(Denied):
        await imports.import_secrets(stranger, body, keyed(body))


async def test_the_same_request_at_the_same_time_imports_once(world: World, imports: ImportService) -> None:
    body = request({"a": "new", "b": "x"})
    answers = await together(*(imports.import_secrets(world.owner, body, keyed(body)) for _ in range(4)))
    assert {one.id for one in answers} == {answers[0].id}
    assert await held(world) == {"a": "new", "b": "x"}
    assert len((await imports.list(world.owner)).items) == 1


async def test_many_secrets_are_one_import(world: World, imports: ImportService) -> None:
    values = {f"s{number:04}": f"v{number}" for number in range(600)}
    answer = await imports.import_secrets(world.owner, request(values))
    assert len(answer.results) == 600
    assert {one.done for one in answer.results} == {"create"}
    again = await imports.import_secrets(world.owner, request({**values, "s0007": "new"}, on_conflict="new-version"))
    assert [one.name for one in again.results if one.done != "skip"] == ["s0007"]
    undone = await imports.undo(world.owner, UUID(answer.id or ""), ImportUndo())
    assert [(one.name, one.why) for one in undone.results if one.done == "kept"] == [("s0007", "changed since")]


async def test_what_is_made_for_a_time_is_erased_at_its_end(world: World, imports: ImportService) -> None:
    await world.secret("old", "x")
    entries = [{"name": "key", "value": "k", "erase_after": 60}, {"name": "stays", "value": "s"}]
    body = msgspec.convert({"entries": entries}, ImportRequest)
    answer = await imports.import_secrets(world.owner, body)
    housekeeping = Housekeeping(world.gate, RolloutDriver(world.gate, world.signal))
    await housekeeping.run()
    assert await held(world) == {"key": "k", "old": "x", "stays": "s"}
    await world.sql("UPDATE secret_import_item SET erase_at = now() - interval '1 second' WHERE erase_at IS NOT NULL")
    [key] = [one for one in (await world.secrets.list(world.owner)).items if one.name == "key"]
    await housekeeping.run()
    assert await held(world) == {"old": "x", "stays": "s"}
    assert await world.sql("SELECT 1 FROM secret_version WHERE secret_id = $1", UUID(key.id)) == []
    [row] = [row for row in await world.audit() if row["request_id"] == "housekeeping"]
    assert (row["action"], row["resource_name"], row["code"], row["actor_id"]) == ("secret:delete", "key", "time_over", None)
    assert row["on_behalf_of"] is not None
    undone = await imports.undo(world.owner, UUID(answer.id or ""), ImportUndo())
    assert {one.name: one.why for one in undone.results} == {"key": "deleted since", "stays": ""}


@pytest.mark.parametrize("seconds", [0, -1, 366 * 86_400 + 1])
async def test_an_end_has_bounds(world: World, imports: ImportService, seconds: int) -> None:
    body = msgspec.convert({"entries": [{"name": "key", "value": "k", "erase_after": seconds}]}, ImportRequest)
    with pytest.raises(InvalidInput, match="erase_after"):
        await imports.import_secrets(world.owner, body)


async def test_what_exists_gets_no_end(world: World, imports: ImportService) -> None:
    await world.secret("key", "mine")
    body = msgspec.convert(
        {"entries": [{"name": "key", "value": "k", "erase_after": 60}], "on_conflict": "new-version"}, ImportRequest
    )
    with pytest.raises(BatchRefused, match="has to be new"):
        await imports.import_secrets(world.owner, body)


async def test_a_page_of_imports_holds_so_many_secrets_together(
    world: World, imports: ImportService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_service, "MOST_ITEMS", 3)
    made = [(await imports.import_secrets(world.owner, request({f"{batch}{n}": "x" for n in range(2)}))).id for batch in "abc"]
    seen, cursor, pages = [], None, 0
    while pages == 0 or cursor is not None:
        page = await imports.list(world.owner, cursor)
        seen += [one.id for one in page.items]
        cursor, pages = page.next_cursor, pages + 1
    assert (seen, pages) == (made[::-1], 3)

"""Imports straight from a living store: every kind of backend, what may be taken, what is named, what is never half done."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest

from overseer.core.errors import BackendRefused, BackendUnavailable, BatchRefused, Conflict, Denied, InvalidInput, Unavailable
from overseer.core.permissions import Permission
from overseer.core.principals import Caller
from overseer.server.services import live_import_service
from overseer.server.services.backend_service import BackendService
from overseer.server.services.idempotency import Idempotency
from overseer.server.services.import_service import ImportService
from overseer.server.services.import_storing import ImportStoring
from overseer.server.services.live_import_service import LiveImportService
from overseer.wire.backends import BackendCreate, BackendPatch, BackendView
from overseer.wire.imports import ImportAnswer, ImportUndo, LiveImportRequest
from overseer.wire.secrets import ValueRequest
from tests.contract.backends.arrangements import Arranged, arranged_for, moto_server
from tests.doubles.vault_kv import Kv2
from tests.doubles.vault_server import VaultServer, served
from tests.integration.services.world import World, text

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]
CANARY = "canary-c41d"
WRITE = frozenset({Permission.SECRET_WRITE, Permission.SECRET_LIST})
USE = frozenset({Permission.BACKEND_USE})


@dataclass
class Stored:
    """A world with a Vault behind it, which has three places below ``apps/shop`` and one elsewhere."""

    world: World
    vault: VaultServer
    engine: Kv2
    backends: BackendService
    live: LiveImportService
    imports: ImportService
    corp: BackendView

    async def take(self, caller: Caller | None = None, folder: str = "apps/shop", **fields: Any) -> ImportAnswer:
        body = LiveImportRequest(**{"backend": "corp", "folder": folder, "app": "shop", "recursive": True, **fields})
        return await self.live.import_from_backend(caller or self.world.owner, body)

    def asked(self) -> list[str]:
        """What was asked of the vault since the last look."""
        paths = [path.removeprefix("/v1/secret/") for _, path, _ in self.vault.requests if "/secret/" in path]
        self.vault.requests.clear()
        return paths


def services(world: World) -> tuple[BackendService, LiveImportService, ImportService]:
    storing = ImportStoring(world.gate, world.opener, world.secrets, world.idempotency)
    return (
        BackendService(world.gate, world.keys, world.idempotency, world.calls),
        LiveImportService(world.gate, world.calls, storing),
        ImportService(world.gate, world.keys, storing),
    )


@pytest.fixture
async def stored(world: World) -> AsyncIterator[Stored]:
    vault, engine = VaultServer(), Kv2()
    vault.mounts["secret"] = engine
    vault.allow("reader", "secret/data/*", "read")
    vault.allow("reader", "secret/metadata/*", "list")
    engine.put("apps/shop/db", user="app", password=CANARY)
    engine.put("apps/shop/DB_URL", value="postgres://")
    engine.put("apps/shop/mail/smtp", password="m")
    engine.put("apps/shopping/list", password="foreign")
    backends, live, imports = services(world)
    with served(vault) as url:
        settings = {"address": url, "auth": "token", "kv_version": "2"}
        body = BackendCreate(
            name="corp", kind="vault", settings=settings, credentials={"token": vault.token("reader")}, timeout=30
        )
        corp = (await backends.create_backend(world.owner, body)).view
        yield Stored(world, vault, engine, backends, live, imports, corp)


async def held(world: World) -> dict[str, str]:
    found = {}
    for one in (await world.secrets.list(world.owner)).items:
        found[one.name] = text((await world.secrets.reveal(world.owner, UUID(one.id), ValueRequest())).value)
    return found


ALL = {"db-user": "app", "db-password": CANARY, "db-url-value": "postgres://", "mail-smtp-password": "m"}


async def test_a_dry_run_tells_all_and_changes_nothing(stored: Stored) -> None:
    caller = stored.world.caller(stored.world.owner.token_hash)
    answer = await stored.take(caller, dry_run=True)
    assert {(one.name, one.source, one.done) for one in answer.results} == {
        ("db-user", "apps/shop/db#user", "create"), ("db-password", "apps/shop/db#password", "create"),
        ("db-url-value", "apps/shop/DB_URL#value", "create"), ("mail-smtp-password", "apps/shop/mail/smtp#password", "create"),
    }  # fmt: skip
    assert CANARY not in msgspec.json.encode(answer).decode()
    assert await held(stored.world) == {}
    rows = [(row["action"], row["resource_name"], row["outcome"]) for row in await stored.world.audit(caller)]
    assert [name for action, name, _ in rows if action == "import:fetch"] == [
        "corp:apps/shop/", "corp:apps/shop/DB_URL", "corp:apps/shop/db", "corp:apps/shop/mail/smtp",
    ]  # fmt: skip
    assert {outcome for _, _, outcome in rows} == {"allowed"}


async def test_an_import_is_one_and_can_be_taken_back(stored: Stored) -> None:
    await stored.world.secret("db-user", "mine", app="shop")
    with pytest.raises(BatchRefused) as caught:
        await stored.take()
    assert [one.place for one in caught.value.problems] == ["db-user"]
    assert await held(stored.world) == {"db-user": "mine"}
    answer = await stored.take(on_conflict="new-version")
    assert await held(stored.world) == ALL
    again = await stored.take(on_conflict="new-version")
    assert again.id is None
    assert {(one.state, one.done) for one in again.results} == {("same", "skip")}
    shown = await stored.imports.get(stored.world.owner, UUID(answer.id or ""))
    assert shown.origin == "backend corp:apps/shop"
    await stored.imports.undo(stored.world.owner, UUID(answer.id or ""), ImportUndo())
    assert await held(stored.world) == {"db-user": "mine"}


async def test_folders_within_are_taken_only_where_it_is_said(stored: Stored) -> None:
    answer = await stored.take(recursive=False)
    assert {one.name for one in answer.results} == ALL.keys() - {"mail-smtp-password"}


async def test_one_place_by_its_own_name(stored: Stored) -> None:
    answer = await stored.take(folder="apps/shop/db", prefix="db-")
    assert {one.name: one.source for one in answer.results} == {
        "db-user": "apps/shop/db#user", "db-password": "apps/shop/db#password",
    }  # fmt: skip


async def test_names_fields_and_what_is_wanted(stored: Stored) -> None:
    stored.engine.put("apps/shop/odd", **{"the key!": "k", ".hidden": "h"})
    stored.asked()
    answer = await stored.take(only=["db#password", "odd"], renames={"db#password": "main"}, prefix="x-")
    assert {one.name: one.source for one in answer.results} == {
        "main": "apps/shop/db#password", "x-odd-the-key": "apps/shop/odd#the key!", "x-odd-.hidden": "apps/shop/odd#.hidden",
    }  # fmt: skip
    assert not [path for path in stored.asked() if path.startswith("data/apps/shop/mail")], "what is not wanted is not asked for"
    whole = await stored.take(only=["db"], fields="whole")
    assert [one.name for one in whole.results] == ["db"]
    [value] = [one for name, one in (await held(stored.world)).items() if name == "db"]
    assert json.loads(value) == {"user": "app", "password": CANARY}
    kept = await stored.take(only=["DB_URL"], keep_names=True, dry_run=True)
    assert [one.name for one in kept.results] == ["DB_URL-value"]
    for fields in ({"only": ["nope"]}, {"only": ["db#nope"]}, {"renames": {"db#nope": "x"}}):
        with pytest.raises(InvalidInput, match="not there"):
            await stored.take(**fields)


async def test_two_places_with_one_name_are_both_named(stored: Stored) -> None:
    stored.engine.put("apps/shop/db-user", x="1")
    stored.engine.put("apps/shop/db", **{"user-x": "2"})
    with pytest.raises(InvalidInput) as caught:
        await stored.take()
    [problem] = caught.value.problems
    assert problem.place == "db-user-x"
    assert "apps/shop/db#user-x" in problem.rule
    assert "apps/shop/db-user#x" in problem.rule


async def test_what_cannot_be_read_is_named_and_stops_or_is_left_out(stored: Stored) -> None:
    stored.engine.put("apps/shop/closed", password="x")
    stored.vault.allow("reader", "secret/data/apps/shop/closed", "list")
    stored.engine.put("apps/shop/white space", password="x")
    stored.engine.put("apps/shop/nulls", password=None)
    with pytest.raises(BackendRefused) as caught:
        await stored.take()
    assert {one.place: one.code for one in caught.value.problems} == {
        "apps/shop/closed": "permission", "apps/shop/white space": "bad_reference", "apps/shop/nulls#password": "field",
    }  # fmt: skip
    assert await held(stored.world) == {}
    dry = await stored.take(dry_run=True)
    assert {one.source for one in dry.results if (one.state, one.done) == ("unreadable", "fail")} == {
        "apps/shop/closed", "apps/shop/white space", "apps/shop/nulls#password",
    }  # fmt: skip
    answer = await stored.take(on_unreadable="skip")
    assert {one.source: one.done for one in answer.results if one.state == "unreadable"} == {
        "apps/shop/closed": "skip", "apps/shop/white space": "skip", "apps/shop/nulls#password": "skip",
    }  # fmt: skip
    assert all(one.why for one in answer.results if one.state == "unreadable")
    assert await held(stored.world) == ALL


async def test_a_store_that_is_away_is_no_empty_one(stored: Stored) -> None:
    stored.vault.sealed = True
    caller = stored.world.caller(stored.world.owner.token_hash)
    with pytest.raises(BackendUnavailable):
        await stored.take(caller, on_unreadable="skip")
    assert [(row["action"], row["outcome"]) for row in await stored.world.audit(caller)] == [("import:fetch", "failed")]
    stored.vault.sealed = False
    with pytest.raises(BackendRefused):
        await stored.take(folder="apps/none")


async def test_a_store_that_goes_away_on_the_way_leaves_nothing_out(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    fetch = stored.world.calls.fetch

    async def leaving(*arguments: Any) -> Any:
        stored.vault.sealed = True
        return await fetch(*arguments)

    monkeypatch.setattr(stored.world.calls, "fetch", leaving)
    with pytest.raises(BackendUnavailable):
        await stored.take(on_unreadable="skip")
    assert await held(stored.world) == {}


async def test_each_reference_needs_its_permission(stored: Stored) -> None:
    world = stored.world
    writer = await world.service_account(WRITE, app="shop")
    with pytest.raises(Denied):
        await stored.take(writer)
    assert stored.asked() == []
    await world.bind(writer, USE, app="shop", name="corp:apps/shop/*")
    assert (await stored.take(world.caller(writer.token_hash), dry_run=True)).results
    stored.asked()
    with pytest.raises(Denied):
        await stored.take(world.caller(writer.token_hash), folder="apps")
    assert stored.asked() == []
    only_folder = await world.service_account(WRITE, app="shop")
    await world.bind(only_folder, USE, app="shop", name="corp:apps/shop/")
    await world.bind(only_folder, USE, app="shop", name="corp:apps/shop/db")
    stored.asked()
    with pytest.raises(Denied) as caught:
        await stored.take(only_folder)
    assert [one.place for one in caught.value.problems] == ["apps/shop/DB_URL", "apps/shop/mail/smtp"]
    assert not [path for path in stored.asked() if path.startswith("data/")]
    reader = await world.service_account(USE, app="shop")
    with pytest.raises((Denied, Unavailable)):
        await stored.take(reader)
    elsewhere = await world.service_account(WRITE)
    await world.bind(elsewhere, USE, app="shop", name="other:*")
    with pytest.raises(Denied):
        await stored.take(elsewhere)
    assert await held(world) == {}


async def test_the_same_request_twice_asks_and_imports_once(stored: Stored) -> None:
    body = LiveImportRequest(backend="corp", folder="apps/shop/db", app="shop", on_conflict="new-version")
    key = Idempotency("k", "POST /api/import/backend", msgspec.json.encode(body))
    first = await stored.live.import_from_backend(stored.world.owner, body, key)
    stored.engine.put("apps/shop/db", password="newer")
    stored.asked()
    again = await stored.live.import_from_backend(stored.world.owner, body, key)
    assert again.id == first.id
    assert {(one.name, one.done, one.version) for one in again.results} == {
        (one.name, one.done, one.version) for one in first.results
    }
    assert stored.asked() == []
    assert (await held(stored.world))["password"] == CANARY


async def test_a_backend_that_changes_meanwhile_is_another_one(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    fetch = stored.world.calls.fetch

    async def changing(*arguments: Any) -> Any:
        found = await fetch(*arguments)
        await stored.backends.patch_backend(stored.world.owner, UUID(stored.corp.id), BackendPatch(description="other"))
        return found

    monkeypatch.setattr(stored.world.calls, "fetch", changing)
    with pytest.raises(Conflict, match="meanwhile"):
        await stored.take()
    assert await held(stored.world) == {}


async def test_too_much_is_refused_as_a_whole(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_import_service, "MAX_BYTES", 20)
    with pytest.raises(InvalidInput, match="a folder at a time"):
        await stored.take()
    monkeypatch.undo()
    monkeypatch.setattr("overseer.server.services.backend_folders.MOST", 2)
    with pytest.raises(InvalidInput, match="at most 2 places"):
        await stored.take()
    monkeypatch.undo()
    monkeypatch.setattr("overseer.server.services.backend_folders.MOST_FOLDERS", 1)
    with pytest.raises(InvalidInput, match="folders below"):
        await stored.take()
    assert await held(stored.world) == {}


async def test_a_request_that_names_nothing(stored: Stored) -> None:
    with pytest.raises(Unavailable, match="app create"):
        await stored.take(app="nope")
    for fields in ({"backend": "nope"}, {"folder": "../x"}, {"folder": "a@1/b"}):
        with pytest.raises(InvalidInput):
            await stored.take(**fields)


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    """The address of an AWS."""
    with moto_server() as url:
        yield url


@pytest.fixture(params=["vault-kv1", "openbao-kv2", "infisical", "aws", "azure"])
def arranged(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Arranged]:
    with ExitStack() as stack:
        yield arranged_for(request, tmp_path, stack)


async def test_every_kind_of_store(world: World, arranged: Arranged) -> None:
    backends, live, _ = services(world)
    for number, ref in enumerate(arranged.refs):
        arranged.put(ref, f"v{number}")
    body = BackendCreate(name="it", kind=arranged.kind, settings=arranged.settings, credentials=arranged.credentials)
    await backends.create_backend(world.owner, body)
    folder = arranged.folder.rstrip("/")
    arranged.put("other-db" if arranged.kind == "azure-key-vault" else f"{folder}ping", "beside the folder")
    wanted = LiveImportRequest(backend="it", folder=folder, app="shop", fields="split")
    await live.import_from_backend(world.owner, wanted)
    assert await held(world) == {"db-value": "v0", "smtp-value": "v1"}
    auto = await live.import_from_backend(world.owner, msgspec.structs.replace(wanted, fields="auto", prefix="auto-"))
    split = arranged.kind in ("vault", "aws-secrets-manager")
    assert {one.name for one in auto.results} == {f"auto-{one}{'-value' * split}" for one in ("db", "smtp")}


async def test_the_right_to_a_folder_tells_nothing_of_what_is_beside_it(world: World, arranged: Arranged) -> None:
    backends, live, _ = services(world)
    folder = arranged.folder.rstrip("/")
    mine, beside = f"{folder}/db", f"{folder}ping"
    if arranged.kind != "azure-key-vault":
        arranged.put(mine, "v")
    arranged.put(beside, "v")
    body = BackendCreate(name="it", kind=arranged.kind, settings=arranged.settings, credentials=arranged.credentials)
    corp = (await backends.create_backend(world.owner, body)).view
    caller = await world.service_account(WRITE, app="shop")
    await world.bind(caller, USE | {Permission.BACKEND_LIST}, app="shop", name=f"it:{folder}/*")
    refs = (await backends.list_refs(caller, UUID(corp.id), folder=folder, app="shop")).refs
    assert refs == ([] if arranged.kind == "azure-key-vault" else [mine])
    both = (await backends.list_refs(world.owner, UUID(corp.id), folder=folder, app="shop")).refs
    assert (beside in both) == (arranged.kind in ("aws-secrets-manager", "azure-key-vault"))
    wanted = LiveImportRequest(backend="it", folder=folder, app="shop", dry_run=True)
    try:
        found = msgspec.json.encode(await live.import_from_backend(caller, wanted)).decode()
    except (BackendRefused, Denied, InvalidInput) as refused:
        found = f"{refused.message} {refused.problems}"
    assert beside not in found

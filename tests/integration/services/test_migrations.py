"""Moving secrets between two instances: ids and history stay, all or nothing, and nothing is believed that is not signed."""

from __future__ import annotations

import base64
import hashlib
import io
import uuid
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import UUID

import msgspec
import pytest

from overseer.core.errors import ApprovalRequired, BatchRefused, Conflict, Denied, InvalidInput, TooLarge, Unavailable
from overseer.core.permissions import Permission
from overseer.core.principals import Caller
from overseer.core.secret_value import SecretValue
from overseer.crypto.age_keys import Identity
from overseer.crypto.age_stream import AgeReader
from overseer.crypto.envelope import ValueContext
from overseer.crypto.signatures import SigningKey
from overseer.crypto.signed_manifest import SignedManifest, instance_key
from overseer.interchange.migration_archive import fingerprint
from overseer.server.services import migration_comparison
from overseer.server.services.import_service import ImportService
from overseer.server.services.import_storing import ImportStoring
from overseer.server.services.migration_comparison import MigrationComparisons
from overseer.server.services.migration_export import MigrationExports, MigrationFile
from overseer.server.services.migration_import import MigrationImports
from overseer.server.storage import migration_rows
from overseer.server.storage.migrator import migrate
from overseer.server.storage.scope_rows import Part
from overseer.wire.imports import ImportUndo
from overseer.wire.migrations import MigrationArchive, MigrationExport, MigrationImport, MigrationImported
from overseer.wire.secret_batches import ScopeTarget, SecretMove
from overseer.wire.secrets import SecretActivate, SecretPatch, SecretUpdate, ValueRequest
from tests import postgres_server
from tests.integration.services.approving import Office
from tests.integration.services.world import World, made_world, text

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]
KEY = Identity.generate()
MOVES = frozenset({Permission.MIGRATION_EXPORT, Permission.MIGRATION_IMPORT})
READS = frozenset({Permission.SECRET_LIST, Permission.SECRET_REVEAL})
EXPIRES = datetime(2031, 1, 2, 3, 4, 5, tzinfo=UTC)
CANARY = "canary-77fa"


@pytest.fixture(scope="session")
async def other_database(postgres_home: Path) -> str:
    name = f"target_{uuid.uuid4().hex[:12]}"
    postgres_server.execute(postgres_home, f"CREATE DATABASE {name} TEMPLATE template0")
    url = postgres_server.url(postgres_home, name)
    await migrate(url)
    return url


@pytest.fixture
async def target(other_database: str) -> AsyncIterator[World]:
    """Another instance, with nothing in it but the environment ``prod``, which has another id there."""
    async with made_world(other_database) as made:
        await made.add(Part.ENVIRONMENT, "prod")
        yield made


def exports(world: World) -> MigrationExports:
    return MigrationExports(world.gate, world.keys, world.opener, world.sources)


def imports(world: World) -> MigrationImports:
    return MigrationImports(world.gate, world.keys, MigrationComparisons(world.gate, world.opener))


def lines_of(file: MigrationFile) -> bytes:
    return AgeReader(io.BytesIO(file.content), [KEY]).readall() or b""


async def exported(world: World, caller: Caller | None = None, **fields: Any) -> tuple[bytes, str]:
    """The lines of an archive, and the fingerprint of its key."""
    body = MigrationExport(**({"recipients": [str(KEY.recipient)], "apps": ["shop"]} | fields))
    file = await exports(world).export(caller or world.owner, body)
    return lines_of(file), file.signed_by


async def taken_in(world: World, archive: tuple[bytes, str], caller: Caller | None = None, **fields: Any) -> MigrationImported:
    content, signed_by = archive
    body = {"archive_base64": base64.b64encode(content).decode(), "signed_by": signed_by} | fields
    return await imports(world).take_in(caller or world.owner, msgspec.convert(body, MigrationImport))


async def compared(world: World, archive: tuple[bytes, str], caller: Caller | None = None) -> dict[str, str]:
    body = MigrationArchive(archive_base64=base64.b64encode(archive[0]).decode())
    return {one.name: one.state for one in (await imports(world).compare(caller or world.owner, body)).results}


def told(answer: MigrationImported) -> dict[str, tuple[str, str, int]]:
    return {one.name: (one.state, one.done, one.versions) for one in answer.results}


async def store(world: World) -> list[Any]:
    """Everything that an import could change."""
    tables = (
        "app",
        "environment",
        "node",
        "scope",
        "secret",
        "secret_version",
        "secret_source",
        "secret_rotation",
        "secret_import",
    )
    return [[dict(row) for row in await world.sql(f"SELECT * FROM {table} ORDER BY 1, 2")] for table in tables]


async def history(world: World) -> list[tuple[Any, ...]]:
    """What must be the same on both sides."""
    rows = await world.sql(
        "SELECT s.id AS secret, s.name, a.name AS app, e.name AS environment, n.name AS node, s.description, s.labels::text, "
        "s.owner, s.expires_at, s.generator, s.rotation::text, s.active_version, s.latest_version, s.created_at AS made, "
        "v.version, v.id, v.created_at, v.readable_until FROM secret s JOIN secret_version v ON v.secret_id = s.id "
        "JOIN scope c ON c.id = s.scope_id LEFT JOIN app a ON a.id = c.app_id LEFT JOIN environment e ON e.id = c.environment_id "
        "LEFT JOIN node n ON n.id = c.node_id ORDER BY s.id, v.version"
    )
    return [tuple(row.values()) for row in rows]


async def values(world: World, secret_id: str, count: int) -> list[str]:
    found = [
        await world.secrets.reveal(world.owner, UUID(secret_id), ValueRequest(version=number)) for number in range(1, count + 1)
    ]
    return [text(one.value) for one in found]


async def shop(world: World) -> dict[str, str]:
    """An app with secrets at three scopes, one of them with history, and one that goes back to an earlier version."""
    rotation = {"interval_days": 30, "generate": "hex:32"}
    db = await world.secret(
        "db", f"{CANARY}-1", app="shop", environment="prod", description="the database", labels={"team": "pay"}, owner="ann",
        rotation=rotation,
    )  # fmt: skip
    for number in (2, 3):
        await world.secrets.update(world.owner, UUID(db.id), SecretUpdate(value=f"{CANARY}-{number}", immediate=True))
    await world.secrets.activate(world.owner, UUID(db.id), SecretActivate(version=2, immediate=True))
    api = await world.secret("api", "k", app="shop", node="n1", expires_at=EXPIRES)
    binary = await world.secret("raw", None, value_base64=base64.b64encode(bytes(range(256))).decode(), app="shop")
    await world.secret("elsewhere", "x", app="blog")
    await world.secret("everywhere", "x")
    return {"db": db.id, "api": api.id, "raw": binary.id}


async def test_what_moves_is_there_with_its_ids_and_its_history(world: World, target: World) -> None:
    ids = await shop(world)
    answer = await taken_in(target, await exported(world))
    assert told(answer) == {"db": ("new", "create", 3), "api": ("new", "create", 1), "raw": ("new", "create", 1)}
    assert answer.created == ["app shop", "node n1"]  # prod was there
    assert await history(target) == [row for row in await history(world) if row[2] == "shop"]
    assert await values(target, ids["db"], 3) == [f"{CANARY}-1", f"{CANARY}-2", f"{CANARY}-3"]
    active = await target.secrets.reveal(target.owner, UUID(ids["db"]), ValueRequest())
    assert (active.version, text(active.value)) == (2, f"{CANARY}-2")
    raw = await target.secrets.reveal(target.owner, UUID(ids["raw"]), ValueRequest())
    assert raw.value.reveal() == bytes(range(256))
    versions = await target.secrets.versions(target.owner, UUID(ids["db"]))
    assert {one.created_by for one in versions.items} == {f"owner at {world.instance_id}"}
    apps = [(row["id"], row["name"]) for row in await target.sql("SELECT id, name FROM app")]
    assert apps == [(world.parts[Part.APP, "shop"], "shop")]
    assert await compared(target, await exported(world)) == {"db": "equal", "api": "equal", "raw": "equal"}


async def test_no_schedule_runs_on_both_sides_and_what_stays_behind_is_said(world: World, target: World) -> None:
    await shop(world)
    answer = await taken_in(target, await exported(world))
    [db] = [one for one in answer.results if one.name == "db"]
    assert any("paused" in note for note in db.notes)
    assert any("ann" in note for note in db.notes)
    assert [row["paused"] for row in await target.sql("SELECT paused FROM secret_rotation")] == [True]


async def test_the_same_archive_twice_is_nothing_new(world: World, target: World) -> None:
    await shop(world)
    archive = await exported(world)
    await taken_in(target, archive)
    before = await store(target)
    again = await taken_in(target, archive)
    assert told(again) == dict.fromkeys(("db", "api", "raw"), ("same", "skip", 0))
    assert (again.created, again.imports) == ([], [])
    assert await store(target) == before


async def test_what_was_made_there_since_comes_by_a_second_archive(world: World, target: World) -> None:
    ids = await shop(world)
    await taken_in(target, await exported(world))
    await world.secrets.update(world.owner, UUID(ids["db"]), SecretUpdate(value="v4", immediate=True))
    await world.secret("late", "x", app="shop")
    assert await compared(target, await exported(world)) == {
        "db": "different", "api": "equal", "raw": "equal", "late": "missing",
    }  # fmt: skip
    answer = await taken_in(target, await exported(world))
    assert told(answer)["db"] == ("newer", "update", 1)
    assert told(answer)["late"] == ("new", "create", 1)
    assert (await values(target, ids["db"], 4))[3] == "v4"
    assert next(row[11:13] for row in await history(target) if row[1] == "db") == (4, 4)
    assert set((await compared(target, await exported(world))).values()) == {"equal"}
    old = [row for row in await target.sql("SELECT version, readable_until FROM secret_version") if row["version"] == 2]
    assert old[0]["readable_until"] is not None


async def test_conflicts_are_listed_completely_and_nothing_comes(world: World, target: World) -> None:
    ids = await shop(world)
    archive = await exported(world)
    await taken_in(target, archive)
    await target.secrets.update(
        target.owner, UUID(ids["db"]), SecretUpdate(value="mine", immediate=True)
    )  # a version 4 of its own
    # The same value, but not the same version.
    await world.secrets.update(world.owner, UUID(ids["db"]), SecretUpdate(value="mine", immediate=True))
    await target.secrets.delete(target.owner, UUID(ids["api"]))
    await target.secret("api", "other", app="shop", node="n1")  # the name is taken by another id
    elsewhere = ScopeTarget(app="shop", environment=None, node="n1")
    await target.secrets.move(target.owner, UUID(ids["raw"]), SecretMove(scope=elsewhere))
    await world.secret("fresh", "x", app="shop")
    archive, before = await exported(world), await store(target)
    caller = target.caller(target.owner.token_hash)
    with pytest.raises(BatchRefused) as refused:
        await taken_in(target, archive, caller)
    rows = [row for row in await target.audit(caller) if row["outcome"] != "allowed"]
    assert [(row["action"], row["outcome"], row["code"]) for row in rows] == [("migration:import", "failed", "batch_refused")]
    assert {one.place.split(" ")[0]: one.rule for one in refused.value.problems} == {
        "db": "version 4 is another one here",
        "api": "another secret has this name there",
        "raw": "it is raw at app=shop node=n1 here",
    }
    assert await store(target) == before
    dry = await taken_in(target, archive, dry_run=True)
    assert {name: done for name, (_, done, _) in told(dry).items()} == {
        "db": "fail", "api": "fail", "raw": "fail", "fresh": "create",
    }  # fmt: skip
    assert await store(target) == before
    answer = await taken_in(target, archive, on_conflict="skip")
    assert told(answer)["fresh"] == ("new", "create", 1)
    assert text((await target.secrets.reveal(target.owner, UUID(ids["db"]), ValueRequest())).value) == "mine"


async def test_a_value_that_differs_under_the_same_ids_is_found(world: World, target: World) -> None:
    ids = await shop(world)
    archive = await exported(world)
    await taken_in(target, archive)
    # Somebody with the keys of the target has put another value under the same version's id.
    raw, forged = UUID(ids["raw"]), SecretValue("forged")
    [row] = await target.sql(
        "SELECT v.id, s.scope_id FROM secret_version v JOIN secret s ON s.id = v.secret_id WHERE s.id = $1", raw
    )
    sealed = target.keys.encrypt(forged, ValueContext(target.instance_id, raw, row["id"], row["scope_id"]))
    await target.sql(
        "UPDATE secret_version SET wrapped_dek = $2, ciphertext = $3 WHERE id = $1",
        row["id"],
        sealed.wrapped_dek,
        sealed.ciphertext,
    )
    assert (await compared(target, archive))["raw"] == "different"
    with pytest.raises(BatchRefused):
        await taken_in(target, archive)


async def test_an_app_can_have_another_name_here(world: World, target: World) -> None:
    await shop(world)
    answer = await taken_in(target, await exported(world), app_names={"shop": "shop2"})
    assert {one.scope.app for one in answer.results} == {"shop2"}
    assert [row["name"] for row in await target.sql("SELECT name FROM app")] == ["shop2"]
    with pytest.raises(InvalidInput):
        await taken_in(target, await exported(world), app_names={"blog": "shop2"})


async def test_an_import_can_be_taken_back(world: World, target: World) -> None:
    ids = await shop(world)
    answer = await taken_in(target, await exported(world))
    assert len(answer.imports) == 3  # one a scope
    undo = ImportService(target.gate, target.keys, ImportStoring(target.gate, target.opener, target.secrets, target.idempotency))
    await target.secrets.patch(target.owner, UUID(ids["raw"]), SecretPatch(description="mine now"))
    done = {}
    for one in answer.imports:
        undone = await undo.undo(target.owner, UUID(one), ImportUndo())
        done.update({result.name: result.done for result in undone.results})
    assert done == {"db": "deleted", "api": "deleted", "raw": "kept"}
    # and it can come again
    assert told(await taken_in(target, await exported(world)))["db"] == ("new", "create", 3)


async def test_each_version_that_leaves_or_comes_has_its_row(world: World, target: World) -> None:
    await shop(world)
    caller = world.caller(world.owner.token_hash)
    archive = await exported(world, caller)
    rows = await world.audit(caller)
    assert (rows[0]["action"], rows[0]["outcome"]) == ("migration:export", "allowed")
    assert sorted((row["resource_name"], row["version"]) for row in rows[1:]) == [
        ("api", 1), ("db", 1), ("db", 2), ("db", 3), ("raw", 1),
    ]  # fmt: skip
    assert {row["action"] for row in rows[1:]} == {"secret:export"}
    caller = target.caller(target.owner.token_hash)
    await taken_in(target, archive, caller)
    came = [row for row in await target.audit(caller) if row["action"] == "migration:import" and row["resource_kind"] == "secret"]
    assert sorted((row["resource_name"], row["version"]) for row in came)[:2] == [("api", 1), ("db", 1)]
    assert len(came) == 5


async def test_an_export_needs_its_own_right_and_reveal_on_each(world: World) -> None:
    await shop(world)
    with pytest.raises(Denied):
        await exported(world, await world.service_account("developer"))
    half = await world.service_account(MOVES | {Permission.SECRET_LIST})
    await world.bind(half, READS, app="shop", environment="prod")
    with pytest.raises(Unavailable) as refused:
        await exported(world, half)
    assert sorted(one.place.split(" ")[0] for one in refused.value.problems) == ["api", "raw"]
    assert not [row for row in await world.audit(half) if row["outcome"] == "allowed" and row["action"] == "secret:export"]
    lines, _ = await exported(world, half, environment="prod")
    assert lines.count(b'"line":"secret"') == 1


async def test_an_app_that_one_may_not_know_of_is_as_one_that_is_not_there(world: World) -> None:
    await shop(world)
    stranger = await world.service_account(MOVES | READS, app="blog")
    errors = []
    for app in ("shop", "nowhere"):
        with pytest.raises(Unavailable) as refused:
            await exported(world, world.caller(stranger.token_hash), apps=[app])
        errors.append((refused.value.message, refused.value.problems))
    assert errors[0] == errors[1]


async def test_what_a_policy_guards_leaves_by_approvals_alone(world: World) -> None:
    office = await Office.open(world)
    secret = await world.secret("db", "v1", app="shop")
    await world.secrets.update(world.owner, UUID(secret.id), SecretUpdate(value="v2", immediate=True))
    await office.policy("reveal")
    mover = await office.person("owner")
    with pytest.raises(ApprovalRequired):
        await exported(world, mover)
    await office.approved(mover, "reveal", secret_id=UUID(secret.id), version=2)
    with pytest.raises(ApprovalRequired, match="cannot be"):  # the history would be seen, too
        await exported(world, mover)
    await office.approved(mover, "reveal", secret_id=UUID(secret.id), version=1)
    lines, _ = await exported(world, mover)
    assert lines.count(b'"line":"version"') == 2


async def test_what_a_policy_guards_comes_by_an_approval_alone(world: World, target: World) -> None:
    await world.secret("db", "v1", app="shop")
    archive, office = await exported(world), await Office.open(target)
    await office.policy("activate")
    before = await store(target)
    with pytest.raises(ApprovalRequired):
        await taken_in(target, archive, await office.person("owner"))
    assert await store(target) == before


async def test_an_import_needs_its_own_right_and_write_at_each_place(world: World, target: World) -> None:
    await shop(world)
    archive, before = await exported(world), await store(target)
    writer = await target.service_account("owner", app="unset")
    for caller in (await target.service_account("developer"), writer):
        with pytest.raises(Denied):
            await taken_in(target, archive, caller)
        with pytest.raises(Denied):
            await taken_in(target, archive, caller, dry_run=True)
    without_apps = await target.service_account(
        MOVES | READS | {Permission.SECRET_WRITE, Permission.APP_LIST, Permission.NODE_LIST}
    )
    with pytest.raises(Denied) as refused:
        await taken_in(target, archive, without_apps)
    assert {one.place for one in refused.value.problems} == {"app shop", "node n1"}
    assert await store(target) == before


async def test_whoever_may_not_see_a_value_learns_nothing_of_it(world: World, target: World) -> None:
    await shop(world)
    archive = await exported(world)
    await taken_in(target, archive)
    blind = await target.service_account(MOVES | {Permission.SECRET_WRITE, Permission.SECRET_LIST})
    assert set((await compared(target, archive, blind)).values()) == {"hidden"}
    with pytest.raises(BatchRefused) as refused:
        await taken_in(target, archive, blind)
    assert {one.rule for one in refused.value.problems} == {"it is here, and you may not see whether it is the same"}


async def test_a_backend_comes_along_by_name_where_it_is_here(world: World, target: World) -> None:
    secret = await world.secret("db", "cached", app="shop")
    for one in (world, target):
        await one.sql(
            "INSERT INTO backend (id, name, kind, settings, ttl, stale_if_error, max_age, timeout, credential_id, format, "
            "kek_term, wrapped_dek, ciphertext) VALUES ($1, 'corp', 'vault', '{}', 999999, 0, 999999, 5, $1, 1, 1, '', '')",
            uuid.uuid4(),
        )
    await world.sql(
        "INSERT INTO secret_source (secret_id, backend_id, ref, mode, fetched_at, tried_at) "
        "SELECT $1, id, 'apps/db', 'pull', now() - interval '1 hour', now() FROM backend",
        UUID(secret.id),
    )
    await world.sql("""UPDATE secret SET source = '{"backend": "corp", "ref": "apps/db", "field": "", "mode": "pull"}'""")
    archive = await exported(world)
    narrow = await target.service_account(
        MOVES | READS | {Permission.SECRET_WRITE, Permission.APP_WRITE, Permission.APP_LIST, Permission.BACKEND_LIST}
    )
    dry = await taken_in(target, archive, narrow, dry_run=True)
    assert "backend corp is not here, or you may not use it" in dry.results[0].notes[0]
    assert (await taken_in(target, archive)).results[0].notes == []
    [source] = await target.sql("SELECT ref, mode, fetched_at FROM secret_source")
    [there] = await world.sql("SELECT ref, mode, fetched_at FROM secret_source")
    assert tuple(source) == tuple(there)


def altered(lines: bytes) -> dict[str, bytes]:
    """What is no archive, by what is wrong with it."""
    records = lines.split(b"\n")
    return {
        "empty": b"",
        "no archive": b'{"line":"head"}\n',
        "dotenv": b"A=b\n",
        "cut": b"\n".join(records[:-2]) + b"\n",
        "cut in the middle": lines[: len(lines) // 2],
        "a line less": b"\n".join([*records[:1], *records[2:]]),
        "a flipped bit": lines.replace(b'"active":2', b'"active":3'),
        "lines in another order": b"\n".join([records[0], *records[-3:0:-1], *records[-2:]]),
        "more at its end": lines + b"{}\n",
        "deep": b'{"line":"head","a":' + b"[" * 100_000 + b"]" * 100_000 + b"}\n",
        "not UTF-8": lines.replace(b"shop", b"sh\xffp"),
    }


async def test_what_is_no_signed_archive_changes_nothing(world: World, target: World) -> None:
    await shop(world)
    archive, before = await exported(world), await store(target)
    for what, content in altered(archive[0]).items():
        assert content != archive[0], what
        with pytest.raises(InvalidInput) as refused:
            await taken_in(target, (content, archive[1]))
        assert CANARY not in str(refused.value.problems) + refused.value.message, what
    with pytest.raises(TooLarge):
        await taken_in(target, (archive[0] + b" " * 17 * 1024 * 1024 + b"\n", archive[1]))
    with pytest.raises(InvalidInput):
        await taken_in(target, archive, archive_base64="not base64!")
    assert await store(target) == before


async def test_an_archive_of_somebody_else_is_not_believed(world: World, target: World) -> None:
    await shop(world)
    lines, signed_by = await exported(world)
    before = await store(target)
    with pytest.raises(InvalidInput, match=str(world.instance_id)) as unconfirmed:
        await taken_in(target, (lines, signed_by), signed_by=None)
    assert signed_by in unconfirmed.value.message
    with pytest.raises(InvalidInput, match="not the one that was named"):
        await taken_in(target, (lines, "SHA256:" + "A" * 43))
    assert await store(target) == before
    whole = str(instance_key(world.instance_id, world.keys.keyring.signing_key.public))
    for named in (None, signed_by, whole):
        dry = await taken_in(target, (lines, signed_by), signed_by=named, dry_run=True)
    assert (dry.instance, dry.signed_by) == (str(world.instance_id), signed_by)
    assert await store(target) == before


def signed_anew(lines: bytes, alter: Callable[[list[Any]], object]) -> tuple[bytes, str]:
    """What somebody signs with a key of his own, in the name of the instance that made the archive."""
    found = [msgspec.json.decode(line) for line in lines.splitlines()[:-1]]
    alter(found)
    body = b"".join(msgspec.json.encode(one) + b"\n" for one in found)
    instance, key = UUID(found[0]["instance"]), SigningKey.generate()
    note = SignedManifest("migration", instance, {"migration.jsonl": hashlib.sha256(body).hexdigest()}).sign(key)
    signer = instance_key(instance, key.public)
    return body + msgspec.json.encode({"line": "end", "key": str(signer), "note": note}) + b"\n", fingerprint(signer)


def first(found: list[Any], line: str) -> dict[str, Any]:
    return next(one for one in found if one["line"] == line)


def at_a_node(found: list[Any], labels: dict[str, str]) -> None:
    part = {"line": "part", "part": "node", "id": str(uuid.uuid4()), "name": "n9", "description": "", "labels": labels}
    first(found, "secret")["node"] = "n9"
    found.insert(1, part)


def source(**fields: str) -> dict[str, str]:
    return {"backend": "corp", "ref": "a", "field": "", "mode": "pull", "fetched_at": "2026-01-01T00:00:00Z"} | fields


INVENTED: dict[str, Callable[[list[Any]], object]] = {
    "a version of the future": lambda found: first(found, "version").update(created_at="9999-12-01T00:00:00Z"),
    "a version of year 1": lambda found: first(found, "version").update(created_at="0001-01-01T00:00:00Z"),
    "a secret of the future": lambda found: first(found, "secret").update(created_at="2199-12-01T00:00:00Z"),
    "a grace from year 1": lambda found: first(found, "version").update(readable_until="0001-01-01T00:00:00Z"),
    "somebody here": lambda found: first(found, "version").update(creator="owner"),
    "a source of year 1": lambda found: first(found, "secret").update(source=source(fetched_at="0001-01-01T00:00:00Z")),
    "a field that is none": lambda found: first(found, "secret").update(source=source(field="\x1b[2J")),
    "a label that is none": lambda found: at_a_node(found, {"a b": "x"}),
    "too many labels": lambda found: at_a_node(found, {f"k{number}": "x" for number in range(100)}),
}


@pytest.mark.parametrize("what", INVENTED)
async def test_a_key_of_ones_own_makes_no_history_that_no_instance_has(world: World, target: World, what: str) -> None:
    await shop(world)
    archive, before = await exported(world), await store(target)
    with pytest.raises(InvalidInput):
        await taken_in(target, signed_anew(archive[0], INVENTED[what]))
    assert await store(target) == before


async def test_the_rows_name_the_key_and_not_only_the_instance(world: World, target: World) -> None:
    await shop(world)
    forged = signed_anew((await exported(world))[0], lambda found: at_a_node(found, {"rack": "b"}))
    caller = target.caller(target.owner.token_hash)
    await taken_in(target, forged, caller)
    rows = [row for row in await target.audit(caller) if row["resource_kind"] == "migration"]
    told_of = {(row["action"], row["code"], row["resource_name"]) for row in rows}
    assert told_of == {(action, str(world.instance_id), forged[1]) for action in ("migration:compare", "migration:import")}


async def test_whether_a_ca_is_here_is_told_to_those_who_may_know(world: World, target: World) -> None:
    await shop(world)
    await target.add(Part.APP, "other")
    ca = await target.secret("ca", "x", app="other")
    spec = f"x509,cn=db,ca={ca.id}"
    archive = signed_anew((await exported(world))[0], lambda found: first(found, "secret").update(generator=spec, rotation=None))
    anywhere = {Permission.APP_WRITE, Permission.NODE_WRITE, Permission.SECRET_WRITE}
    blind = await target.service_account(MOVES | anywhere)
    for caller, said in ((target.owner, 0), (blind, 1)):
        answer = await taken_in(target, archive, caller, dry_run=True)
        assert sum("the CA that signs it" in note for one in answer.results for note in one.notes) == said


async def test_a_change_in_between_stops_all_of_it(world: World, target: World, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = await shop(world)
    await taken_in(target, await exported(world))
    await world.secrets.update(world.owner, UUID(ids["db"]), SecretUpdate(value="v4", immediate=True))
    await world.secret("fresh", "x", app="shop")
    archive = await exported(world)
    service, prepare = imports(target), target.keys.prepare_to_encrypt

    async def meanwhile(count: int = 1) -> None:
        monkeypatch.undo()
        await target.secrets.patch(target.owner, UUID(ids["db"]), SecretPatch(description="changed"))
        await prepare(count)

    monkeypatch.setattr(target.keys, "prepare_to_encrypt", meanwhile)
    body = {"archive_base64": base64.b64encode(archive[0]).decode(), "signed_by": archive[1]}
    with pytest.raises(Conflict, match="meanwhile"):
        await service.take_in(target.owner, msgspec.convert(body, MigrationImport))
    assert not await target.sql("SELECT FROM secret WHERE name = 'fresh'")


@pytest.mark.parametrize(("where", "name"), [(migration_rows, "versions_here"), (migration_comparison, "stored_versions")])
async def test_what_is_deleted_while_it_is_compared_is_a_conflict(
    world: World, target: World, monkeypatch: pytest.MonkeyPatch, where: ModuleType, name: str
) -> None:
    ids = await shop(world)
    archive = await exported(world)
    await taken_in(target, archive)
    find = getattr(where, name)

    async def meanwhile(*arguments: Any) -> Any:
        await target.sql("DELETE FROM secret WHERE id = $1", UUID(ids["db"]))
        return await find(*arguments)

    monkeypatch.setattr(where, name, meanwhile)
    caller = target.caller(target.owner.token_hash)
    with pytest.raises(Conflict, match="meanwhile"):
        await taken_in(target, archive, caller)
    assert {(row["outcome"], row["code"]) for row in await target.audit(caller)} == {("failed", "conflict")}


@pytest.mark.parametrize(
    "fields",
    [{"apps": []}, {"everything": True}, {"recipients": ["age1nope"]}, {"apps": ["nowhere"]}, {"apps": ["shop"], "node": "n2"}],
)
async def test_a_bad_export_releases_nothing(world: World, fields: dict[str, Any]) -> None:
    await shop(world)
    caller = world.caller(world.owner.token_hash)
    with pytest.raises((InvalidInput, Unavailable)):
        await exported(world, caller, **fields)
    assert not [row for row in await world.audit(caller) if row["outcome"] == "allowed"]


async def test_the_global_scope_and_everything(world: World) -> None:
    await shop(world)
    found = []
    for fields in ({"with_global": True}, {"apps": [], "with_global": True}, {"apps": [], "everything": True}):
        lines, _ = await exported(world, **fields)
        found.append(lines.count(b'"line":"secret"'))
    assert found == [4, 1, 5]

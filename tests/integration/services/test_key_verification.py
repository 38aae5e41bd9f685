"""``key verify``: every row is opened, what does not open is named by id, and never a value is said."""

from __future__ import annotations

from itertools import count
from uuid import UUID

import msgspec
import pytest

from overseer.core.errors import Denied, InvalidInput, Sealed
from overseer.server.services.bundle_service import BundleService
from overseer.server.services.key_service import KeyService
from overseer.server.services.key_verification import MOST_UNREADABLE, PAGE_BYTES, PART_SECONDS, KeyVerifier
from overseer.server.storage.database import Record, Session
from overseer.wire.deployments import BundleCreate, BundleFile
from overseer.wire.keys import KeyVerification, KeyVerify, UnreadableRow
from tests.integration.services.world import World

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

CANARY = "value-that-nobody-may-see"


@pytest.fixture
async def verifier(world: World) -> KeyVerifier:
    """Over twelve secrets of one version and a bundle."""
    for number in range(12):
        await world.secret(f"S{number:02}", f"{CANARY} {number}")
    files = [BundleFile(path="compose.yaml", content=f"services: {{a: {{image: {CANARY}}}}}\n")]
    await BundleService(world.gate, world.keys, world.idempotency).create_bundle(world.owner, "shop", BundleCreate(files=files))
    return KeyVerifier(world.gate, world.keys)


async def parts(world: World, verifier: KeyVerifier) -> list[KeyVerification]:
    found = []
    cursor = None
    for _ in range(200):
        part = await verifier.verify(world.caller(world.owner.token_hash), KeyVerify(cursor=cursor))
        found.append(part)
        cursor = part.next_cursor
        if cursor is None:
            return found
    raise AssertionError("it never ends")


async def unreadable(world: World, verifier: KeyVerifier) -> list[UnreadableRow]:
    found = await parts(world, verifier)
    assert sum(part.checked for part in found) == 13
    assert CANARY.encode() not in msgspec.json.encode(found)
    return [row for part in found for row in part.unreadable]


async def row_of(world: World, name: str) -> tuple[UUID, UUID]:
    """The ids of a secret and of its version."""
    query = "SELECT s.id, v.id AS version FROM secret s JOIN secret_version v ON v.secret_id = s.id WHERE name = $1"
    [row] = await world.sql(query, name)
    return row["id"], row["version"]


async def test_a_sound_store(world: World, verifier: KeyVerifier) -> None:
    assert await unreadable(world, verifier) == []
    rows = [(r["action"], r["outcome"], r["code"]) for r in await world.audit() if r["action"] == "key:verify"]
    assert rows == [("key:verify", "allowed", "rows:13")]


@pytest.mark.parametrize("column", ["ciphertext", "wrapped_dek"])
@pytest.mark.parametrize("table", ["secret_version", "bundle"])
async def test_a_flipped_byte(world: World, verifier: KeyVerifier, table: str, column: str) -> None:
    [row] = await world.sql(f"SELECT id FROM {table} ORDER BY id LIMIT 1")
    await world.sql(f"UPDATE {table} SET {column} = set_byte({column}, 15, get_byte({column}, 15) # 1) WHERE id = $1", row["id"])
    [found] = await unreadable(world, verifier)
    assert (found.kind, found.id, found.code) == (table, str(row["id"]), "changed")
    last = [r for r in await world.audit() if r["action"] == "key:verify"][-1]
    assert (last["outcome"], last["code"], last["resource_id"]) == ("failed", "unreadable:changed", row["id"])


async def test_a_moved_ciphertext(world: World, verifier: KeyVerifier) -> None:
    (_, source), (target, version) = await row_of(world, "S03"), await row_of(world, "S07")
    await world.sql(
        "UPDATE secret_version v SET ciphertext = o.ciphertext, wrapped_dek = o.wrapped_dek FROM secret_version o "
        "WHERE v.id = $1 AND o.id = $2",
        version,
        source,
    )
    [found] = await unreadable(world, verifier)
    assert (found.id, found.code) == (str(version), "changed")
    assert str(target) in found.what


async def test_a_secret_that_was_moved_to_another_scope(world: World, verifier: KeyVerifier) -> None:
    await world.secret("Z", "v", app="shop")
    target, version = await row_of(world, "S05")
    await world.sql("UPDATE secret SET scope_id = (SELECT scope_id FROM secret WHERE name = 'Z') WHERE id = $1", target)
    found = [row for part in await parts(world, verifier) for row in part.unreadable]
    assert [(row.id, row.code) for row in found] == [(str(version), "changed")]


@pytest.mark.parametrize(("change", "code"), [("kek_term = 7", "unknown_term"), ("format = 2", "unknown_format")])
async def test_a_term_or_format_that_nobody_knows(world: World, verifier: KeyVerifier, change: str, code: str) -> None:
    _, version = await row_of(world, "S11")
    await world.sql(f"UPDATE secret_version SET {change} WHERE id = $1", version)
    [found] = await unreadable(world, verifier)
    assert (found.id, found.code) == (str(version), code)


async def test_a_damaged_keyring_is_told_and_the_rest_goes_on(world: World, verifier: KeyVerifier) -> None:
    flip = "UPDATE keyring_key SET wrapped = set_byte(wrapped, 20, get_byte(wrapped, 20) # 1) WHERE purpose = 'fingerprint'"
    await world.sql(flip)
    [found] = await unreadable(world, verifier)
    assert (found.kind, found.id, found.code) == ("keyring_key", None, "keyring")
    assert "fingerprint" in found.what


async def test_it_goes_on_where_a_part_ended(world: World, verifier: KeyVerifier, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look at the clock is a part's time later, and a page has two rows: every row is opened once all the same."""
    monkeypatch.setattr("overseer.server.services.key_verification.PAGE_ROWS", 2)
    ticks = count()
    slow = KeyVerifier(world.gate, world.keys, clock=lambda: next(ticks) * PART_SECONDS)
    _, version = await row_of(world, "S06")
    await world.sql("UPDATE secret_version SET kek_term = 7 WHERE id = $1", version)
    assert [row.id for row in await unreadable(world, slow)] == [str(version)]
    assert len(await parts(world, slow)) > 6


async def test_large_values_are_read_one_by_one(world: World, verifier: KeyVerifier, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    fetch = Session.fetch

    async def counted(session: Session, query: str, *arguments: object) -> list[Record]:
        rows = await fetch(session, query, *arguments)
        if query.endswith("_page"):
            sizes.append(sum(len(row["ciphertext"]) for row in rows))
        return rows

    monkeypatch.setattr(Session, "fetch", counted)
    await world.sql("UPDATE secret_version SET ciphertext = ciphertext || decode(repeat('00', 3000000), 'hex')")
    found = [row for part in await parts(world, verifier) for row in part.unreadable]
    assert len(found) == 12
    assert max(sizes) <= PAGE_BYTES + 3_100_000


async def test_many_that_do_not_open_end_a_part_early(world: World, verifier: KeyVerifier) -> None:
    await world.sql("UPDATE secret_version SET kek_term = 7")
    assert len(await unreadable(world, verifier)) == 12 < MOST_UNREADABLE


async def test_what_it_needs(world: World, verifier: KeyVerifier) -> None:
    with pytest.raises(Denied):
        await verifier.verify(await world.service_account("auditor"), KeyVerify())
    for cursor in ("x", "WzFd", "WyJzZWNyZXQiLCAiYSJd", "WyJidW5kbGUiLCAiYSJd"):
        with pytest.raises(InvalidInput):
            await verifier.verify(world.owner, KeyVerify(cursor=cursor))
    with pytest.raises(Sealed):
        await KeyVerifier(world.gate, KeyService(world.database, world.gate)).verify(world.owner, KeyVerify())

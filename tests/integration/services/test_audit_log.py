"""The sealed log for callers: proofs hold, keys follow each other, and the server notices by itself what was changed."""

from __future__ import annotations

import base64
import random

import pytest

from overseer.core.audit_record import decode, record_key
from overseer.core.errors import InvalidInput, KeyProblem, Unavailable
from overseer.crypto.checkpoints import Checkpoint, key_chain, log_origin, signer_of
from overseer.crypto.merkle_log import consistency_holds, inclusion_holds, leaf_hash, split_hashes
from overseer.crypto.signed_notes import VerifierKey
from overseer.server.services.audit_log_service import AuditLogService
from overseer.server.services.audit_self_check import AuditSelfCheck
from overseer.server.services.idempotency import Idempotency
from overseer.server.services.key_service import KeyService
from tests.integration.services.sealing import sealer, write_rows
from tests.integration.services.world import World

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

FORGED = (
    "INSERT INTO audit (incarnation, xact, id, request_id, action, outcome) OVERRIDING SYSTEM VALUE"
    " SELECT incarnation, xact, 0, 'forged', 'secret:reveal', 'allowed' FROM audit"
    " ORDER BY incarnation, xact, id OFFSET 5 LIMIT 1"
)


def raw(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


@pytest.fixture
async def log(world: World) -> AuditLogService:
    """A log of 600 rows in several checkpoints, and a few rows that are not sealed."""
    for count in (2, 300, 1, 290, 7):
        await write_rows(world, 1, each=count)
        await sealer(world).run()
    await write_rows(world, 2)
    return AuditLogService(world.gate, world.keys, world.idempotency)


async def tamper(world: World, statement: str) -> None:
    async with world.connection() as connection:
        await connection.execute("SET session_replication_role = replica")
        await connection.execute(statement)


async def test_random_rows_are_proven_against_any_checkpoint(world: World, log: AuditLogService) -> None:
    maker = random.Random(5)  # noqa: S311
    keys = await log.log_keys(world.owner)
    chain = key_chain(VerifierKey.parse(keys.keys[0].verifier_key), [])
    rows = await world.sql("SELECT * FROM audit ORDER BY incarnation, xact, id LIMIT 600")
    sizes = [one.size for one in (await log.checkpoints(world.owner)).items]
    assert sizes == [600, 593, 303, 302, 2]
    for _ in range(40):
        index = maker.randrange(600)
        row = rows[index]
        size = maker.choice([one for one in sizes if one > index])
        cursor = f"{row['incarnation']}.{row['xact']}.{row['id']}"
        proof = await log.prove_row(world.owner, cursor, size)
        checkpoint = Checkpoint.parse(proof.checkpoint)
        assert signer_of(proof.checkpoint, chain) is not None
        assert (proof.index, proof.size, checkpoint.size) == (index, size, size)
        assert inclusion_holds(leaf_hash(raw(proof.record)), index, size, [raw(one) for one in proof.hashes], checkpoint.root)
        assert decode(raw(proof.record))["request_id"] == row["request_id"]
    for old in sizes:
        growth = await log.prove_growth(world.owner, old)
        a, b = Checkpoint.parse(growth.old_checkpoint), Checkpoint.parse(growth.new_checkpoint)
        assert consistency_holds(a.size, a.root, b.size, b.root, [raw(one) for one in growth.hashes])


async def test_what_cannot_be_proven(world: World, log: AuditLogService) -> None:
    rows = await world.sql("SELECT * FROM audit ORDER BY incarnation DESC, xact DESC, id DESC")
    unsealed = f"{rows[0]['incarnation']}.{rows[0]['xact']}.{rows[0]['id']}"
    for row, size in (
        (unsealed, None),
        ("1.1.1", None),
        (unsealed, 600),
        (unsealed, 601),
        ("1.1.1", 1 << 62),
        ("9999999999.1.1", None),
    ):
        with pytest.raises(Unavailable):
            await log.prove_row(world.owner, row, size)
    for row in ("", "1.2", "a.b.c", "1.2.-3"):
        with pytest.raises(InvalidInput):
            await log.prove_row(world.owner, row)
    with pytest.raises(InvalidInput):
        await log.prove_growth(world.owner, 600, 2)
    with pytest.raises(Unavailable):
        await log.prove_growth(world.owner, 3)


async def test_a_row_that_was_changed_is_not_proven(world: World, log: AuditLogService) -> None:
    await tamper(world, "UPDATE audit SET actor_name = 'mallory' WHERE id = (SELECT min(id) + 3 FROM audit)")
    row = (await world.sql("SELECT * FROM audit WHERE actor_name = 'mallory'"))[0]
    with pytest.raises(KeyProblem, match="audit verify"):
        await log.prove_row(world.owner, f"{row['incarnation']}.{row['xact']}.{row['id']}")


async def test_records_are_what_is_needed_to_verify(world: World, log: AuditLogService) -> None:
    records, leaves, notes = [], [], []
    while True:
        part = await log.records(world.owner, len(records), 170)
        if not part.records:
            break
        assert part.size == 600
        records += [raw(one) for one in part.records]
        leaves += split_hashes(raw(part.leaves))
        notes += part.checkpoints
    assert [leaf_hash(record) for record in records] == leaves
    assert len(leaves) == 600
    assert [record_key(one) for one in records] == sorted(record_key(one) for one in records)
    assert [Checkpoint.parse(note).size for note in notes] == [2, 302, 303, 593, 600]
    with pytest.raises(InvalidInput):
        await log.records(world.owner, 0, 5001)


async def test_a_new_key_is_introduced_by_the_old_one(world: World, log: AuditLogService) -> None:
    idempotency = Idempotency("k", "POST /api/audit/keys", b"")
    made = await log.rotate_log_key(world.owner, idempotency)
    assert (made.term, made.since_size) == (2, 600)
    assert await log.rotate_log_key(world.owner, idempotency) == made
    other = KeyService(world.database, world.gate)  # another replica, which has read the keyring before
    await other.open(world.root_key)
    await log.rotate_log_key(world.owner)
    replica = sealer(world)
    replica._keys = other
    await replica.run()
    keys = (await log.log_keys(world.owner)).keys
    chain = key_chain(VerifierKey.parse(keys[0].verifier_key), [key.statement or "" for key in keys[1:]])
    assert [str(one.key) for one in chain] == [one.verifier_key for one in keys]
    newest = await log.latest(world.owner)
    assert newest.key_term == 3
    assert signer_of(newest.note, chain) == chain[2]
    for one in (await log.checkpoints(world.owner)).items:
        assert signer_of(one.note, chain) is not None
    actions = [row["action"] for row in await world.audit()]
    assert actions.count("audit:rotate_key") == 3


async def test_the_first_key_can_be_replaced_before_anything_is_sealed(world: World) -> None:
    log = AuditLogService(world.gate, world.keys, world.idempotency)
    assert (await log.integrity(world.owner)).state == "new"
    with pytest.raises(Unavailable):
        await log.latest(world.owner)
    assert (await log.rotate_log_key(world.owner)).since_size == 0
    await sealer(world).run()
    assert (await log.latest(world.owner)).key_term == 2


async def test_integrity_says_how_the_log_stands(world: World, log: AuditLogService) -> None:
    view = await log.integrity(world.owner)
    assert (view.state, view.checkpoint and view.checkpoint.size, view.unsealed_rows) == ("ok", 600, 2)
    check = AuditSelfCheck(world.database, world.keys, part=200)
    for _ in range(5):
        await check.run()
    view = await log.integrity(world.owner)
    assert view.self_check is not None
    assert (view.self_check.checked_size, view.self_check.problems) == (600, [])
    assert view.self_check.finished_at is not None
    assert view.checkpoint is not None
    assert view.checkpoint.note.startswith(log_origin(world.instance_id))


async def test_integrity_names_who_holds_sealing_back(
    world: World, log: AuditLogService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("overseer.server.services.audit_log_service.LATE_SECONDS", -1.0)
    async with world.connection() as other:
        await other.execute("BEGIN; SELECT pg_current_xact_id()")
        pid = await other.fetchval("SELECT pg_backend_pid()")
        view = await log.integrity(world.owner)
        await other.execute("ROLLBACK")
    assert view.state == "behind"
    assert any(f"pid {pid} " in one for one in view.waits_for)


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("UPDATE audit SET actor_name = 'mallory' WHERE id = (SELECT min(id) + 5 FROM audit)", "row 5 (1."),
        ("DELETE FROM audit WHERE id = (SELECT min(id) + 320 FROM audit)", "row 320: removed"),
        (FORGED, ": inserted"),
        ("DELETE FROM audit_tile WHERE level = 0 AND number = 1", "are missing"),
    ],
)
async def test_the_server_notices_by_itself(world: World, log: AuditLogService, statement: str, kind: str) -> None:
    check = AuditSelfCheck(world.database, world.keys, part=200)
    await check.run()
    await tamper(world, statement)
    for _ in range(6):
        await check.run()
    view = await log.integrity(world.owner)
    assert view.state == "broken"
    assert view.self_check is not None
    assert any(kind in problem for problem in view.self_check.problems), view.self_check.problems


async def test_a_changed_checkpoint_is_never_handed_out(world: World, log: AuditLogService) -> None:
    await tamper(world, "UPDATE audit_checkpoint SET at = at - interval '1 day' WHERE size = 600")
    assert (await log.integrity(world.owner)).state == "broken"
    for call in (log.latest(world.owner), log.checkpoints(world.owner), log.prove_growth(world.owner, 2)):
        with pytest.raises(KeyProblem, match="changed"):
            await call

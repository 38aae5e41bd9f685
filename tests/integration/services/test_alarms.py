"""Alarms stand in the audit log, and every row says who acted: a principal with its token, or the server itself."""

from __future__ import annotations

from uuid import UUID

import pytest

from overseer.core.errors import DecryptionFailed
from overseer.server.services.audit_self_check import AuditSelfCheck
from overseer.wire.agent import ReleaseRequest
from overseer.wire.secrets import ValueRequest
from tests.integration.services.delivery import Delivery, b64
from tests.integration.services.sealing import sealer, write_rows
from tests.integration.services.world import World

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

COMPOSE = "services:\n  web:\n    image: shop:1\n    environment:\n      - P=${SECRET:db-password}\n"


async def test_a_changed_log_raises_one_alarm(world: World) -> None:
    await write_rows(world, 5)
    await sealer(world).run()
    check = AuditSelfCheck(world.database, world.keys)
    await check.run()
    assert await world.sql("SELECT FROM audit WHERE action = 'alarm:audit_broken'") == []
    async with world.connection() as connection:
        await connection.execute("SET session_replication_role = replica")
        await connection.execute("UPDATE audit SET peer = '198.51.100.1' WHERE actor_name = 'alice'")
    for _ in range(3):
        await check.run()
    [alarm] = await world.sql("SELECT * FROM audit WHERE action = 'alarm:audit_broken'")
    assert (alarm["actor_kind"], alarm["outcome"]) == ("server", "failed")


async def test_a_value_that_does_not_decrypt_raises_an_alarm_that_names_who_asked(world: World) -> None:
    secret = await world.secret("db-password")
    await world.sql("UPDATE secret_version SET ciphertext = set_byte(ciphertext, 12, get_byte(ciphertext, 12) # 1)")
    with pytest.raises(DecryptionFailed):
        await world.secrets.reveal(world.owner, UUID(secret.id), ValueRequest())
    [alarm] = await world.alarms()
    assert (alarm["action"], str(alarm["resource_id"])) == ("alarm:decrypt_failed", secret.id)
    assert None not in (alarm["actor_id"], alarm["token_id"])


async def test_every_row_of_a_deployment_says_who_and_an_agent_for_whom(world: World) -> None:
    delivery = Delivery(world)
    await world.secret("db-password")
    agent = await delivery.enrolled()
    made = await delivery.deploy(COMPOSE)
    await delivery.agents.release(agent.again(), UUID(made.id), ReleaseRequest(nonce=b64(bytes(32))))
    rows = await world.audit()
    nameless = {row["action"] for row in rows if row["actor_id"] is None and row["actor_kind"] != "server"}
    assert nameless <= {"node:enrol", "server:init"}, "only who has no token yet, and whoever sits at the machine, has no name"
    assert all(row["token_id"] is not None and row["actor_name"] for row in rows if row["actor_id"] is not None)
    [owner] = await world.sql("SELECT principal_id AS id FROM token WHERE hash = $1", world.owner.token_hash)
    assert {row["actor_id"] for row in rows if row["action"] == "deployment:create"} == {owner["id"]}
    released = [row for row in rows if row["action"] == "deployment:release"]
    assert {(row["actor_kind"], row["on_behalf_of"]) for row in released} == {("node", owner["id"])}

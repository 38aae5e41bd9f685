"""An administrator's credential that comes from a backend: asked for as for anybody who gets it, and not used past its time."""

from __future__ import annotations

import json
from collections.abc import Callable
from uuid import UUID

import pytest

from overseer.wire.rotations import RotationSet
from overseer.wire.secrets import ValueRequest
from tests.integration.rotators.rotating import OLD, Rotating
from tests.integration.rotators.sources import Source
from tests.integration.services.test_backends import Vaulted, vaulted

__all__ = ["vaulted"]

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]


async def rotating_by(vaulted: Vaulted, source: Source) -> tuple[Rotating, UUID]:
    """A login at the real server whose administrator's password stands in the vault; what was kept when it was tied is wrong."""
    vaulted.engine.put("apps/shop/admin", password=json.dumps({"username": "admin", "password": "of last year"}))
    admin = await vaulted.tie("source-admin", "apps/shop/admin")
    vaulted.engine.put("apps/shop/admin", password=source.admin)
    rotating = Rotating(vaulted.world, source, ("app_a",))
    source.give("app_a", OLD)
    rotating.secret = await vaulted.world.secret("db-login", OLD)
    fields = source.fields("app_a") | {"admin": str(admin)}
    await rotating.service.set_rotation(vaulted.world.owner, rotating.id, RotationSet(rotator=fields))
    return rotating, admin


async def test_a_rotation_asks_for_it_when_it_is_due(vaulted: Vaulted, source_of: Callable[[str], Source]) -> None:
    rotating, admin = await rotating_by(vaulted, source_of("redis"))
    run = await rotating.run()
    assert (run.state, vaulted.asked()[-1:] == []) == ("prepared", False)  # fresh by its ttl, and wrong at the source
    await vaulted.age(61)
    run = await rotating.go_on()
    assert (run.state, run.candidate_version) == ("succeeded", 2)
    assert await rotating.works()
    assert not await rotating.works(1)
    uses = [row for row in await vaulted.world.audit() if row["action"] == "secret:use" and row["resource_id"] == admin]
    assert {(row["outcome"], row["version"]) for row in uses[-3:]} == {("allowed", 2)}


@pytest.mark.parametrize("how", ["refused", "too old"])
async def test_what_the_backend_refuses_or_is_too_old_is_not_used(
    vaulted: Vaulted, source_of: Callable[[str], Source], how: str
) -> None:
    rotating, admin = await rotating_by(vaulted, source_of("redis"))
    if how == "refused":
        del vaulted.engine.versions["apps/shop/admin"]
        await vaulted.age(61)
    else:
        vaulted.vault.sealed = True
        await vaulted.age(700)  # beyond ttl and stale_if_error
    run = await rotating.run()
    assert (run.state, "backend corp" in run.error) == ("prepared", True)
    assert await uses_of(vaulted, admin) == []
    assert await rotating.works(1)


async def test_within_its_limits_a_stale_one_is_used_and_said_to_be(
    vaulted: Vaulted, source_of: Callable[[str], Source]
) -> None:
    rotating, admin = await rotating_by(vaulted, source_of("redis"))
    await vaulted.age(61)
    await vaulted.world.secrets.reveal(vaulted.world.owner, admin, ValueRequest())  # what is kept is right now
    vaulted.vault.sealed = True
    await vaulted.age(61)
    assert (await rotating.run()).state == "succeeded"
    assert set(await uses_of(vaulted, admin)) == {("allowed", "stale")}


async def uses_of(vaulted: Vaulted, admin: UUID) -> list[tuple[str, str]]:
    """The rows of its use by the server."""
    rows = [row for row in await vaulted.world.audit() if row["action"] == "secret:use" and row["resource_id"] == admin]
    return [(row["outcome"], row["code"]) for row in rows if row["code"] != "rotator"]

"""What the server does by itself stops when whoever set it up may not do it any more, is told, and can be taken over."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from overseer.core.errors import BackendUnavailable
from overseer.core.permissions import Permission, to_bits
from overseer.core.principals import Caller
from overseer.crypto.age_keys import Identity
from overseer.server.backup_settings import BackupTarget
from overseer.server.services.backup_schedule import BackupSchedule
from overseer.server.services.backup_service import BackupService
from overseer.wire.backends import SecretSource, SourceView
from overseer.wire.backups import BackupCreate
from overseer.wire.rotations import RotationRunView, RotationSet
from overseer.wire.secrets import SecretCreate, SecretPatch, SecretView
from tests.integration.services.test_backends import Vaulted, vaulted
from tests.integration.services.test_rotations import Schedules, schedules
from tests.integration.services.world import World

__all__ = ["schedules", "vaulted"]

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

WRITES = frozenset({Permission.SECRET_LIST, Permission.SECRET_WRITE, Permission.SECRET_ROTATE})
DAILY = {"interval_days": 1}


@dataclass
class Person:
    """A service account that can be disabled, deleted, or lose what it holds."""

    world: World
    caller: Caller

    @classmethod
    async def with_(cls, world: World, permissions: frozenset[Permission] = WRITES, name: str = "*") -> Person:
        return cls(world, await world.service_account(permissions, name=name))

    async def ends(self, how: str) -> None:
        statements = {
            "principal_disabled": "UPDATE principal SET disabled_at = now() WHERE id = $1",
            "no_binding": "DELETE FROM binding WHERE subject_id = $1",
            "no_setter": "DELETE FROM principal WHERE id = $1",
        }
        await self.world.sql("DELETE FROM binding WHERE subject_id = $1", await self.id()) if how == "no_setter" else None
        await self.world.sql(statements[how], await self.id())

    async def id(self) -> UUID:
        [row] = await self.world.sql("SELECT principal_id FROM token WHERE hash = $1", self.caller.token_hash)
        found: UUID = row[0]
        return found


async def told(world: World) -> list[tuple[str, str, str]]:
    """The rows of what was stopped."""
    rows = [row for row in await world.audit() if row["outcome"] == "denied" or row["action"] == "alarm:job_stopped"]
    return [(row["action"], row["outcome"], row["code"]) for row in rows]


async def newest(schedules: Schedules, secret: SecretView) -> RotationRunView:
    return (await schedules.runs(secret))[0]


@pytest.mark.parametrize("how", ["principal_disabled", "no_binding", "no_setter"])
async def test_a_schedule_stops_with_the_right_of_whoever_set_it(schedules: Schedules, how: str) -> None:
    world, person = schedules.world, await Person.with_(schedules.world)
    secret = await schedules.secret()
    await schedules.service.set_rotation(person.caller, UUID(secret.id), RotationSet(policy=DAILY))
    await schedules.driver().run()
    await schedules.past(2)
    await schedules.driver().run()
    assert await schedules.versions(secret) == (2, 2)
    await person.ends(how)
    for _ in range(2):
        await schedules.past(2)
        await schedules.driver().run()
    assert await schedules.versions(secret) == (2, 2)
    run = await newest(schedules, secret)
    assert (run.state, how in run.error) == ("failed", True)
    rows = [("rotation:run", "denied", how), ("alarm:job_stopped", "failed", how), ("rotation:run", "denied", how)]
    assert await told(world) == rows
    view = await schedules.view(secret)
    assert (view.stopped, view.policy_set_by is None) == (how, how == "no_setter")
    listed = (await schedules.service.list_rotations(world.owner)).items
    assert [one.stopped for one in listed] == [how]
    await world.sql("UPDATE secret_version SET created_at = created_at - interval '3 days'")
    # Somebody else sets the same again and stands for it: it is due at once, for it was stopped when it was due.
    view = await schedules.service.set_rotation(world.owner, UUID(secret.id), RotationSet(policy=view.policy))
    assert (view.stopped, view.policy_set_by) == ("", "owner")
    await schedules.driver().run()
    assert await schedules.versions(secret) == (3, 3)
    assert await told(world) == rows


async def test_a_right_that_comes_back_is_enough(schedules: Schedules) -> None:
    world, person = schedules.world, await Person.with_(schedules.world)
    secret = await schedules.secret()
    await schedules.service.set_rotation(person.caller, UUID(secret.id), RotationSet(policy=DAILY))
    await schedules.driver().run()
    await person.ends("no_binding")
    await schedules.past(2)
    await schedules.driver().run()
    assert (await schedules.view(secret)).stopped == "no_binding"
    await world.bind(person.caller, WRITES)
    await schedules.past(2)
    await schedules.driver().run()
    assert await schedules.versions(secret) == (2, 2)
    assert (await schedules.view(secret)).stopped == ""


async def test_whoever_made_the_secret_stands_for_its_first_policy_and_who_changes_it_for_the_next(schedules: Schedules) -> None:
    world = schedules.world
    maker, changer = await Person.with_(world), await Person.with_(world)
    body = SecretCreate(name="made", value="v1", rotation=DAILY)
    secret = (await world.secrets.create(maker.caller, body)).view
    await schedules.driver().run()
    await schedules.past(2)
    await schedules.driver().run()
    assert await schedules.versions(secret) == (2, 2)
    await world.secrets.patch(changer.caller, UUID(secret.id), SecretPatch(rotation={"interval_days": 2}))
    await maker.ends("principal_disabled")
    await schedules.driver().run()
    await schedules.past(5)
    await schedules.driver().run()
    assert await schedules.versions(secret) == (3, 3)
    await changer.ends("no_setter")  # the maker does not stand for it again
    await schedules.past(5)
    await schedules.driver().run()
    assert await schedules.versions(secret) == (3, 3)
    assert (await schedules.view(secret)).stopped == "no_setter"


@pytest.mark.parametrize("lost", ["rotator:write", "secret:reveal of it", "secret:use of the administrator's", "asked"])
async def test_a_rotator_needs_all_that_setting_it_up_needed(schedules: Schedules, lost: str) -> None:
    """No source is there: a run that gets so far fails for that reason, and is stopped before where a right is gone."""
    world = schedules.world
    secret, admin = await schedules.secret("login"), await schedules.secret("source-admin")
    setter = Person(world, await world.service_account(WRITES))
    grants: dict[str, tuple[frozenset[Permission], str]] = {
        "rotator:write": (frozenset({Permission.ROTATOR_WRITE}), "login"),
        "secret:reveal of it": (frozenset({Permission.SECRET_REVEAL}), "login"),
        "secret:use of the administrator's": (frozenset({Permission.SECRET_USE}), "source-admin"),
    }
    for permissions, name in grants.values():
        await world.bind(setter.caller, permissions, name=name)
    await world.bind(setter.caller, frozenset({Permission.SECRET_REVEAL}), name="source-admin")
    fields: dict[str, Any] = {"kind": "redis", "url": "rediss://127.0.0.1:1", "users": ["app"], "admin": admin.id}
    await schedules.service.set_rotation(setter.caller, UUID(secret.id), RotationSet(rotator=fields))
    asker = await Person.with_(world)
    run = await schedules.service.run_rotation(asker.caller, UUID(secret.id))
    assert run.state == "waiting"
    if lost == "asked":
        await asker.ends("no_binding")
    else:
        permissions, name = grants[lost]
        await world.sql(
            "DELETE FROM binding WHERE subject_id = $1 AND name = $2 AND permissions = $3",
            await setter.id(),
            name,
            to_bits(permissions),
        )
    await schedules.driver().run()
    ended = await newest(schedules, secret)
    assert (ended.state, "no_binding" in ended.error) == ("failed", True)
    assert await schedules.versions(secret) == (1, 1)
    uses = [row for row in await world.audit() if row["action"] == "secret:use" and row["code"].startswith("rotation")]
    assert uses == []


async def source_of(vaulted: Vaulted, secret: UUID) -> SourceView:
    return await vaulted.sourcing.get_source(vaulted.world.owner, secret)


@pytest.mark.parametrize("how", ["principal_disabled", "no_binding", "no_setter", "path"])
async def test_a_secret_is_kept_up_to_date_while_whoever_tied_it_may(vaulted: Vaulted, how: str) -> None:
    world = vaulted.world
    person = Person(world, await world.service_account(WRITES))
    await world.bind(person.caller, frozenset({Permission.BACKEND_USE}), app="shop", name="corp:apps/shop/*")
    secret = await vaulted.tie("db", "apps/shop/db", person.caller, mode="sync")
    vaulted.engine.put("apps/shop/db", password="two")
    await vaulted.age(61)
    await world.sources.run()
    assert await vaulted.reveal(secret) == ("two", False)
    if how == "path":  # another part of the vault is theirs from now on
        await world.sql("UPDATE binding SET name = 'corp:apps/bank/' WHERE name = 'corp:apps/shop/'")
        how = "no_binding"
    else:
        await person.ends(how)
    vaulted.engine.put("apps/shop/db", password="three")
    for _ in range(2):
        await vaulted.age(61)
        vaulted.asked()
        await world.sources.run()
        assert vaulted.asked() == []
    assert await vaulted.reveal(secret) == ("two", False)
    assert await told(world) == [
        ("secret:pull", "denied", how),
        ("alarm:job_stopped", "failed", how),
        ("secret:pull", "denied", how),
    ]
    view = await source_of(vaulted, secret)
    assert (view.stopped, view.set_by is None) == (how, how == "no_setter")
    await vaulted.age(3600)
    with pytest.raises(BackendUnavailable, match="tie it again"):
        await vaulted.reveal(secret)
    source = SecretSource(backend="corp", ref="apps/shop/db", field="password", mode="sync")
    await vaulted.sourcing.set_source(world.owner, secret, source)
    assert await vaulted.reveal(secret) == ("three", False)
    vaulted.engine.put("apps/shop/db", password="four")
    await vaulted.age(61)
    await world.sources.run()
    assert await vaulted.reveal(secret) == ("four", False)
    view = await source_of(vaulted, secret)
    assert (view.stopped, view.set_by) == ("", "owner")


async def test_a_backup_that_was_asked_for_is_made_for_whoever_may_ask(world: World, tmp_path: Path) -> None:
    targets = {"nightly": BackupTarget(to=str(tmp_path), recipients=(str(Identity.generate().recipient),))}
    person = await Person.with_(world, frozenset({Permission.BACKUP_CREATE}))
    await BackupService(world.gate, world.idempotency, targets).create_backup(person.caller, BackupCreate(target="nightly"))
    await person.ends("no_binding")
    await BackupSchedule(world.gate, world.keys, world.url, targets).run()
    [row] = await world.sql("SELECT state, error FROM backup_run")
    assert tuple(row) == ("failed", "no_binding")
    assert await asyncio.to_thread(lambda: list(tmp_path.iterdir())) == []
    assert await told(world) == [("backup:create", "denied", "no_binding")]

"""A secret with a rotator over a :class:`World`, and the leader's work done by hand."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from overseer.server.address_rules import AddressRule
from overseer.server.rotators.selection import make_rotator
from overseer.server.services.rollout_driver import RolloutDriver
from overseer.server.services.rotation_credentials import RotationCredentials
from overseer.server.services.rotation_driver import RotationDriver
from overseer.server.services.rotation_service import RotationService
from overseer.server.services.rotation_steps import RotationSteps
from overseer.server.services.value_making import ValueMaking
from overseer.wire.rotations import RotationRunView, RotationSet
from overseer.wire.secrets import SecretView, ValueRequest
from tests.integration.rotators.sources import Source
from tests.integration.services.world import World, text

RULE = AddressRule.parse(["plain:127.0.0.0/8"], "a test")
OLD = "Old-password-of-app-1"


@dataclass
class Rotating:
    """``users``: one, or two that take turns."""

    world: World
    source: Source | None
    users: tuple[str, ...]
    service: RotationService = field(init=False)
    driver: RotationDriver = field(init=False)
    secret: SecretView = field(init=False)

    def __post_init__(self) -> None:
        self.service = RotationService(self.world.gate, RULE)
        self.driver = make_driver(self.world)

    async def begin(self, **policy: Any) -> None:
        """The users exist, the first one with a password; the secret is its login; the rotator is set up."""
        assert self.source is not None
        for number, user in enumerate(self.users):
            self.source.give(user, None if number else OLD)
        admin = await self.world.secret("source-admin", self.source.admin)
        value = OLD if len(self.users) == 1 else json.dumps({"username": self.users[0], "password": OLD, "host": "db"})
        self.secret = await self.world.secret("db-login", value)
        fields = self.source.fields(*self.users) | {"admin": admin.id}
        body = RotationSet(rotator=fields, policy=policy or None)
        await self.service.set_rotation(self.world.owner, self.id, body)

    @property
    def id(self) -> UUID:
        return UUID(self.secret.id)

    async def run(self) -> RotationRunView:
        """Ask for a rotation and do all of it that can be done."""
        await self.service.run_rotation(self.world.owner, self.id)
        return await self.go_on()

    async def go_on(self) -> RotationRunView:
        await self.world.sql("UPDATE secret_rotation_run SET next_at = now(), leased_until = NULL WHERE finished_at IS NULL")
        await self.driver.run()
        return await self.newest()

    async def newest(self) -> RotationRunView:
        return (await self.service.list_runs(self.world.owner, self.id)).items[0]

    async def login(self, version: int | None = None) -> tuple[str, str]:
        """Name and password of a version, by default of the active one."""
        revealed = await self.world.secrets.reveal(self.world.owner, self.id, ValueRequest(version=version))
        if len(self.users) == 1:
            return self.users[0], text(revealed.value)
        parts = json.loads(text(revealed.value))
        assert parts["host"] == "db"
        return parts["username"], parts["password"]

    async def works(self, version: int | None = None) -> bool:
        assert self.source is not None
        return self.source.works(*await self.login(version))


def make_driver(world: World, make: Any = make_rotator) -> RotationDriver:
    """The driver over a world."""
    rollouts = RolloutDriver(world.gate, world.signal)
    credentials = RotationCredentials(world.gate, world.keys, world.sources)
    values = ValueMaking(world.gate, world.opener)
    steps = RotationSteps(world.gate, world.keys, values, rollouts, credentials, RULE, make)
    return RotationDriver(world.gate, steps)

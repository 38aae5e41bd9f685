"""The world of ``tests/integration/services`` with every service of the server, wired by the composition itself."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from overseer.server.composition import wire_services
from overseer.server.services.catalogue import Services
from overseer.server.services.denial_limits import DenialLimits
from overseer.server.settings import Settings
from tests.integration.services.conftest import services_database, world
from tests.integration.services.world import World

__all__ = ["services", "services_database", "world"]


@pytest.fixture
async def services(world: World) -> Services:
    """Every public service, over the world's database and gate, unsealed."""

    async def nobody(_root_key: object) -> None:
        return None

    settings = Settings(data_dir=Path("/nonexistent"), database_url=world.url, seal="env")
    made = wire_services(settings, world.database, world.gate, DenialLimits(), nobody, asyncio.Event())
    await made.keys.open(world.root_key)
    return made

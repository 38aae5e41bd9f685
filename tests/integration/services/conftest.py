"""A ready :class:`World` for each test, in one migrated database a test process, emptied before each test."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from overseer.server.storage.migrator import migrate
from overseer.server.storage.scope_rows import Part
from tests import postgres_server
from tests.integration.services.world import World, made_world


@pytest.fixture(scope="session")
def services_database(postgres_home: Path) -> str:
    """The URL of a migrated database; it goes with the session's server."""
    name = f"services_{uuid.uuid4().hex[:12]}"
    postgres_server.execute(postgres_home, f"CREATE DATABASE {name} TEMPLATE template0")
    url = postgres_server.url(postgres_home, name)
    asyncio.run(migrate(url))
    return url


@pytest.fixture
async def world(services_database: str) -> AsyncIterator[World]:
    """A server without its edges; apps ``shop`` and ``blog``, environments ``prod`` and ``staging``, nodes ``n1`` and ``n2``."""
    async with made_world(services_database) as made:
        await made.add(Part.APP, "shop", "blog")
        await made.add(Part.ENVIRONMENT, "prod", "staging")
        await made.add(Part.NODE, "n1", "n2")
        yield made

"""A ready :class:`World` for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from overseer.server.storage.scope_rows import Part
from tests.integration.services.world import World, made_world


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    """A server without its edges, with the apps ``shop`` and ``blog``, environments ``prod`` and ``staging``, nodes ``n1`` and ``n2``."""
    async with made_world(database_url) as made:
        await made.add(Part.APP, "shop", "blog")
        await made.add(Part.ENVIRONMENT, "prod", "staging")
        await made.add(Part.NODE, "n1", "n2")
        yield made

"""What policies guard among many secrets: others have their turn meanwhile."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from overseer.core.access import Resource
from overseer.core.approvals import Operation
from overseer.server.services import approval_guard
from overseer.server.services.approval_guard import guarded_secrets

pytestmark = pytest.mark.anyio


class Row:
    """As much of a secret as policies look at."""

    labels: dict[str, str] = {}

    def __init__(self) -> None:
        self.id = uuid4()

    def resource(self) -> Resource:
        return Resource("secret", "some")


async def test_many_secrets_leave_others_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """An export of thousands under many policies would stop everybody's requests for a second."""

    async def none(*_: object) -> list[Any]:
        return []

    monkeypatch.setattr(approval_guard, "guarding", none)
    rows: list[Any] = [Row() for _ in range(1000)]
    asked, turns = asyncio.create_task(guarded_secrets(None, Operation.REVEAL, rows)), 0  # type: ignore[arg-type]
    while not asked.done():
        await asyncio.sleep(0)
        turns += 1
    assert await asked == set()
    assert turns >= 10

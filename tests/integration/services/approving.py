"""People who ask each other, over the world of the services: policies, requests and decisions in a line each."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from overseer.core.permissions import Permission
from overseer.core.principals import Caller, PrincipalKind
from overseer.server.services.approval_service import ApprovalService
from overseer.wire.approvals import ApprovalCreate, ApprovalDecision, ApprovalPolicyCreate, ApprovalView
from tests.integration.services.world import World

ANYWHERE = {"app": "*", "environment": "*", "node": "*", "name": "*"}
DECIDES = frozenset({Permission.APPROVAL_DECIDE})


@dataclass
class Office:
    """The world's approvals. ``boss`` is a user who may decide about everything and holds nothing else."""

    world: World
    service: ApprovalService
    boss: Caller
    _numbers: Any = field(default_factory=lambda: itertools.count(1))

    @classmethod
    async def open(cls, world: World) -> Office:
        service = ApprovalService(world.gate, world.idempotency)
        office = cls(world, service, world.owner)
        office.boss = await office.person(DECIDES)
        return office

    async def person(self, role: str | frozenset[Permission] | None = None, **place: str) -> Caller:
        """A new user with a live token."""
        caller = await self.world._principal(PrincipalKind.USER, f"person-{next(self._numbers)}")
        if role is not None:
            await self.world.bind(caller, role, **place)
        return caller

    async def policy(self, *actions: str, **fields: Any) -> UUID:
        """A policy of the owner's; everywhere but for ``fields``."""
        title = fields.pop("title", f"policy-{next(self._numbers)}")
        body = ApprovalPolicyCreate(title=title, actions=list(actions), **{**ANYWHERE, **fields})
        return UUID((await self.service.create_policy(self.world.owner, body)).view.id)

    async def ask(self, caller: Caller, action: str, **what: Any) -> ApprovalView:
        return await self.service.ask(caller, ApprovalCreate(action=action, reason="it is needed today", **what))

    async def decide(self, caller: Caller, asked: ApprovalView, decision: str = "approve") -> ApprovalView:
        return await self.service.decide(caller, UUID(asked.id), ApprovalDecision(decision=decision, comment="seen"))

    async def approved(self, caller: Caller, action: str, **what: Any) -> ApprovalView:
        """Asked for, and approved by the boss."""
        return await self.decide(self.boss, await self.ask(caller, action, **what))

    async def state(self, asked: ApprovalView) -> str:
        return (await self.service.get_approval(self.world.owner, UUID(asked.id))).state

    def again(self, caller: Caller) -> Caller:
        """Another request of the same caller."""
        return self.world.caller(caller.token_hash)

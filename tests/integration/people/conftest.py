"""The world of ``tests/integration/services`` with people in it: users who can sign in, and every service."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import pytest

from overseer.core.principals import Caller
from overseer.core.secret_value import SecretValue
from overseer.crypto.one_time_codes import STEP_SECONDS, code_at
from overseer.crypto.tokens import token_hash
from overseer.server.services.catalogue import Services
from overseer.wire.people import InvitationAccept, PasswordProof, SessionCreated, SignIn, TotpCode, UserCreate, UserReset
from tests.integration.invariants.conftest import services, services_database, world
from tests.integration.services.world import World

__all__ = ["people", "services", "services_database", "world"]

PASSWORD = "plum tractor violet moss"


@dataclass
class People:
    """Makes users and signs them in, over the services themselves."""

    world: World
    services: Services
    _peers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def stranger(self, peer: str | None = None) -> Caller:
        """A request without a credential, by default from a peer of its own."""
        number = next(self._peers)
        return Caller(None, f"stranger-{number}", peer or f"198.51.100.{number}", "test")

    async def user(self, name: str, password: str = PASSWORD) -> UUID:
        """A user with a password."""
        owner = self.world.owner
        made = await self.services.users.create_user(owner, UserCreate(name=name))
        invited = await self.services.users.reset_user(owner, UUID(made.id), UserReset())
        await self.services.sign_in.accept_invitation(
            self.stranger(), InvitationAccept(invitation=invited.invitation, password=password)
        )
        return UUID(made.id)

    async def sign_in(
        self, name: str, password: str = PASSWORD, code: str = "", *, peer: str | None = None
    ) -> tuple[Caller, SessionCreated]:
        """A session, and the caller that holds it."""
        made = await self.services.sign_in.sign_in(self.stranger(peer), SignIn(name=name, password=password, code=code))
        return self.holder(made.session), made

    def holder(self, session: str) -> Caller:
        """A request with this credential."""
        return self.world.caller(token_hash(SecretValue(session)))

    async def second_factor(self, session: Caller, password: str = PASSWORD) -> tuple[SecretValue, list[str], Caller]:
        """Put a second factor into force: its secret, the recovery codes, and the caller with the session's new secret."""
        import base64

        started = await self.services.account.start_totp(session, PasswordProof(password=password))
        secret = SecretValue(base64.b32decode(started.secret))
        confirmed = await self.services.account.confirm_totp(session, TotpCode(code=await self.code(secret, -1)))
        assert confirmed.session is not None
        return secret, confirmed.codes, self.holder(confirmed.session)

    async def code(self, secret: SecretValue, steps: int = 0) -> str:
        """The authenticator's code, ``steps`` away from now."""
        return code_at(secret, int((await self.now()).timestamp()) // STEP_SECONDS + steps)

    async def now(self) -> datetime:
        """The database's clock."""
        [row] = await self.world.sql("SELECT now() AS now")
        found: datetime = row["now"]
        return found


@pytest.fixture
def people(world: World, services: Services) -> People:
    return People(world, services)

"""Input that obeys its type and still cannot be worked with is refused by a rule, never by an exception, and is not repeated."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest

from overseer.core.audit_filter import AuditFilter
from overseer.core.errors import InvalidInput
from overseer.wire.access import BindingCreate, ServiceAccountCreate
from overseer.wire.secrets import SecretCreate, SecretPatch
from tests.integration.services.delivery import Delivery
from tests.integration.services.world import World

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

BEYOND = [
    datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone(-timedelta(hours=23, minutes=59))),
    datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=23, minutes=59))),
    datetime.max.replace(tzinfo=UTC),
    datetime.min.replace(tzinfo=UTC),
]
WITHIN = [datetime(9998, 12, 31, 23, 59, 59, tzinfo=UTC), datetime(1970, 1, 1, tzinfo=UTC)]


def places(caught: pytest.ExceptionInfo[InvalidInput]) -> list[str]:
    return [problem.place for problem in caught.value.problems]


@pytest.mark.parametrize("moment", BEYOND, ids=["after", "before", "last", "first"])
async def test_times_that_utc_cannot_tell_are_refused(world: World, moment: datetime) -> None:
    delivery, owner = Delivery(world), world.owner
    secret = await world.secret("A")
    with pytest.raises(InvalidInput) as caught:
        await world.secrets.create(owner, SecretCreate(name="B", value="1", expires_at=moment))
    assert places(caught) == ["body.expires_at"]
    with pytest.raises(InvalidInput) as caught:
        await world.secrets.patch(owner, UUID(secret.id), SecretPatch(expires_at=moment))
    assert places(caught) == ["body.expires_at"]
    await delivery.identity.create_service_account(owner, ServiceAccountCreate(name="ci"))
    binding = BindingCreate(principal="ci", role="viewer", app="*", environment="*", node="*", name="*", expires_at=moment)
    with pytest.raises(InvalidInput) as caught:
        await delivery.identity.create_binding(owner, binding)
    assert places(caught) == ["body.expires_at"]
    with pytest.raises(InvalidInput) as caught:
        await delivery.log.list(owner, AuditFilter(since=moment))
    assert places(caught) == ["query.since"]
    with pytest.raises(InvalidInput) as caught:
        await delivery.log.list(owner, AuditFilter(until=moment))
    assert places(caught) == ["query.until"]


@pytest.mark.parametrize("moment", WITHIN, ids=["last", "first"])
async def test_the_first_and_the_last_second_are_times(world: World, moment: datetime) -> None:
    secret = await world.secret("A", expires_at=moment)
    assert (await world.secrets.get(world.owner, UUID(secret.id))).view.expires_at == moment
    await Delivery(world).log.list(world.owner, AuditFilter(since=moment, until=moment))


async def test_a_refused_label_is_told_by_its_number(world: World) -> None:
    body = SecretCreate(name="A", value="1", labels={"fine": "", "cAnArY-key": "\x01"})
    with pytest.raises(InvalidInput) as caught:
        await world.secrets.create(world.owner, body)
    assert places(caught) == ["body.labels[1]"]
    assert "cAnArY" not in f"{caught.value.message} {caught.value.problems}"

"""Holdings of agents, and where they differ from what was deployed."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from overseer.core.errors import DecryptionFailed, Denied, InvalidInput
from overseer.core.permissions import Permission
from overseer.wire.agent import DeploymentHolding, FingerprintReport, HoldingsAnswer, HoldingsReport
from overseer.wire.deployments import ServiceState
from tests.integration.services.delivery import Agent, Delivery
from tests.integration.services.test_usage import SHOP, running, stocked
from tests.integration.services.world import World

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

HEALTHY = [running("web"), running("worker", "c2")]


@pytest.fixture
def delivery(world: World) -> Delivery:
    return Delivery(world)


async def deployed(delivery: Delivery, services: list[ServiceState] | None = None) -> tuple[Agent, str]:
    await stocked(delivery)
    agent = await delivery.enrolled()
    made = await delivery.deploy(SHOP)
    await agent.carry_out(services=HEALTHY if services is None else services)
    return agent, made.id


async def said(
    delivery: Delivery, agent: Agent, deployment_id: str, services: list[ServiceState], **values: str
) -> HoldingsAnswer:
    fingerprints = agent.fingerprints(deployment_id, values)
    holding = DeploymentHolding(deployment_id=deployment_id, fingerprints=fingerprints, services=services)
    return await delivery.drift.holdings(agent.again(), HoldingsReport(holdings=[holding]))


async def drift(delivery: Delivery, **filters: str) -> list[tuple[str, str | None, list[str]]]:
    page = await delivery.drift.drift(delivery.world.owner, **filters)
    return [(one.kind, one.reference, one.services) for one in page.items]


async def test_another_value_is_a_mismatch_until_it_is_right_again(delivery: Delivery) -> None:
    agent, made = await deployed(delivery)
    assert await drift(delivery) == []
    answer = await said(delivery, agent, made, HEALTHY, token="edited", key="v1")
    assert (answer.accepted, answer.stale) == ([made], [])
    assert await drift(delivery) == [("mismatch", "token", ["web"])]
    await said(delivery, agent, made, HEALTHY, token="v1")
    assert await drift(delivery) == []


async def test_one_wrong_container_of_several_is_a_mismatch(delivery: Delivery) -> None:
    agent, made = await deployed(delivery)
    reports = agent.fingerprints(made, {"token": "v1"}) + agent.fingerprints(made, {"token": "edited"})
    reports += [FingerprintReport(reference="key", service="worker", fingerprint="not base64!")]
    holding = DeploymentHolding(deployment_id=made, fingerprints=reports, services=HEALTHY)
    await delivery.drift.holdings(agent.again(), HoldingsReport(holdings=[holding]))
    assert await drift(delivery) == [("mismatch", "key", ["worker"]), ("mismatch", "token", ["web"])]


async def test_a_container_that_ran_and_does_not_is_gone(delivery: Delivery) -> None:
    job = running("job", "c3")
    agent, made = await deployed(delivery, [*HEALTHY, job, running("seed", "c4", "exited", 0)])
    await said(delivery, agent, made, [running("web"), running("job", "c3", "exited", 0)])
    assert await drift(delivery) == [("gone", None, ["worker"])]
    await said(delivery, agent, made, [running("web"), running("worker", "c2", "exited", 137), job])
    assert await drift(delivery) == [("gone", None, ["worker"])]
    await said(delivery, agent, made, [running("web", "other"), running("worker", "new"), job])
    assert await drift(delivery) == []


async def test_what_nobody_has_checked_for_long_is_said(delivery: Delivery) -> None:
    agent, made = await deployed(delivery)
    await delivery.world.sql("UPDATE deployment SET finished_at = now() - interval '31 minutes'")
    assert await drift(delivery) == [("unchecked", None, ["web", "worker"])]
    await said(delivery, agent, made, HEALTHY)
    assert await drift(delivery) == []


async def test_only_current_deployments_of_the_own_node_are_stored(delivery: Delivery) -> None:
    agent, first = await deployed(delivery)
    other = await delivery.enrolled("n2")
    other.fingerprint_keys = agent.fingerprint_keys
    answer = await said(delivery, other, first, [], token="edited")
    assert (answer.accepted, answer.stale) == ([], [first])
    second = (await delivery.deploy(SHOP)).id
    await agent.carry_out(services=HEALTHY)
    assert (await said(delivery, agent, first, [], token="edited")).stale == [first]
    assert (await said(delivery, agent, second, HEALTHY, token="v1")).accepted == [second]
    assert await drift(delivery) == []


async def test_only_news_leave_a_row(delivery: Delivery) -> None:
    agent, made = await deployed(delivery)
    stopped = [running("web"), running("worker", "c2", "exited", 1)]
    counts = []
    for services, value in ((HEALTHY, "v1"), (HEALTHY, "v1"), (HEALTHY, "edited"), (HEALTHY, "edited"), (stopped, "edited")):
        await said(delivery, agent, made, services, token=value)
        counts.append(len([r for r in await delivery.world.audit() if r["action"] == "node:holdings"]))
    assert counts == [1, 1, 2, 2, 3]


async def test_holdings_leave_one_row_and_no_fingerprint(delivery: Delivery) -> None:
    agent, made = await deployed(delivery)
    reports = agent.fingerprints(made, {"token": "v1"})
    holding = DeploymentHolding(deployment_id=made, fingerprints=reports, services=HEALTHY)
    caller = agent.again()
    await delivery.drift.holdings(caller, HoldingsReport(holdings=[holding]))
    assert [(r["action"], r["outcome"]) for r in await delivery.world.audit(caller)] == [("node:holdings", "allowed")]
    for table in ("deployment", "deployment_secret", "audit"):
        assert reports[0].fingerprint not in str(await delivery.world.sql(f"SELECT t::text FROM {table} t"))


async def test_a_tampered_version_is_named_and_not_called_a_match(delivery: Delivery) -> None:
    agent, made = await deployed(delivery)
    await delivery.world.sql("UPDATE secret_version SET ciphertext = set_byte(ciphertext, 20, get_byte(ciphertext, 20) # 1)")
    caller = agent.again()
    holding = DeploymentHolding(deployment_id=made, fingerprints=agent.fingerprints(made, {"token": "v1"}), services=[])
    with pytest.raises(DecryptionFailed, match="secret"):
        await delivery.drift.holdings(caller, HoldingsReport(holdings=[holding]))
    rows = await delivery.world.audit(caller)
    assert {(r["outcome"], r["code"]) for r in rows} == {("failed", "decryption_failed")}
    assert await delivery.world.sql("SELECT 1 FROM deployment WHERE checked_at IS NOT NULL") == []


async def test_bad_reports_are_refused(delivery: Delivery) -> None:
    agent, made = await deployed(delivery)
    one = DeploymentHolding(deployment_id=made)
    for holdings in ([one, one], [DeploymentHolding(deployment_id="x")], [one] * 201):
        with pytest.raises(InvalidInput):
            await delivery.drift.holdings(agent.again(), HoldingsReport(holdings=holdings))
    with pytest.raises(Denied):
        await delivery.drift.holdings(delivery.world.owner, HoldingsReport(holdings=[]))
    unknown = DeploymentHolding(deployment_id=str(uuid4()))
    assert (await delivery.drift.holdings(agent.again(), HoldingsReport(holdings=[unknown]))).stale == [unknown.deployment_id]


async def test_drift_is_shown_by_right_and_in_pages(delivery: Delivery) -> None:
    agent, made = await deployed(delivery)
    await said(delivery, agent, made, [], token="edited")
    second = await delivery.enrolled("n2")
    other = (await delivery.deploy(SHOP, node="n2")).id
    await second.carry_out(services=HEALTHY)
    await said(delivery, second, other, HEALTHY, key="edited")
    assert await drift(delivery, node="n1") == [("mismatch", "token", ["web"]), ("gone", None, ["web", "worker"])]
    assert await drift(delivery, app="blog") == []
    viewer = await delivery.world.service_account(frozenset({Permission.DEPLOYMENT_LIST}), node="n2")
    assert [one.node for one in (await delivery.drift.drift(viewer)).items] == ["n2"]
    first = await delivery.drift.drift(delivery.world.owner, limit=1)
    rest = await delivery.drift.drift(delivery.world.owner, limit=1, cursor=first.next_cursor)
    assert ([UUID(one.deployment_id) for one in first.items], rest.next_cursor) == ([UUID(other)], None)
    assert {one.deployment_id for one in rest.items} == {made}
    with pytest.raises(InvalidInput):
        await delivery.drift.drift(delivery.world.owner, cursor="x")

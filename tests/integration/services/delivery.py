"""The services around identities, nodes and deployments over a :class:`World`, and a node that plays its part with real keys."""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

import msgspec

from overseer.core.principals import Caller
from overseer.core.secret_value import SecretValue
from overseer.crypto.fingerprints import fingerprint
from overseer.crypto.keys import HmacKey
from overseer.crypto.node_assertions import make_assertion
from overseer.crypto.node_keys import NodeKeys, answer_challenge, prove_join
from overseer.crypto.sealed_bundle import BundleRequest, open_bundle
from overseer.crypto.tokens import token_hash
from overseer.server.services.agent_service import AgentService
from overseer.server.services.audit_service import AuditService
from overseer.server.services.bundle_service import BundleService
from overseer.server.services.compromise_service import CompromiseService
from overseer.server.services.deployment_service import DeploymentService
from overseer.server.services.drift_service import DriftService
from overseer.server.services.enrolment_service import EnrolmentService
from overseer.server.services.housekeeping import Housekeeping
from overseer.server.services.identity_service import IdentityService
from overseer.server.services.node_service import NodeService
from overseer.server.services.plan_service import PlanService
from overseer.server.services.rollout_driver import RolloutDriver
from overseer.server.services.rollout_service import RolloutService
from overseer.server.services.scope_service import ScopeService
from overseer.server.services.usage_service import UsageService
from overseer.wire.agent import (
    AgentTokenRequest,
    ConfirmRequest,
    DeploymentReport,
    EnrolAnswer,
    EnrolRequest,
    FingerprintReport,
    PollRequest,
    ReleaseAnswer,
    ReleasePayload,
    ReleaseRequest,
)
from overseer.wire.deployments import (
    BundleCreate,
    BundleFile,
    BundleView,
    DeploymentCreate,
    DeploymentView,
    ServiceState,
)
from overseer.wire.enrolment_token import parse_enrolment_token
from overseer.wire.scopes import EnrolmentTokenCreate
from tests.integration.services.world import World


@dataclass
class Delivery:
    """Everything from an identity to a released bundle."""

    world: World

    def __post_init__(self) -> None:
        world = self.world
        self.signal = world.signal
        self.driver = RolloutDriver(world.gate, self.signal)
        self.identity = IdentityService(world.gate, world.idempotency)
        self.scopes = ScopeService(world.gate, world.idempotency)
        self.nodes = NodeService(world.gate, world.keys, world.idempotency)
        self.enrolment = EnrolmentService(world.gate, world.keys)
        self.log = AuditService(world.gate)
        self.bundles = BundleService(world.gate, world.keys, world.idempotency)
        self.deployments = DeploymentService(
            world.gate, self.bundles, world.opener, world.idempotency, self.signal, world.sources
        )
        self.plans = PlanService(world.gate, world.keys, self.bundles, world.opener)
        self.agents = AgentService(world.gate, world.keys, world.opener, self.bundles, self.signal, self.driver)
        self.rollouts = RolloutService(world.gate, self.driver)
        self.usage = UsageService(world.gate)
        self.drift = DriftService(world.gate, world.keys, world.opener)
        self.compromise = CompromiseService(world.gate)
        self.housekeeping = Housekeeping(world.gate, self.driver)

    async def bundle(self, compose: str, *, caller: Caller | None = None, app: str = "shop", **files: str) -> BundleView:
        """Store a bundle with this compose.yaml and further files (``env_file`` is named app.env)."""
        sent = [BundleFile(path="compose.yaml", content=compose)]
        sent += [BundleFile(path=name.replace("_", "."), content=content) for name, content in files.items()]
        return await self.bundles.create_bundle(caller or self.world.owner, app, BundleCreate(files=sent))

    async def deploy(self, compose: str, *, caller: Caller | None = None, **fields: object) -> DeploymentView:
        """Store and deploy on ``n1`` in ``prod``."""
        bundle = await self.bundle(compose)
        body = DeploymentCreate(app="shop", node="n1", environment="prod", bundle=bundle.digest)
        return await self.deployments.create_deployment(caller or self.world.owner, msgspec.structs.replace(body, **fields))

    async def enrolled(self, name: str = "n1") -> Agent:
        """An agent of the node, enrolled through all three calls."""
        agent = Agent(self, name)
        await agent.join()
        await agent.confirm()
        await agent.authenticate()
        return agent


@dataclass
class Agent:
    """The node's side of the conversation, by hand."""

    delivery: Delivery
    node: str
    keys: NodeKeys = field(default_factory=NodeKeys.generate)
    token: SecretValue | None = None
    answer: EnrolAnswer | None = None
    nonce: bytes = field(default_factory=lambda: os.urandom(32))
    caller: Caller | None = None
    shown: NodeKeys | None = None
    fingerprint_keys: dict[str, HmacKey] = field(default_factory=dict)

    async def join(self, token: SecretValue | None = None) -> EnrolAnswer:
        """Enrol with a new enrolment token, or the given one."""
        delivery = self.delivery
        if token is None:
            made = await delivery.nodes.create_enrolment_token(delivery.world.owner, EnrolmentTokenCreate(node=self.node))
            token = parse_enrolment_token(SecretValue(made.token)).secret
        self.token = token
        proof = prove_join(self.keys, token_hash(token), self.nonce)
        request = EnrolRequest(
            token=token.reveal().decode(),
            encryption_key=b64((self.shown or self.keys).public.sealing),
            signing_key=b64((self.shown or self.keys).public.signing),
            nonce=b64(self.nonce),
            proof=b64(proof),
        )
        self.answer = await delivery.enrolment.enrol(delivery.world.caller(None), request)
        return self.answer

    async def confirm(self) -> None:
        """Answer the challenge."""
        assert self.answer is not None
        opened = answer_challenge(
            base64.b64decode(self.answer.challenge),
            self.keys,
            UUID(self.answer.instance_id),
            UUID(self.answer.node_id),
            self.nonce,
        )
        request = ConfirmRequest(key_id=self.answer.key_id, response=b64(opened))
        await self.delivery.enrolment.confirm(self.delivery.world.caller(None), request)

    async def assertion(self) -> str:
        """A fresh signed assertion by the database's clock."""
        assert self.answer is not None
        [row] = await self.delivery.world.sql("SELECT now() AS now")
        return make_assertion(UUID(self.answer.node_id), UUID(self.answer.instance_id), self.keys.signing, row["now"])

    async def authenticate(self, assertion: str | None = None) -> Caller:
        """A caller with a short token."""
        request = AgentTokenRequest(assertion=assertion or await self.assertion())
        answer = await self.delivery.enrolment.authenticate(self.delivery.world.caller(None), request)
        self.caller = self.again(token_hash(SecretValue(answer.access_token)))
        return self.caller

    def again(self, digest: bytes | None = None) -> Caller:
        """A new request of the same agent."""
        assert digest or self.caller
        return self.delivery.world.caller(digest or (self.caller.token_hash if self.caller else None))

    async def carry_out(
        self, state: str = "succeeded", *, holds: dict[str, str] | None = None, services: list[ServiceState] | None = None
    ) -> dict[str, dict[str, str]]:
        """Take all the work there is and end it in ``state``: the values got, by deployment and reference.

        ``holds`` are values that the containers hold instead of those.
        """
        done = {}
        for work in (await self.delivery.agents.poll(self.again(), PollRequest(wait_seconds=0))).work:
            deployment_id, reports = UUID(work.deployment_id), []
            done[work.deployment_id] = values = {}
            if work.action == "deploy":
                nonce = os.urandom(32)
                answer = await self.delivery.agents.release(self.again(), deployment_id, ReleaseRequest(nonce=b64(nonce)))
                payload = self.open(answer, work.deployment_id, nonce)
                self.fingerprint_keys[work.deployment_id] = HmacKey(payload.fingerprint_key)
                values |= {one.reference: one.value.decode() for one in payload.values}
                reports = self.fingerprints(work.deployment_id, values | (holds or {}))
            report = DeploymentReport(state=state, fingerprints=reports, services=services or [])
            await self.delivery.agents.report(self.again(), deployment_id, report)
        return done

    def fingerprints(self, deployment_id: str, values: dict[str, str]) -> list[FingerprintReport]:
        """What an agent says of containers that hold ``values``."""
        key = self.fingerprint_keys[deployment_id]
        return [
            FingerprintReport(reference=name, service="web", fingerprint=b64(fingerprint(key, name, SecretValue(value))))
            for name, value in values.items()
        ]

    def open(self, released: ReleaseAnswer, deployment_id: str, nonce: bytes) -> ReleasePayload:
        """What only this node can open."""
        assert self.answer is not None
        request = BundleRequest(UUID(self.answer.instance_id), UUID(self.answer.node_id), UUID(deployment_id), nonce)
        verify_key = base64.b64decode(self.answer.verify_key)
        plain = open_bundle(base64.b64decode(released.sealed), request, self.keys.sealing, verify_key, datetime.now(UTC))
        return msgspec.msgpack.decode(plain.reveal(), type=ReleasePayload)


def b64(data: bytes) -> str:
    """Standard base64 as text."""
    return base64.b64encode(data).decode()

"""The agent's conversation with the server, and the payload that travels sealed inside it.

``ReleasePayload`` is encoded with MessagePack and only ever exists inside an HPKE-sealed, signed bundle. Evolution rule: its
``format`` grows when a field changes its meaning; a reader refuses a format that it does not know.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from overseer.wire.deployments import ServiceState
from overseer.wire.messages import Answer, Request

PAYLOAD_FORMAT = 1


class EnrolRequest(Request, frozen=True):
    """Public keys (base64, 32 bytes each) and the proof that the node holds the signing key."""

    token: str
    encryption_key: str
    signing_key: str
    nonce: str
    proof: str
    agent_version: str = ""


class EnrolAnswer(Answer, frozen=True):
    """``challenge`` is HPKE-sealed to the node's encryption key: only its holder can confirm."""

    node_id: str
    node: str
    instance_id: str
    verify_key: str
    key_id: str
    challenge: str


class ConfirmRequest(Request, frozen=True):
    """The opened challenge (base64): proof of possession of the encryption key."""

    key_id: str
    response: str


class AgentTokenRequest(Request, frozen=True):
    """RFC 7523: a short-lived assertion signed by the node's key."""

    assertion: str


class AgentTokenAnswer(Answer, frozen=True):
    """``expires_in`` in seconds; ``server_time`` lets an agent see that its clock is off."""

    access_token: str
    expires_in: int
    server_time: datetime


class PollRequest(Request, frozen=True):
    """Wait up to ``wait_seconds`` (0 to 55) for work. ``busy``: the deployments that this agent is executing now.

    Every other unfinished deployment of the node is handed out, so an agent that was restarted gets interrupted work again.
    """

    wait_seconds: int = 25
    busy: list[str] = []
    agent_version: str = ""


class Work(Answer, frozen=True):
    """One deployment to execute. An agent that finds work it began before a crash gets it again."""

    deployment_id: str
    action: str
    app: str
    environment: str | None
    project: str
    wait_timeout: int
    attempt: int
    target: str = "compose"


class PollAnswer(Answer, frozen=True):
    work: list[Work]


class LostRequest(Request, frozen=True):
    """Deployments that run on the node and whose files are gone from its memory: the machine was restarted. At most 200."""

    deployments: list[str]


class LostAnswer(Answer, frozen=True):
    """Those of them that may be released once more, to be brought back as they were: nothing newer is known or under way."""

    refill: list[Work]


class KeysRequest(Request, frozen=True):
    """New public keys (base64, 32 bytes each), a nonce (32 bytes), signatures (64 bytes) by the old and by the new signing key.

    The answer's challenge is opened with the new encryption key and goes to ``/api/agent/confirm``; then the old keys are dead.
    """

    encryption_key: str
    signing_key: str
    nonce: str
    old_proof: str
    new_proof: str


class KeysAnswer(Answer, frozen=True):
    """``challenge`` is HPKE-sealed to the new encryption key."""

    key_id: str
    challenge: str


class ReleaseRequest(Request, frozen=True):
    """``nonce``: 16 or more random bytes, base64; it is bound into the sealed answer."""

    nonce: str


class ReleaseAnswer(Answer, frozen=True):
    """``sealed``: base64 of ``overseer.crypto.sealed_bundle``."""

    sealed: str
    expires_at: datetime


class PayloadFile(msgspec.Struct, frozen=True, kw_only=True):
    path: str
    content: bytes


class PayloadValue(msgspec.Struct, frozen=True, kw_only=True):
    """``reference`` as written (name, @version, #field); ``value`` already is the field where one was asked.

    ``secret_id`` tells apart what has the same name and version at two scopes, or after it was deleted and made anew.
    """

    reference: str
    name: str
    version: int
    value: bytes
    secret_id: str = ""

    def __repr__(self) -> str:
        return f"PayloadValue(reference={self.reference!r}, version={self.version})"


class ReleasePayload(msgspec.Struct, frozen=True, kw_only=True):
    format: int
    files: list[PayloadFile]
    compose_files: list[str]
    profiles: list[str]
    variables: dict[str, str]
    values: list[PayloadValue]
    fingerprint_key: bytes
    allow_persisting: bool

    def __repr__(self) -> str:
        return f"ReleasePayload(files={len(self.files)}, values={len(self.values)})"


class FingerprintReport(Request, frozen=True):
    """What one container holds for one reference, under the deployment's fingerprint key (base64)."""

    reference: str
    service: str
    fingerprint: str


class DeploymentReport(Request, frozen=True):
    """``state``: applying, succeeded or failed; ``output`` is redacted and at most 64 KiB."""

    state: str
    output: str = ""
    error: str = ""
    services: list[ServiceState] = []
    fingerprints: list[FingerprintReport] = []


class DeploymentHolding(Request, frozen=True):
    """What the containers of one deployment hold and how they are now; the fingerprints as in a report of that deployment.

    A service that the agent does not find any more is absent from ``services``; a reference that no container holds has no
    fingerprint.
    """

    deployment_id: str
    fingerprints: list[FingerprintReport] = []
    services: list[ServiceState] = []


class HoldingsReport(Request, frozen=True):
    """Sent now and then: one holding for each current deployment of the agent's node, at most 200 a report."""

    holdings: list[DeploymentHolding]


class HoldingsAnswer(Answer, frozen=True):
    """``accepted``: deployments whose holdings were stored. ``stale``: those that are not current on this node (any more).

    The answer never says what matched.
    """

    accepted: list[str]
    stale: list[str]

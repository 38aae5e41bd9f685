"""From a piece of work to its values: ask for the sealed payload, open it, check it.

Guarantee: what is returned was sealed to this node's key and signed by the pinned server key for this instance, node, deployment
and the nonce of this very call, and has not expired by this node's clock. The nonce is new for each call and forgotten with it.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol, TypeVar
from uuid import UUID

import msgspec

from overseer.agent.identity import Identity
from overseer.compose.grammar import Reference, scan
from overseer.core.errors import NodeProblem
from overseer.core.secret_value import SecretValue
from overseer.crypto.sealed_bundle import NONCE_BYTES, BundleRequest, open_bundle
from overseer.wire.agent import PAYLOAD_FORMAT, ReleaseAnswer, ReleasePayload, ReleaseRequest

Value = TypeVar("Value")


class Server(Protocol):
    """What a deployment needs of the server: ``overseer.agent.session.Session`` is one."""

    def post(self, path: str, body: msgspec.Struct, returns: type[Value], timeout: float = 30.0) -> Value: ...


def fetch_payload(
    server: Server, identity: Identity, deployment_id: str, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> ReleasePayload:
    """The payload of a deployment. Raises the server's refusals, ``open_bundle``'s, :class:`NodeProblem` for another format."""
    nonce = os.urandom(NONCE_BYTES)
    record = identity.record
    expected = BundleRequest(record.instance_id, record.node_id, _uuid(deployment_id), nonce)
    request = ReleaseRequest(nonce=base64.b64encode(nonce).decode("ascii"))
    answer = server.post(f"/api/agent/deployments/{expected.deployment_id}/release", request, ReleaseAnswer, timeout=60.0)
    try:
        blob = base64.b64decode(answer.sealed, validate=True)
    except (binascii.Error, ValueError):
        raise NodeProblem("the server's answer is not a sealed bundle") from None
    opened = open_bundle(blob, expected, identity.keys.sealing, record.verify_key, clock())
    try:
        payload = msgspec.msgpack.decode(opened.reveal(), type=ReleasePayload)
    except msgspec.MsgspecError:
        raise NodeProblem("the payload is of another version: agent and server must fit; upgrade the older one") from None
    if payload.format != PAYLOAD_FORMAT:
        raise NodeProblem("the payload's format is newer than this agent: upgrade it")
    return payload


def values_of(payload: ReleasePayload) -> dict[Reference, SecretValue]:
    """The values by reference; :class:`NodeProblem` where the server wrote one that is none."""
    values = {}
    for one in payload.values:
        tokens = scan("${SECRET:" + one.reference + "}").tokens
        if len(tokens) != 1 or str(tokens[0].reference) != one.reference:
            raise NodeProblem("the payload holds a value for something that is no reference")
        values[tokens[0].reference] = SecretValue(one.value)
    return values


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise NodeProblem("the server named a deployment that has no id") from None

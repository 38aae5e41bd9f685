"""The bundle of values that a server hands to one node for one deployment: sealed with HPKE, then signed by the server.

Guarantee: what opens was signed by the server key that the node pinned at enrolment, for this instance, this node, this
deployment and this very request (the agent's nonce), and has not expired. Each refusal has a code of its own. The signature
is checked before anything of the content is believed or decrypted.

Why it is safe: HPKE's base mode (RFC 9180) authenticates no sender, so an Ed25519 signature (RFC 8032) covers context *and*
ciphertext; stripping it and signing anew gains nothing where the node accepts one pinned key. The context is HPKE's ``info``
as well, so a ciphertext opens under no other context even if the server signed it by mistake. Both are framed and begin with
a label.

What it will not do: give forward secrecy against theft of the node's private key, or keep a nonce from being asked for twice
(the agent draws a new one for each request and forgets it with the answer).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from overseer.core.errors import DecryptionFailed, InvalidInput, NodeProblem, Problem
from overseer.core.secret_value import SecretValue
from overseer.crypto.framing import frame, unframe, unsigned
from overseer.crypto.hpke import SealingKey, seal_to
from overseer.crypto.signatures import SigningKey, verifies

#: What every sealed bundle begins with; the digit is the format.
_MAGIC: Final = b"overseer-bundle/"
_HEAD: Final = _MAGIC + b"1\n"
_INFO_LABEL: Final = b"overseer sealed bundle v1 hpke"
_SIGNATURE_LABEL: Final = b"overseer sealed bundle v1 signature"
NONCE_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class BundleRequest:
    """What the agent asked for and therefore knows: ``nonce`` is 32 random bytes of its own for this request."""

    instance_id: UUID
    node_id: UUID
    deployment_id: UUID
    nonce: bytes

    def __post_init__(self) -> None:
        if len(self.nonce) != NONCE_BYTES:
            raise InvalidInput(f"a request nonce has {NONCE_BYTES} bytes")


@dataclass(frozen=True, slots=True)
class BundleContext:
    """A request and when its answer ends (aware, counted in whole seconds)."""

    request: BundleRequest
    expires_at: datetime

    def framed(self) -> bytes:
        r = self.request
        expiry = unsigned(int(self.expires_at.timestamp()))
        return frame(r.instance_id.bytes, r.node_id.bytes, r.deployment_id.bytes, r.nonce, expiry)

    @classmethod
    def parse(cls, framed: bytes) -> BundleContext:
        """The context of ``framed``; ValueError for anything else."""
        instance, node, deployment, nonce, expiry = unframe(framed, 5)
        if len(nonce) != NONCE_BYTES or len(expiry) != 8:
            raise ValueError("a field of the context has the wrong length")
        request = BundleRequest(UUID(bytes=instance), UUID(bytes=node), UUID(bytes=deployment), nonce)
        return cls(request, datetime.fromtimestamp(int.from_bytes(expiry, "big"), UTC))


def seal_bundle(plaintext: SecretValue, context: BundleContext, node_public: bytes, signing_key: SigningKey) -> bytes:
    """The sealed and signed bundle: ``head || frame(context, signature, HPKE)``. :class:`InvalidInput` for an unusable node key.

    Evolution rule: the head names the format and both labels repeat it. Another suite, signature or context is a new number;
    an agent refuses a number it does not know (``newer_format``). Nothing is
    stored in this form for long; ``tests/vectors/sealed-bundle-v1.json`` must open nevertheless.
    """
    framed = context.framed()
    sealed = seal_to(node_public, plaintext, frame(_INFO_LABEL, framed))
    return _HEAD + frame(framed, signing_key.sign(frame(_SIGNATURE_LABEL, framed, sealed)), sealed)


def open_bundle(
    blob: bytes, expected: BundleRequest, node_private: SealingKey, server_public: bytes, now: datetime
) -> SecretValue:
    """The plaintext of a bundle that answers ``expected``.

    Raises :class:`NodeProblem` whose one problem has the code ``not_a_bundle``, ``newer_format``, ``bad_signature``,
    ``other_instance``, ``other_node``, ``other_deployment``, ``other_nonce`` or ``expired``; :class:`DecryptionFailed` where a
    signed bundle does not open with ``node_private`` (the server knows another key of this node).
    """
    framed, signature, sealed = _parts(blob)
    if not verifies(server_public, signature, frame(_SIGNATURE_LABEL, framed, sealed)):
        raise _refusal("bad_signature", "it was not signed by the server key that this node pinned at enrolment")
    try:
        context = BundleContext.parse(framed)
    except (ValueError, OverflowError, OSError):
        raise _refusal("not_a_bundle", "its context cannot be read") from None
    _check_request(context.request, expected)
    if now >= context.expires_at:
        raise _refusal(
            "expired",
            f"it ended at {context.expires_at:%Y-%m-%dT%H:%M:%SZ} and this node's clock says "
            f"{now.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}; ask again, and if that does not help set the clocks",
        )
    try:
        return node_private.open(sealed, frame(_INFO_LABEL, framed))
    except DecryptionFailed:
        raise DecryptionFailed("a signed bundle does not open with this node's key; enrol the node again") from None


def _parts(blob: bytes) -> tuple[bytes, bytes, bytes]:
    if not blob.startswith(_HEAD):
        if blob.startswith(_MAGIC):
            raise _refusal("newer_format", "its format is not known to this version of the agent; upgrade the agent")
        raise _refusal("not_a_bundle", "the answer is not a sealed bundle")
    try:
        framed, signature, sealed = unframe(blob[len(_HEAD) :], 3)
    except ValueError:
        raise _refusal("not_a_bundle", "it is cut or damaged") from None
    return framed, signature, sealed


def _check_request(found: BundleRequest, expected: BundleRequest) -> None:
    if found.instance_id != expected.instance_id:
        raise _refusal("other_instance", "it comes from another instance")
    if found.node_id != expected.node_id:
        raise _refusal("other_node", "it is for another node")
    if found.deployment_id != expected.deployment_id:
        raise _refusal("other_deployment", "it is for another deployment")
    if found.nonce != expected.nonce:  # a public random number: nothing to learn from the time of this comparison
        raise _refusal("other_nonce", "it answers another request (a replay)")


def _refusal(code: str, rule: str) -> NodeProblem:
    return NodeProblem(f"a sealed bundle was refused: {rule}", problems=[Problem("bundle", rule, code)])

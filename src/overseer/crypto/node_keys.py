"""The keys of a node and how it proves at enrolment that it has them.

A node makes two keys that never leave it: X25519 to receive sealed bundles, Ed25519 to sign. Enrolment is two calls over TLS
with the pinned instance CA:

1. *join*: the node sends its public keys, a nonce of its own and an Ed25519 signature over (hash of the enrolment token, both
   public keys, nonce). That proves the signing key and ties both keys to the token. The server answers with a challenge: 32
   random bytes, HPKE-sealed to the X25519 key, bound to (instance, node, both public keys, nonce). It keeps SHA-256 of them.
2. *confirm*: the node returns the opened challenge. Only the holder of the X25519 key can. The node is live from here; the
   token is used up. A lost answer to either call is repeated with the same keys; a new challenge replaces the last.

Later a node may replace its keys: its session, a signature by the old signing key and one by the new stand in for the token, and
*confirm* is the same; the old keys are dead from there.

Guarantee: a node cannot enrol with a key it does not hold, nor have another node open its challenge: the other one opens only
challenges bound to its own signing key and nonce. What it will not do: protect a private key on the node's disk (0600 files do).
"""

from __future__ import annotations

import hashlib
import hmac
import os
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from overseer.core.errors import InvalidInput, KeyProblem
from overseer.core.secret_value import SecretValue
from overseer.crypto.framing import frame
from overseer.crypto.hpke import SealingKey, seal_to
from overseer.crypto.signatures import SigningKey, verifies

_FILE_HEAD: Final = b"overseer node keys v1\n"
_JOIN_LABEL: Final = b"overseer enrolment join v1"
_ROTATION_LABEL: Final = b"overseer node key rotation v1"
_CHALLENGE_LABEL: Final = b"overseer enrolment challenge v1"
_CHALLENGE_BYTES: Final = 32
NONCE_BYTES: Final = 32
TOKEN_HASH_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class NodePublicKeys:
    """The public halves, 32 bytes each: what the server stores."""

    sealing: bytes
    signing: bytes

    def __post_init__(self) -> None:
        if len(self.sealing) != 32 or len(self.signing) != 32:
            raise InvalidInput("a node's public keys have 32 bytes each")


@dataclass(frozen=True, slots=True)
class NodeKeys:
    """The private keys of a node."""

    sealing: SealingKey
    signing: SigningKey

    @classmethod
    def generate(cls) -> NodeKeys:
        """New random keys."""
        return cls(SealingKey.generate(), SigningKey.generate())

    @property
    def public(self) -> NodePublicKeys:
        return NodePublicKeys(self.sealing.public, self.signing.public)

    def serialise(self) -> SecretValue:
        """The content of the agent's key file: a head line, then 32 + 32 raw bytes (sealing, signing).

        Evolution rule: other keys or another order get a head with a new number; every number ever released stays readable.
        """
        return SecretValue(_FILE_HEAD + self.sealing.reveal() + self.signing.reveal())

    @classmethod
    def parse(cls, content: SecretValue) -> NodeKeys:
        """What :meth:`serialise` gave, else :class:`KeyProblem`."""
        data = content.reveal()
        start = len(_FILE_HEAD)
        if not data.startswith(_FILE_HEAD) or len(data) != start + 64:
            raise KeyProblem("the node's key file is damaged or of a newer version; restore it, or enrol the node again")
        return cls(SealingKey(data[start : start + 32]), SigningKey(data[start + 32 :]))


@dataclass(frozen=True, slots=True)
class Challenge:
    """What the server sends (``sealed``) and what it keeps to compare the answer with (``answer_hash``, SHA-256)."""

    sealed: bytes
    answer_hash: bytes


def prove_join(keys: NodeKeys, enrolment_token_hash: bytes, nonce: bytes) -> bytes:
    """The node's Ed25519 signature for *join*; ``enrolment_token_hash`` is SHA-256 of the token, ``nonce`` 32 random bytes."""
    return keys.signing.sign(_join_message(keys.public, enrolment_token_hash, nonce))


def join_is_proven(public: NodePublicKeys, enrolment_token_hash: bytes, nonce: bytes, signature: bytes) -> bool:
    """True where ``signature`` proves possession of ``public.signing`` for exactly these keys, token and nonce."""
    if len(nonce) != NONCE_BYTES or len(enrolment_token_hash) != TOKEN_HASH_BYTES:
        return False
    return verifies(public.signing, signature, _join_message(public, enrolment_token_hash, nonce))


def prove_rotation(signer: SigningKey, new: NodePublicKeys, instance_id: UUID, node_id: UUID, nonce: bytes) -> bytes:
    """A signature for replacing a node's keys by ``new``: one by the old signing key and one by the new are needed."""
    return signer.sign(_rotation_message(new, instance_id, node_id, nonce))


def rotation_is_proven(
    old_signing: bytes, new: NodePublicKeys, instance_id: UUID, node_id: UUID, nonce: bytes, signatures: tuple[bytes, bytes]
) -> bool:
    """True where ``signatures`` (by the old key, by the new key) allow exactly ``new`` for exactly this node and nonce."""
    if len(nonce) != NONCE_BYTES:
        return False
    message = _rotation_message(new, instance_id, node_id, nonce)
    return verifies(old_signing, signatures[0], message) and verifies(new.signing, signatures[1], message)


def new_challenge(public: NodePublicKeys, instance_id: UUID, node_id: UUID, nonce: bytes) -> Challenge:
    """A challenge that only the holder of ``public.sealing`` can answer; :class:`InvalidInput` for an unusable key."""
    answer = os.urandom(_CHALLENGE_BYTES)
    sealed = seal_to(public.sealing, SecretValue(answer), _challenge_info(public, instance_id, node_id, nonce))
    return Challenge(sealed, hashlib.sha256(answer).digest())


def answer_challenge(sealed: bytes, keys: NodeKeys, instance_id: UUID, node_id: UUID, nonce: bytes) -> bytes:
    """The node's answer for *confirm*; :class:`DecryptionFailed` where the challenge was made for other keys or another join."""
    return keys.sealing.open(sealed, _challenge_info(keys.public, instance_id, node_id, nonce)).reveal()


def answer_is_right(answer: bytes, answer_hash: bytes) -> bool:
    """Compares in constant time. The answer has 256 random bits, so its plain hash cannot be turned back."""
    return hmac.compare_digest(hashlib.sha256(answer).digest(), answer_hash)


def _join_message(public: NodePublicKeys, token_hash: bytes, nonce: bytes) -> bytes:
    return frame(_JOIN_LABEL, token_hash, public.sealing, public.signing, nonce)


def _rotation_message(new: NodePublicKeys, instance_id: UUID, node_id: UUID, nonce: bytes) -> bytes:
    return frame(_ROTATION_LABEL, instance_id.bytes, node_id.bytes, new.sealing, new.signing, nonce)


def _challenge_info(public: NodePublicKeys, instance_id: UUID, node_id: UUID, nonce: bytes) -> bytes:
    return frame(_CHALLENGE_LABEL, instance_id.bytes, node_id.bytes, public.sealing, public.signing, nonce)

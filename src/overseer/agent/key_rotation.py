"""``overseer agent rotate-keys``: new keys for this node, proven by the old and the new ones; then the old ones are dead.

Guarantees: the new private keys are on disk before the server hears of them and never leave the node; whatever is interrupted, by
a lost answer too, either set of keys that the server holds in force is on disk. A running agent goes on: it reads the keys again
when the server no longer takes those that it has.
"""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Final

from overseer.agent.identity import Identity, load_identity, load_keys, pending_keys, promote_keys
from overseer.agent.session import Session
from overseer.core.errors import ConfigurationProblem, NodeProblem
from overseer.crypto.node_keys import NONCE_BYTES, answer_challenge, prove_rotation
from overseer.wire.agent import ConfirmRequest, KeysAnswer, KeysRequest
from overseer.wire.scopes import NodeView

_BAD_CHALLENGE: Final = "the server's challenge is not base64"


def rotate_keys(directory: Path) -> str:
    """Replace the keys of the node that is enrolled in ``directory``; returns the node's name.

    Raises :class:`ConfigurationProblem` where there is none, and the server's refusals: then the old keys go on, and the call can
    be repeated.
    """
    identity = load_identity(directory)
    if identity is None:
        raise ConfigurationProblem("this machine is no node: there are no keys to rotate")
    session = open_session(identity, directory)
    try:
        session.authenticate()  # promotes keys that an interrupted rotation left and the server has in force
        _rotate(session, directory)
    finally:
        session.close()
    return identity.record.node


def _rotate(session: Session, directory: Path) -> None:
    identity = session.identity
    record, new, nonce = identity.record, pending_keys(directory), os.urandom(NONCE_BYTES)
    proofs = [
        prove_rotation(keys.signing, new.public, record.instance_id, record.node_id, nonce) for keys in (identity.keys, new)
    ]
    request = KeysRequest(
        encryption_key=_text(new.public.sealing),
        signing_key=_text(new.public.signing),
        nonce=_text(nonce),
        old_proof=_text(proofs[0]),
        new_proof=_text(proofs[1]),
    )
    answer = session.post("/api/agent/keys", request, KeysAnswer)
    try:
        sealed = base64.b64decode(answer.challenge, validate=True)
    except ValueError:
        raise NodeProblem(_BAD_CHALLENGE) from None
    opened = answer_challenge(sealed, new, record.instance_id, record.node_id, nonce)
    session.post("/api/agent/confirm", ConfirmRequest(key_id=answer.key_id, response=_text(opened)), NodeView)
    promote_keys(directory, new)


def open_session(identity: Identity, directory: Path) -> Session:
    """A session that goes on with the keys in ``directory`` where those of ``identity`` are not in force any more."""

    def promote(found: Identity) -> None:
        waiting = load_keys(directory, pending=True)
        if waiting is not None and waiting.public == found.keys.public:
            promote_keys(directory, waiting)

    return Session(identity, identity_again=lambda: identity_again(directory), promote=promote)


def identity_again(directory: Path) -> list[Identity]:
    """The identities that this node may have now: the keys on disk, then those of a rotation that was interrupted."""
    found = load_identity(directory)
    if found is None:
        return []
    waiting = load_keys(directory, pending=True)
    return [found] if waiting is None else [found, Identity(found.record, waiting, found.ca_file)]


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")

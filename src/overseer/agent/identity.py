"""Who this node is: what enrolment left in the agent's directory.

``node.json`` (0600) names server, instance, node and the pinned keys; ``node.keys`` (0600) holds the private keys, which never
leave the node, and ``node.keys.new`` those of a rotation that is under way; ``ca.pem`` is the pinned CA where the server speaks
TLS.

Evolution rule: ``node.json`` may get more fields, a reader ignores those it does not know; a change of meaning raises ``format``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID

import msgspec

from overseer.agent.private_files import private_directory, read_private, write_private
from overseer.core.errors import ConfigurationProblem, KeyProblem
from overseer.core.secret_value import SecretValue
from overseer.crypto.node_keys import NodeKeys

FORMAT: Final = 1
_NODE, _KEYS, _CA = "node.json", "node.keys", "ca.pem"
_PENDING: Final = "node.keys.new"


class NodeRecord(msgspec.Struct, frozen=True, kw_only=True):
    """``verify_key``: the server's Ed25519 key for bundles. ``token_hash``: SHA-256 of the enrolment token that was used."""

    format: int
    url: str
    node: str
    node_id: UUID
    instance_id: UUID
    key_id: str
    verify_key: bytes
    token_hash: bytes
    ca_file: bool


@dataclass(frozen=True, slots=True)
class Identity:
    """An enrolled node. ``ca_file`` is the only CA to trust, ``None`` on plain loopback."""

    record: NodeRecord
    keys: NodeKeys
    ca_file: Path | None


def load_identity(directory: Path) -> Identity | None:
    """What :func:`store_record` left, ``None`` before enrolment; :class:`KeyProblem` where the keys are damaged or gone."""
    raw = read_private(directory / _NODE)
    if raw is None:
        return None
    try:
        record = msgspec.json.decode(raw, type=NodeRecord)
    except msgspec.MsgspecError:
        raise ConfigurationProblem(f"{directory / _NODE} is damaged: restore it, or enrol the node again") from None
    if record.format != FORMAT:
        raise ConfigurationProblem(f"{directory / _NODE} was written by a newer version: upgrade the agent")
    keys = load_keys(directory)
    if keys is None:
        raise KeyProblem(f"{directory / _KEYS} is missing: restore it, or enrol the node again")
    return Identity(record, keys, directory / _CA if record.ca_file else None)


def load_keys(directory: Path, *, pending: bool = False) -> NodeKeys | None:
    """The private keys, or those of a rotation that is under way; ``None`` where there are none."""
    content = read_private(directory / (_PENDING if pending else _KEYS))
    return None if content is None else NodeKeys.parse(SecretValue(content))


def make_keys(directory: Path) -> NodeKeys:
    """The keys of the directory, new ones where there are none: they are on disk before the server hears of them."""
    private_directory(directory)
    keys = load_keys(directory)
    if keys is None:
        keys = NodeKeys.generate()
        write_private(directory / _KEYS, keys.serialise().reveal())
    return keys


def pending_keys(directory: Path) -> NodeKeys:
    """The keys of a rotation, new ones where none is under way: on disk before the server hears of them."""
    keys = load_keys(directory, pending=True)
    if keys is None:
        keys = NodeKeys.generate()
        write_private(directory / _PENDING, keys.serialise().reveal())
    return keys


def promote_keys(directory: Path, keys: NodeKeys) -> None:
    """``keys`` are the node's from now on; doing it twice, or in two processes, changes nothing more."""
    write_private(directory / _KEYS, keys.serialise().reveal())
    (directory / _PENDING).unlink(missing_ok=True)


def store_record(directory: Path, record: NodeRecord, ca_pem: bytes | None) -> None:
    """Remember an enrolment; ``node.json`` comes last, for it is what makes the node enrolled."""
    if ca_pem is not None:
        write_private(directory / _CA, ca_pem)
    write_private(directory / _NODE, msgspec.json.encode(record))


def store_ca(directory: Path, ca_pem: bytes) -> Path:
    """The pinned CA, needed for the first request already."""
    write_private(directory / _CA, ca_pem)
    return directory / _CA

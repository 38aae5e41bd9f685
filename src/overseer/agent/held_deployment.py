"""What this node keeps of the deployment that runs, in memory-backed files only: enough to go back to it and to prove it.

Going back needs Compose's filled model and the files that the bundle shipped (the sets of secret files lie beside it already);
proof needs fingerprints, not values. Everything is gone after a restart of the machine: the agent then asks for the deployment
once more.

Guarantees: one file, 0600 below the project's closed directory, replaced in one step; nothing of it shows in a repr.
Evolution rule: ``format`` grows when a field changes its meaning; what cannot be read counts as missing.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Final

import msgspec

from overseer.compose.reload import Reload
from overseer.core.secret_value import SecretValue

FORMAT: Final = 1


class HeldPlace(msgspec.Struct, frozen=True, kw_only=True):
    """A variable or a file of a service. ``expected`` is a fingerprint of all of it, ``fingerprints`` are those by reference."""

    service: str
    variable: str = ""
    file: str = ""
    expected: bytes
    fingerprints: dict[str, bytes]


class HeldDeployment(msgspec.Struct, frozen=True, kw_only=True):
    """``directories`` are those of secret files; ``model`` is the text for ``docker compose -f -``, with values; ``values`` are
    kept to be taken out of what containers and Compose say. ``granted``: of a stack, by service and reference, the names of the
    Swarm's secrets."""

    format: int
    deployment_id: str
    model: bytes
    values: list[bytes]
    shipped: dict[str, bytes]
    directories: list[str]
    reloads: dict[str, Reload]
    fingerprint_key: bytes
    places: list[HeldPlace]
    granted: dict[str, dict[str, str]] = {}

    def __repr__(self) -> str:
        return f"HeldDeployment(deployment_id={self.deployment_id!r}, places={len(self.places)})"

    @property
    def text(self) -> SecretValue:
        return SecretValue(self.model)


def read_held(path: Path) -> HeldDeployment | None:
    """What :func:`write_held` left; ``None`` where there is none that can be read."""
    try:
        held = msgspec.msgpack.decode(path.read_bytes(), type=HeldDeployment)
    except (OSError, msgspec.MsgspecError):
        return None
    return held if held.format == FORMAT else None


def write_held(path: Path, held: HeldDeployment) -> None:
    """Replace ``path``. Raises :class:`OSError` where memory is full; then the old content is there."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(msgspec.msgpack.encode(held))
        fresh.rename(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise

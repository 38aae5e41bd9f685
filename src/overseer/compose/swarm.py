"""What Swarm does otherwise than plain Compose, as far as both who plans and who deploys has to know it.

A Swarm secret cannot change, so each version of a secret is one of its own, with a name that tells the version.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

COMPOSE: Final = "compose"
SWARM: Final = "swarm"
"""The targets of a deployment."""

#: SwarmKit's own limit (api/validation).
MAX_NAME: Final = 64
_UNFIT: Final = re.compile(r"[^A-Za-z0-9_.-]")
_DIGEST: Final = 8

ONLY_EXTERNAL: Final = (
    "a Swarm runs tasks on any node, and this file would lie on one: name the secret under 'secrets:' with 'external: true'"
)
NOT_SHIPPED: Final = "a Swarm runs tasks on any node, and files of the bundle lie on one: use an image or a volume"
NOT_BUILT: Final = "a Swarm takes images from a registry: build and push it beforehand"


def secret_name(project: str, secret: str, version: int, secret_id: str) -> str:
    """``PROJECT_SECRET.vVERSION.DIGEST``, the front part cut to fit. The digest is of its identity, not of its value."""
    identity = "\0".join((project, secret_id, secret, str(version)))
    end = f".v{version}.{hashlib.sha256(identity.encode()).hexdigest()[:_DIGEST]}"
    return _UNFIT.sub("-", f"{project}_{secret}")[: MAX_NAME - len(end)] + end

"""Tokens of the Vault double as OpenBao answers about them: logins, looks at oneself, renewals, new ones."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

NEVER = float("inf")


@dataclass
class Token:
    """A live token: what it may do, and how often it may still be used (0: as often as it likes).

    ``ends_at`` is on the server's clock, ``lease`` in seconds (0: none), ``path`` what made it.
    """

    policies: tuple[str, ...]
    uses: int = 0
    accessor: str = field(default_factory=lambda: secrets.token_hex(12))
    ends_at: float = NEVER
    lease: int = 0
    path: str = "auth/token/create"
    metadata: dict[str, str] | None = None
    created: int = field(default_factory=lambda: int(time.time()))

    @property
    def shown_policies(self) -> list[str]:
        """Every token has ``default`` as well, root's alone does not."""
        return sorted({"default", *self.policies}) if self.policies != ("root",) else ["root"]

    def lent(self, text: str) -> dict[str, Any]:
        """``auth`` of the answer to a login, a renewal or the making of a token."""
        made_by_login = not self.path.startswith("auth/token/")
        return {
            "client_token": text,
            "accessor": self.accessor,
            "policies": self.shown_policies,
            "token_policies": self.shown_policies,
            "metadata": self.metadata,
            "lease_duration": self.lease,
            "renewable": True,
            "entity_id": secrets.token_hex(16) if made_by_login else "",
            "token_type": "service",
            "orphan": made_by_login,
            "mfa_requirement": None,
            "num_uses": self.uses,
        }

    def looked_at(self, text: str, left: float) -> dict[str, Any]:
        """``data`` of ``lookup-self``; ``left``: seconds of its lease."""
        seconds = int(left) if self.lease else 0
        expires = (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat() if self.lease else None
        shown = {
            "accessor": self.accessor,
            "creation_time": self.created,
            "creation_ttl": self.lease,
            "display_name": self.path.split("/")[1] if self.lease else "root",
            "entity_id": "" if self.path.startswith("auth/token/") else secrets.token_hex(16),
            "expire_time": expires,
            "explicit_max_ttl": 0,
            "id": text,
            "meta": self.metadata,
            "num_uses": self.uses,
            "orphan": not self.lease or not self.path.startswith("auth/token/"),
            "path": self.path,
            "policies": self.shown_policies,
            "ttl": seconds,
            "type": "service",
        }
        issued = datetime.fromtimestamp(self.created, UTC).isoformat()
        return shown | ({"issue_time": issued, "renewable": True} if self.lease else {})

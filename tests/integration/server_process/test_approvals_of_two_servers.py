"""One approval and two server processes: of many uses at once, whichever server they come to, exactly one is let through."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import asyncpg
import pytest

from overseer.crypto.tokens import TokenPrefix, new_token
from tests.integration.server_process.installation import Installation
from tests.integration.server_process.test_two_servers import Pair, pair

__all__ = ["pair"]
pytestmark = pytest.mark.postgres

ANYWHERE = {"app": "*", "environment": "*", "node": "*"}


def person(installation: Installation, pair: Pair) -> str:
    """The token of a new user who owns everything."""
    user = pair.change("POST", "/api/users", name=f"ann-{uuid4().hex[:8]}")
    pair.change("POST", "/api/bindings", role="owner", principal=user["name"], name="*", **ANYWHERE)
    text, digest = new_token(TokenPrefix.API)

    async def insert() -> None:
        connection = await asyncpg.connect(installation.url)
        statement = "INSERT INTO token (hash, id, principal_id, expires_at) VALUES ($1, $2, $3, now() + interval '1 hour')"
        await connection.execute(statement, digest, uuid4(), UUID(user["id"]))
        await connection.close()

    asyncio.run(insert())
    return text.reveal().decode()


def test_of_twenty_uses_on_two_servers_one_is_let_through(installation: Installation, pair: Pair) -> None:
    name = f"guarded-{hashlib.sha256(uuid4().bytes).hexdigest()[:8]}"
    secret = pair.change("POST", "/api/secrets", name=name, value="hush")["id"]
    # The owner has made whom it asks, a moment before.
    policy = {"title": name, "actions": ["reveal"], "name": name, "distance_days": 0, **ANYWHERE}
    pair.change("POST", "/api/approval-policies", **policy)
    ann = person(installation, pair)
    assert pair.reveal(pair.owner, secret) == (403, "approval_required")
    asked = pair.change("POST", "/api/approvals", action="reveal", secret_id=secret, reason="it is needed")
    own = pair.other.request("POST", f"/api/approvals/{asked['id']}/decision", pair.owner, json={"decision": "approve"})
    assert own.status_code == 403
    decided = pair.other.request("POST", f"/api/approvals/{asked['id']}/decision", ann, json={"decision": "approve"})
    assert decided.json()["state"] == "approved", decided.text

    def use(number: int) -> tuple[int, str]:
        server = (pair.one, pair.other)[number % 2]
        answer = server.request("POST", f"/api/secrets/{secret}/value", pair.owner, json={})
        return answer.status_code, answer.json().get("value") or answer.json()["code"]

    with ThreadPoolExecutor(20) as threads:
        found = Counter(threads.map(use, range(20)))
    assert found[200, "hush"] == 1, found
    assert found[403, "approval_required"] + found[429, "rate_limited"] == 19, found
    assert pair.one.get(f"/api/approvals/{asked['id']}", pair.owner).json()["state"] == "used"

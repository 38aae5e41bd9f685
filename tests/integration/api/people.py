"""Asking the server as somebody, and making somebodies."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

import httpx


@dataclass
class Server:
    http: httpx.AsyncClient
    owner: str

    async def ask(self, method: str, path: str, token: str | None = None, **options: Any) -> httpx.Response:
        """One request with a bearer token ("" for none, None for the owner's)."""
        token = self.owner if token is None else token
        headers = {"authorization": f"Bearer {token}"} if token else {}
        return await self.http.request(method, path, headers=headers | options.pop("headers", {}), **options)

    async def made(self, path: str, **body: Any) -> Any:
        """What a POST of the owner made."""
        answer = await self.ask("POST", path, json=body)
        assert answer.status_code == 201, answer.text
        return answer.json()

    async def powerless(self) -> str:
        """The token of a service account without a binding."""
        name = f"account-{uuid.uuid4().hex[:8]}"
        await self.made("/api/service-accounts", name=name)
        token: str = (await self.made("/api/tokens", principal=name))["token"]
        return token

    async def audit(self, request_id: str) -> list[dict[str, Any]]:
        """The audit rows of one request."""
        rows: list[dict[str, Any]] = (await self.ask("GET", f"/api/audit?request_id={request_id}")).json()["items"]
        return rows

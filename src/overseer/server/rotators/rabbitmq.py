"""RabbitMQ by its management API: one user, or two that take turns.

Passwords are sent as RabbitMQ keeps them, salted SHA-256, and are in no body. With one user the old password is refused from
``apply`` on, for new connections; with two the other one gets a password, and the old one none (which refuses every password)
when it is retired. Tags and permissions stay: both users need them beforehand. The administrator needs the tag ``administrator``.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from overseer.core.secret_value import SecretValue
from overseer.server.address_rules import AddressRule
from overseer.server.outgoing import Answer, Outgoing, OutgoingFailure
from overseer.server.rotators.contract import Change, Login, admin_login, failed, read_target

KIND: Final = "RabbitMQ"
#: The management API is for users with a tag of it alone; it says so to others, once their password was found right.
_RIGHT_BUT_NO_MANAGER: Final = "not management user"


class RabbitmqRotator:
    """See the module's text."""

    def __init__(self, fields: Mapping[str, Any], rule: AddressRule) -> None:
        self._fields = fields
        self._target = read_target(fields, ("https", "http"))
        self._outgoing = Outgoing(KIND, allow_private=False, rule=rule, ca_pem=self._target.ca)
        self.both_work = len(self._target.users) == 2

    def compose(self, current: SecretValue, fresh: SecretValue) -> SecretValue:
        return self._target.next_value(current, fresh)

    async def apply(self, change: Change) -> None:
        await self._give(change, self._target.login(change.new), "apply")

    async def verify(self, change: Change) -> None:
        answer = await self._ask("verify", "GET", "whoami", self._target.login(change.new))
        reason = str(answer.json.get("reason", "")).lower() if isinstance(answer.json, dict) else ""
        if answer.status != 200 and not (answer.status == 401 and reason == _RIGHT_BUT_NO_MANAGER):
            raise failed(KIND, "verify", "it refuses the new login")

    async def retire(self, change: Change) -> None:
        if self.both_work:
            await self._put(change, self._target.login(change.old).username, "", "retire")

    async def revert(self, change: Change) -> None:
        if self.both_work:
            await self._put(change, self._target.login(change.new).username, "", "revert")
        else:
            await self._give(change, self._target.login(change.old), "revert")

    async def _give(self, change: Change, login: Login, step: str) -> None:
        await self._put(change, login.username, password_hash(login.password), step)

    async def _put(self, change: Change, username: str, hashed: str, step: str) -> None:
        admin, path = admin_login(change, self._fields), f"users/{quote(username, safe='')}"
        known = await self._ask(step, "GET", path, admin)
        if known.status != 200 or not isinstance(known.json, dict):
            raise failed(KIND, step, "the user does not exist there, or the administrator may not see it")
        algorithm, tags = "rabbit_password_hashing_sha256", known.json.get("tags", "")
        body = {"password_hash": hashed, "hashing_algorithm": algorithm, "tags": tags}
        answer = await self._ask(step, "PUT", path, admin, json.dumps(body).encode())
        if answer.status not in (201, 204):
            raise failed(KIND, step)

    async def _ask(self, step: str, method: str, path: str, login: Login, body: bytes | None = None) -> Answer:
        url = self._target.url._replace(path=self._target.url.path.rstrip("/") + "/api/" + path, query="").geturl()
        pair = base64.b64encode(login.username.encode() + b":" + login.password.reveal()).decode()  # RFC 7617
        headers = {"authorization": f"Basic {pair}", "content-type": "application/json"}
        try:
            async with self._outgoing.opened() as connections:
                return await connections.send(method, url, headers=headers, content=body)
        except OutgoingFailure as failure:
            raise failed(KIND, step, failure.why) from None


def password_hash(password: SecretValue, salt: bytes | None = None) -> str:
    """``base64(salt + SHA-256(salt + password))`` with four bytes of salt, which is RabbitMQ's form."""
    salt = os.urandom(4) if salt is None else salt
    return base64.b64encode(salt + hashlib.sha256(salt + password.reveal()).digest()).decode()

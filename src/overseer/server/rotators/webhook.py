"""Any other source, behind a program of yours: each step is one signed request, answered with 2xx when it is done.

The body is JSON: ``step`` (apply, verify, retire, revert), ``run``, ``secret`` (id), ``name``, ``old_version``, ``new_version``,
and ``value`` (the new one for apply and verify) or ``old_value`` (for revert). It is signed with the administrator's credential
as the key: ``Overseer-Signature: t=SECONDS,v1=HEX`` where HEX is HMAC-SHA-256 (RFC 2104) of ``SECONDS.BODY``. A receiver checks
it in constant time and refuses times that are more than five minutes away. A step may come twice with one ``run``: do it twice.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from typing import Any, Final

from overseer.core.secret_value import SecretValue
from overseer.server.address_rules import AddressRule
from overseer.server.outgoing import Outgoing, OutgoingFailure
from overseer.server.rotators.contract import Change, failed, json_object, read_target

KIND: Final = "the webhook"
HEADER: Final = "overseer-signature"


class WebhookRotator:
    """See the module's text."""

    def __init__(self, fields: Mapping[str, Any], rule: AddressRule) -> None:
        self._target = read_target(fields, ("https", "http"), most_users=0)
        self._outgoing = Outgoing(KIND, allow_private=False, rule=rule, ca_pem=self._target.ca)
        self.both_work = bool(fields.get("both_work", False))

    def compose(self, current: SecretValue, fresh: SecretValue) -> SecretValue:
        parts = json_object(current)
        if parts is None:
            return fresh
        return SecretValue(json.dumps({**parts, self._target.field: fresh.reveal().decode("ascii")}))

    async def apply(self, change: Change) -> None:
        await self._call(change, "apply", {"value": _text(change.new)})

    async def verify(self, change: Change) -> None:
        await self._call(change, "verify", {"value": _text(change.new)})

    async def retire(self, change: Change) -> None:
        await self._call(change, "retire", {})

    async def revert(self, change: Change) -> None:
        await self._call(change, "revert", {"old_value": _text(change.old)})

    async def _call(self, change: Change, step: str, values: Mapping[str, str]) -> None:
        content = {
            "step": step,
            "run": change.run,
            "secret": change.secret,
            "name": change.name,
            "old_version": change.old_version,
            "new_version": change.new_version,
            **values,
        }
        body = json.dumps(content).encode()
        headers = {HEADER: signature(change.admin, body, int(time.time())), "content-type": "application/json"}
        try:
            async with self._outgoing.opened() as connections:
                answer = await connections.send("POST", self._target.url.geturl(), headers=headers, content=body)
        except OutgoingFailure as failure:
            raise failed(KIND, step, failure.why) from None
        if not 200 <= answer.status < 300:
            raise failed(KIND, step, "it did not answer with 2xx")


def signature(key: SecretValue, body: bytes, seconds: int) -> str:
    """The header's text for a body that is sent at ``seconds`` since 1970."""
    return f"t={seconds},v1={hmac.new(key.reveal(), b'%d.%b' % (seconds, body), hashlib.sha256).hexdigest()}"


def _text(value: SecretValue) -> str:
    return value.reveal().decode("utf-8", "replace")

"""From headers to a :class:`Caller`: what the edge knows about who asks, and no decision about it.

A bearer token (RFC 6750) is hashed here and its text goes no further. It is not looked at more closely: an unknown token and a
malformed one are the same to the gate.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from overseer.core.audit_events import MAX_FREE_TEXT
from overseer.core.principals import Caller

#: What ``Caller.client`` may say; the rest of a User-Agent is free text and kept apart from the audit row.
PRODUCTS: Final = frozenset({"overseer-agent", "overseer-cli", "overseer-python"})
MAX_CREDENTIAL_BYTES: Final = 512
_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_PRODUCT: Final = re.compile(r"([a-z-]{1,32})/([0-9A-Za-z.+-]{1,32})")

Headers = Mapping[bytes, list[bytes]]


@dataclass(frozen=True, slots=True)
class RequestFacts:
    """What is known of a request before any route is looked for."""

    request_id: str
    peer: str
    client: str
    user_agent: str

    def caller(self, token_hash: bytes | None) -> Caller:
        return Caller(token_hash, self.request_id, self.peer, self.client, self.user_agent)


def request_id(headers: Headers) -> str:
    """The client's X-Request-Id where it sent one that is fit for a log, else a new one."""
    sent = headers.get(b"x-request-id", [])
    if len(sent) == 1 and _REQUEST_ID.fullmatch(sent[0]):
        return sent[0].decode("ascii")
    return uuid.uuid4().hex


def bearer_hash(headers: Headers) -> bytes | None:
    """SHA-256 of the bearer token's text; None without one, or with anything but one."""
    sent = headers.get(b"authorization", [])
    if len(sent) != 1:
        return None
    scheme, _, token = sent[0].partition(b" ")
    token = token.strip()
    if scheme.lower() != b"bearer" or not token or len(token) > MAX_CREDENTIAL_BYTES:
        return None
    return hashlib.sha256(token).digest()


def user_agent(headers: Headers) -> str:
    """The User-Agent as free text: printable, at most 500 characters."""
    text = b" ".join(headers.get(b"user-agent", [])).decode("latin-1")[:MAX_FREE_TEXT]
    return text if text.isprintable() else "".join(character if character.isprintable() else "?" for character in text)


def client_product(agent: str) -> str:
    """``overseer-cli/1.2`` and its kin, ``browser``, or ``other``: an allow-list, since it goes into every audit row."""
    first = agent.partition(" ")[0]
    if (match := _PRODUCT.fullmatch(first)) and match[1] in PRODUCTS:
        return first
    return "browser" if first.startswith("Mozilla/") else "other"

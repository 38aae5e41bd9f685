"""The outermost layer of the HTTP server, plain ASGI: what holds for every answer, whoever made it.

Each request gets an id, a peer and a client name; a Host or Origin that is not ours is refused; each answer carries the request
id, ``Cache-Control: no-store`` and the headers that keep browsers from guessing types, sending referrers and framing; each
request leaves one line in the access log, which holds the *route's template*, never a path as sent, a query or a credential.
No exception passes to the server below, which would log its text.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from overseer.core.errors import OverseerError
from overseer.server import measures
from overseer.server.api.authentication import RequestFacts, client_product, request_id, user_agent
from overseer.server.api.bodies import ClientGone, Incoming
from overseer.server.api.error_responses import Headers, problem_response
from overseer.server.api.hosts import HostRule
from overseer.server.api.peers import PeerRule
from overseer.server.log_format import note_info

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

FACTS: Final = "overseer.facts"
HEADERS: Final = "overseer.headers"
ROUTE: Final = "overseer.route"
CODE: Final = "overseer.code"
WAITS: Final = "overseer.waits"

CONTENT_POLICY: Final = b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
SECURITY_HEADERS: Final[Headers] = [
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"content-security-policy", CONTENT_POLICY),
]
#: What an answer may say otherwise: a page has its own policy and is named to itself, a style may be kept by its hash.
_OVERRIDDEN: Final = frozenset({b"cache-control", b"content-security-policy", b"referrer-policy"})
#: What a metric may call a method: a stranger can send any word as one.
METHODS: Final = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
_ACCESS: Final = logging.getLogger("overseer.access")


class Front:
    """Wraps the router; the facts go to ``scope[FACTS]``, headers by lower-case name to ``scope[HEADERS]``."""

    def __init__(self, app: App, hosts: HostRule, peers: PeerRule) -> None:
        self._app = app
        self._hosts = hosts
        self._peers = peers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return  # no web sockets; start and stop are the worker's business, not the application's
        began = time.perf_counter()
        headers: dict[bytes, list[bytes]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name, []).append(value)
        agent = user_agent(headers)
        facts = RequestFacts(request_id(headers), self._peers.peer(scope), client_product(agent), agent)
        scope[FACTS], scope[HEADERS] = facts, headers
        incoming = Incoming(receive, headers)
        answer = _Answer(send, facts.request_id, incoming)
        measures.begin_request()
        try:
            self._hosts.check(scope, headers)
            await self._app(scope, incoming.receive, answer.send)
        except ClientGone:
            pass
        except Exception as error:  # noqa: BLE001  # the net below everything: a defect is a 500 without its text
            scope[CODE] = error.code if isinstance(error, OverseerError) else OverseerError.code
            await _refuse(answer, error, facts.request_id)
        finally:
            measures.end_request()
            seconds = time.perf_counter() - began
            if answer.status:  # nobody was answered where the client left
                method = scope["method"] if scope["method"] in METHODS else "other"
                waits = scope.get(WAITS, False)
                measures.note_request(method, scope.get(ROUTE, "-"), answer.status, None if waits else seconds, scope.get(CODE))
            _log(scope, facts, answer, seconds)


class _Answer:
    """Adds the headers of every answer on its way, and remembers what was said."""

    __slots__ = ("_incoming", "_request_id", "_send", "size", "status")

    def __init__(self, send: Send, request_id: str, incoming: Incoming) -> None:
        self._send = send
        self._incoming = incoming
        self._request_id = request_id.encode("ascii")
        self.status = 0
        self.size = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            complete = self._incoming.finished or await self._incoming.discard_rest()
            self.status = message["status"]
            headers = [*message.get("headers", ()), (b"x-request-id", self._request_id)]
            if not complete:
                headers.append((b"connection", b"close"))
            said = [name for name, _ in headers if name in _OVERRIDDEN]
            headers += SECURITY_HEADERS if not said else [pair for pair in SECURITY_HEADERS if pair[0] not in said]
            message = {**message, "headers": headers}
        else:
            self.size += len(message.get("body", b""))
        await self._send(message)


async def respond(send: Send, status: int, headers: Headers, body: bytes) -> None:
    """One whole answer."""
    if status != 204:  # RFC 9110, section 8.6: no Content-Length with 204
        headers = [*headers, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _refuse(answer: _Answer, error: Exception, request_id: str) -> None:
    status, headers, body = problem_response(error, request_id)
    if answer.status and isinstance(error, OverseerError):
        return  # the answer has begun: the server below closes the connection
    if not answer.status:
        await respond(answer.send, status, headers, body)


def _log(scope: Scope, facts: RequestFacts, answer: _Answer, seconds: float) -> None:
    note_info(
        _ACCESS,
        "request",
        {
            "request_id": facts.request_id,
            "method": scope["method"],
            "route": scope.get(ROUTE, "-"),
            "status": answer.status,
            "bytes": answer.size,
            "ms": round(seconds * 1000, 2),
            "peer": facts.peer,
            "client": facts.client,
        },
    )

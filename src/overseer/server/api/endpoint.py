"""The ASGI endpoint of one path: checks a request against its route, calls the route's function, renders the answer.

The order of the checks: method, path, query, the limit on unauthenticated callers, the seal, then the body. What is refused
before the body costs no reading of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import msgspec

from overseer.core.errors import (
    InvalidInput,
    NotReady,
    OverseerError,
    Problem,
    RateLimited,
    Sealed,
    Unauthenticated,
    WrongMethod,
)
from overseer.server.api.authentication import RequestFacts
from overseer.server.api.bodies import ClientGone, read_body
from overseer.server.api.call import Call, Document, EventStream, Reply
from overseer.server.api.error_responses import Headers, problem_response
from overseer.server.api.event_stream import last_event_id, send_events
from overseer.server.api.front import CODE, FACTS, HEADERS, ROUTE, WAITS, Receive, Scope, Send, respond
from overseer.server.api.parameters import path_arguments, query_argument
from overseer.server.api.request_limits import RequestLimits, Use
from overseer.server.api.route import BODY_METHODS, SMALL_BODY, Open, Route
from overseer.server.api.session_cookies import credential_hash
from overseer.server.api.throttle import Throttle
from overseer.server.api.validation import decode_body
from overseer.server.http_protocol import ARRIVED
from overseer.server.services.idempotency import Idempotency

if TYPE_CHECKING:
    from overseer.server.services.catalogue import Services

_ENCODER: Final = msgspec.json.Encoder()
_JSON: Final = (b"content-type", b"application/json")
_MAX_ETAGS: Final = 256
_NOT_LARGE: Final = nullcontext()
FORWARDING: Final = frozenset({b"forwarded", b"via", b"x-forwarded-for", b"x-real-ip"})


@dataclass(frozen=True, slots=True)
class Edge:
    """What every endpoint needs: the services, the limits, whether the server is sealed and whether it is about to stop.

    ``secure_cookies``: browsers reach it over TLS, so the session's cookie is bound to that.
    """

    services: Services
    sealed: Callable[[], bool]
    secure_cookies: bool = False
    throttle: Throttle = field(default_factory=Throttle)
    limits: RequestLimits = field(default_factory=RequestLimits)
    draining: asyncio.Event = field(default_factory=asyncio.Event)


class Endpoint:
    """All methods of one path. HEAD answers as GET does, without the body (RFC 9110, section 9.3.2)."""

    def __init__(self, routes: Mapping[str, Route], edge: Edge) -> None:
        self._routes = dict(routes)
        self._edge = edge
        self._allow = ", ".join(sorted([*routes, *(["HEAD"] if "GET" in routes else [])])).encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        facts: RequestFacts = scope[FACTS]
        method = scope["method"]
        found = self._routes.get("GET" if method == "HEAD" else method)
        if found is None:
            status, headers, body = problem_response(WrongMethod("this path does not have that method"), facts.request_id)
            headers.append((b"allow", self._allow))
        else:
            scope[ROUTE], scope[WAITS] = found.path, found.held or found.streams
            places: list[Use] = []  # in the limits, for as long as it is answered
            try:
                answer = await self._answer(found, scope, receive, places)
                if isinstance(answer, EventStream):
                    await send_events(answer, method, receive, send, self._edge.draining)
                    return
                status, headers, body = render(found, answer)
            except ClientGone:
                raise
            except Exception as error:  # noqa: BLE001  # every failure is a problem document; a defect says nothing of itself
                scope[CODE] = error.code if isinstance(error, OverseerError) else OverseerError.code
                status, headers, body = problem_response(error, facts.request_id)
            finally:
                for place in places:
                    place.leave(waits=scope[WAITS])
        await respond(send, status, headers, body)

    async def _answer(self, route: Route, scope: Scope, receive: Receive, places: list[Use]) -> Any:
        arguments = path_arguments(route.parameters, scope.get("path_params", {}))
        query = query_argument(route, scope["query_string"])
        facts: RequestFacts = scope[FACTS]
        token_hash = credential_hash(scope[HEADERS], scope["method"], secure=self._edge.secure_cookies)
        throttle, is_open = self._edge.throttle, isinstance(route.permission, Open)
        # What an open route lets in is in the body: a good token beside it frees no guess at somebody else's password.
        shown = None if is_open else token_hash
        if route.limited:
            throttle.admit(facts.peer, shown)
            holder = throttle.holder(facts.peer, token_hash)
            places.append(self._edge.limits.enter(holder, waits=route.held or route.streams))
        try:
            with throttle.large_body(token_hash) if _may_be_large(route, scope[HEADERS]) else _NOT_LARGE:
                answer = await self._call(route, scope, receive, arguments, query, token_hash)
        except Unauthenticated:
            throttle.failed(shown)
            raise
        except (ClientGone, RateLimited):
            raise  # the attempt stays spent: who leaves at once, or fails too often for a row, must not try for nothing
        except BaseException:
            throttle.passed(facts.peer, shown, authenticated=False)
            raise
        throttle.passed(facts.peer, shown, authenticated=not is_open)
        return answer

    async def _call(
        self, route: Route, scope: Scope, receive: Receive, arguments: Mapping[str, Any], query: Any, token_hash: bytes | None
    ) -> Any:
        if not route.while_sealed and self._edge.sealed():
            raise Sealed("the server is sealed; unseal it with `overseer seal unseal`", retry_after=5)
        headers = scope[HEADERS]
        raw = b""
        if route.method in BODY_METHODS:
            arrived = ARRIVED in scope and scope[ARRIVED]()
            raw = await read_body(headers, receive, route.body_limit if route.body else 0, arrived=arrived)
        body = None if route.body is None else decode_body(raw or b"{}", route.body)
        call = Call(
            services=self._edge.services,
            caller=scope[FACTS].caller(token_hash),
            body=body,
            query=query,
            if_match=_if_match(headers) if route.tagged else None,
            idempotency=_idempotency(headers, route, raw),
            last_event_id=last_event_id(headers) if route.streams else None,
            forwarded=not FORWARDING.isdisjoint(headers),
        )
        if route.held:
            return await self._hold(route, call, arguments, receive)
        return await route.handler(call, **arguments)

    async def _hold(self, route: Route, call: Call[Any, Any], arguments: Mapping[str, Any], receive: Receive) -> Any:
        """Run a function that may wait for long; a client that left or a server that stops ends the wait.

        The function is told, not cancelled: what it does inside the gate at that moment ends, and leaves its audit row.
        """
        work = asyncio.ensure_future(route.handler(call, **arguments))
        gone = asyncio.ensure_future(_gone(receive))
        drain = asyncio.ensure_future(self._edge.draining.wait())
        try:
            await asyncio.wait({work, gone, drain}, return_when=asyncio.FIRST_COMPLETED)
            call.ended.set()
            return await work
        except NotReady:
            if gone.done():
                raise ClientGone from None
            raise
        finally:
            for task in (work, gone, drain):
                task.cancel()
            await asyncio.gather(work, gone, drain, return_exceptions=True)


def render(route: Route, answer: Any) -> tuple[int, Headers, bytes]:
    """Status, headers and JSON of what a route's function returned."""
    if isinstance(answer, Document):
        policy = [(b"content-security-policy", answer.policy.encode())] if answer.policy else []
        return route.status, [(b"content-type", answer.media_type.encode()), *policy], answer.content
    if not isinstance(answer, Reply):
        if route.location is None and route.returns is not None and not route.may_be_empty:
            return route.status, [_JSON], _ENCODER.encode(answer)
        answer = Reply(answer)
    reply: Reply[Any] = answer
    status = 204 if route.may_be_empty and reply.body is None else reply.status or route.status
    headers: Headers = []
    if reply.etag is not None:
        headers.append((b"etag", reply.etag.encode("ascii")))
    headers += [(name.lower().encode("ascii"), text.encode("ascii")) for name, text in reply.notes.items()]
    if route.location is not None:
        headers.append((b"location", location(route.location, reply.body).encode("ascii")))
    if route.returns is None or status == 204:
        return status, headers, b""
    return status, [_JSON, *headers], _ENCODER.encode(reply.body)


def location(template: str, answer: Any) -> str:
    """A path with the answer's fields filled in; ids and names need no escaping."""
    return template.format_map({name: getattr(answer, name) for name in answer.__struct_fields__})


def _may_be_large(route: Route, headers: Mapping[bytes, list[bytes]]) -> bool:
    """True unless the body is announced as an ordinary one."""
    if route.body is None or route.body_limit <= SMALL_BODY:
        return False
    announced = headers.get(b"content-length", [b""])[0][:20]
    return not announced.isdigit() or int(announced) > SMALL_BODY


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _if_match(headers: Mapping[bytes, list[bytes]]) -> str | None:
    sent = b", ".join(headers.get(b"if-match", [])).decode("latin-1")
    if len(sent) > _MAX_ETAGS:
        rule = f"is longer than {_MAX_ETAGS} characters"
        raise InvalidInput(f"If-Match {rule}", problems=[Problem("header.if-match", rule, "too_long")])
    return sent or None


def _idempotency(headers: Mapping[bytes, list[bytes]], route: Route, raw: bytes) -> Idempotency | None:
    sent = headers.get(b"idempotency-key", [])
    if not sent or route.method not in ("POST", "PUT"):
        return None
    # Several headers are joined by a blank, which no key may have: refused like any other unfit key.
    return Idempotency(key=b" ".join(sent).decode("latin-1"), route=f"{route.method} {route.path}", body=raw)

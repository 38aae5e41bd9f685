"""Small real routes that exercise every part of the route layer, without a database behind them."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import httpx

from overseer.core.errors import NotReady, PreconditionFailed, RateLimited, Unauthenticated
from overseer.core.permissions import Permission
from overseer.server.api.application import application
from overseer.server.api.call import Call, Reply
from overseer.server.api.endpoint import Edge
from overseer.server.api.front import App
from overseer.server.api.queries import Query
from overseer.server.api.route import LARGE_BODY, AnyIdentity, Open, route
from overseer.wire.messages import Answer, Request

CANARY = "cAnArY-5e1f"


class Note(Request, frozen=True):
    text: str
    count: int = 0
    reason: str = ""


class Seen(Answer, frozen=True):
    id: str
    text: str
    caller: dict[str, Any] = {}


class Filter(Query, frozen=True):
    word: str | None = None
    count: int = 1


@route(
    "POST",
    "/notes",
    permission=Permission.SECRET_WRITE,
    summary="Echo",
    body=Note,
    returns=Seen,
    status=201,
    location="/notes/{id}",
    body_limit=1000,
    tagged=True,
)
async def create(call: Call[Note, None]) -> Reply[Seen]:
    c = call.caller
    facts = {"hash": c.token_hash.hex() if c.token_hash else None, "peer": c.peer, "client": c.client}
    facts |= {"request_id": c.request_id, "if_match": call.if_match, "agent": c.user_agent}
    facts["key"] = call.idempotency and [call.idempotency.key, call.idempotency.route, call.idempotency.body.decode()]
    return Reply(Seen(id="n1", text=call.body.text, caller=facts), etag='"v1-r1"')


@route("POST", "/large", permission=Permission.SECRET_WRITE, summary="Large", body=Note, returns=Seen, body_limit=LARGE_BODY)
async def large(call: Call[Note, None]) -> Seen:
    services: Any = call.services
    services.arrived.put_nowait(len(call.body.text))
    await services.go_on.wait()
    return Seen(id="", text="")


@route("GET", "/notes", permission=Permission.SECRET_LIST, summary="Filter", query=Filter, returns=Seen)
async def find(call: Call[None, Filter]) -> Seen:
    return Seen(id=str(call.query.count), text=str(call.query.word))


@route("DELETE", "/notes/{note_id}", permission=Permission.SECRET_DELETE, summary="Delete", status=204)
async def remove(call: Call[None, None], note_id: UUID) -> None:
    assert isinstance(note_id, UUID)


@route("GET", "/people/{name}", permission=AnyIdentity("test"), summary="By name", returns=Seen)
async def person(call: Call[None, None], name: str) -> Seen:
    return Seen(id=name, text=name)


@route("GET", "/fail/{name}", permission=Open("test"), summary="Fail as told", returns=Seen)
async def fail(call: Call[None, None], name: str) -> Seen:
    match name:
        case "defect":
            raise ValueError(f"a text with {CANARY}")
        case "busy":
            raise NotReady("later", retry_after=7)
        case "fast":
            raise RateLimited("slower", retry_after=3)
        case "stale":
            raise PreconditionFailed("changed", current_version=4)
    raise Unauthenticated("who are you?")


@route("POST", "/wait", permission=Permission.NODE_SERVE, summary="Wait for ever", returns=Seen, held=True)
async def wait(call: Call[None, None]) -> Seen:
    services: Any = call.services
    services.waiting.set()
    await call.ended.wait()
    await asyncio.sleep(0.05)  # what it does at the end is not cut short
    services.ended.set()
    raise NotReady("the server is stopping", retry_after=1)


@route("GET", "/health/live", permission=Open("test", while_sealed=True), summary="Alive", returns=Seen)
async def live(call: Call[None, None]) -> Seen:
    return Seen(id="", text="alive")


@route("POST", "/bare", permission=Open("test", while_sealed=True), summary="Neither body nor answer", status=204)
async def bare(call: Call[None, None]) -> None:
    return None


ROUTES = (create, find, remove, person, fail, wait, live, bare, large)


def small_app(*, sealed: bool = False, services: Any = None, edge: Edge | None = None, **options: Any) -> App:
    edge = edge or Edge(services=services, sealed=lambda: sealed)
    return application(edge, routes=ROUTES, **options)


def client(app: App, *, peer: str = "127.0.0.1", base_url: str = "http://127.0.0.1:8420") -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, client=(peer, 4711))  # type: ignore[arg-type]
    return httpx.AsyncClient(transport=transport, base_url=base_url)

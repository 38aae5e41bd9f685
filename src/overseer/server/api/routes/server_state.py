"""Health and the seal: the server about itself."""

from __future__ import annotations

from overseer.server import measures
from overseer.server.api.call import Call, Document, Reply
from overseer.server.api.route import Open, route
from overseer.wire.seal import Health, SealStatus, Unseal


@route(
    "GET",
    "/health/live",
    permission=Open("says that the process runs, nothing else", while_sealed=True),
    summary="Alive: this process answers",
    returns=Health,
)
async def get_liveness(call: Call[None, None]) -> Health:  # noqa: ARG001  # the answer itself is the news
    return Health(status="ok")


@route(
    "GET",
    "/health/ready",
    permission=Open("says in one word per part whether requests can be served", while_sealed=True),
    summary="Ready: unsealed, and the database answers; 503 otherwise",
    returns=Health,
)
async def get_readiness(call: Call[None, None]) -> Reply[Health]:
    health = await call.services.health.check()
    return Reply(health, status=200 if health.status == "ok" else 503)


@route(
    "GET",
    "/metrics",
    permission=Open(
        "OVERSEER_METRICS says who may: by default this machine, others with metrics:read", while_sealed=True, limited=True
    ),
    summary="The numbers of all workers of this server, for Prometheus",
    returns=str,
    media_type=measures.CONTENT_TYPE,
)
async def get_metrics(call: Call[None, None]) -> Document:
    return Document(measures.CONTENT_TYPE, await call.services.metrics.read(call.caller, forwarded=call.forwarded))


@route(
    "GET",
    "/api/seal",
    permission=Open("an operator must see that the server is sealed before any credential can be checked", while_sealed=True),
    summary="Show whether the server is sealed",
    returns=SealStatus,
)
async def get_seal(call: Call[None, None]) -> SealStatus:
    return await call.services.seal.status()


@route(
    "POST",
    "/api/seal/unseal",
    permission=Open("passphrase or share is the credential; attempts are limited and audited", while_sealed=True),
    summary="Unseal with the passphrase, or bring one share",
    body=Unseal,
    returns=SealStatus,
)
async def unseal_server(call: Call[Unseal, None]) -> SealStatus:
    return await call.services.seal.unseal(call.caller, call.body)

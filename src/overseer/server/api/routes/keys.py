"""The keyring: its state, rotation, verification, and the end of a term."""

from __future__ import annotations

from overseer.core.permissions import Permission
from overseer.server.api.call import Call
from overseer.server.api.route import route
from overseer.wire.keys import KeyringView, KeyVerification, KeyVerify, RotationView


@route(
    "GET",
    "/api/keys",
    permission=Permission.KEY_READ,
    summary="Show the state of the keyring and how far a rotation is, never a key",
    returns=KeyringView,
)
async def get_keyring(call: Call[None, None]) -> KeyringView:
    return await call.services.keys.state(call.caller)


@route(
    "POST",
    "/api/keys/rotate",
    permission=Permission.KEY_WRITE,
    summary="Begin to rotate the key-encryption key; GET /api/keys shows how far it is. 409 while a rotation runs",
    returns=RotationView,
    status=202,
)
async def rotate_keys(call: Call[None, None]) -> RotationView:
    return await call.services.key_rotation.rotate(call.caller, call.idempotency)


@route(
    "POST",
    "/api/keys/verify",
    permission=Permission.KEY_WRITE,
    summary="Open the next stored rows and name those that do not open; repeat with next_cursor until it is null",
    body=KeyVerify,
    returns=KeyVerification,
)
async def verify_keys(call: Call[KeyVerify, None]) -> KeyVerification:
    return await call.services.key_verifier.verify(call.caller, call.body)


@route(
    "DELETE",
    "/api/keys/{term}",
    permission=Permission.KEY_WRITE,
    summary="Delete an old term of the key-encryption key for good. 409 while it is, or may come, into use",
    status=204,
)
async def retire_key(call: Call[None, None], term: str) -> None:
    await call.services.key_rotation.retire(call.caller, term)

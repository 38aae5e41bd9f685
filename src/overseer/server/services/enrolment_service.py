"""How an agent becomes a node and gets its short tokens: the three open routes whose credential is not a bearer token.

1. ``enrol``: enrolment token, public keys and a signature over both. The token belongs to the first keys that used it: the same
   keys may repeat a call whose answer was lost, other keys are refused and stand in the audit log as ``token_reused``.
2. ``confirm``: the opened challenge proves the encryption key. From here the node is active, and only with these keys.
   Later ``rotate_keys`` (with a session, not open) leads to the same step for the node's next keys.
3. ``authenticate``: a signed assertion (RFC 7523), used once, gives a token of ten minutes with the role ``node`` over this node.
"""

from __future__ import annotations

import base64
import binascii
from datetime import timedelta
from typing import Final
from uuid import UUID

from overseer.core.access import Binding, Match, NamePattern, PartSelector, Resource
from overseer.core.audit_events import AuditAction
from overseer.core.errors import Conflict, InvalidInput, Problem, Unauthenticated
from overseer.core.identifiers import new_id
from overseer.core.permissions import Permission
from overseer.core.principals import Actor, Caller, PrincipalKind
from overseer.core.scopes import Scope
from overseer.core.secret_value import SecretValue
from overseer.crypto.node_assertions import claimed_node_id, verify_assertion
from overseer.crypto.node_keys import NodePublicKeys, answer_is_right, join_is_proven, new_challenge, rotation_is_proven
from overseer.crypto.tokens import TokenPrefix, new_token, token_hash
from overseer.server.services.agent_service import own_node
from overseer.server.services.gate import Entry, Gate
from overseer.server.services.key_service import KeyService
from overseer.server.services.node_service import node_view
from overseer.server.storage import node_rows, principal_rows
from overseer.server.storage.node_rows import EnrolmentRow, KeyRow
from overseer.wire.agent import (
    AgentTokenAnswer,
    AgentTokenRequest,
    ConfirmRequest,
    EnrolAnswer,
    EnrolRequest,
    KeysAnswer,
    KeysRequest,
)
from overseer.wire.scopes import NodeView

ACCESS_TOKEN_SECONDS: Final = 600


class EnrolmentService:
    """See the module's text."""

    def __init__(self, gate: Gate, keys: KeyService) -> None:
        self._gate = gate
        self._keys = keys

    async def enrol(self, caller: Caller, body: EnrolRequest) -> EnrolAnswer:
        """Tie keys to an enrolment token and send a challenge. Raises :class:`Unauthenticated` for any other token or proof."""
        public = NodePublicKeys(
            _bytes(body.encryption_key, 32, "body.encryption_key"), _bytes(body.signing_key, 32, "body.signing_key")
        )
        nonce, proof = _bytes(body.nonce, 32, "body.nonce"), _bytes(body.proof, 64, "body.proof")
        digest = token_hash(SecretValue(body.token))
        async with self._gate.enter_open(caller, AuditAction.NODE_ENROL) as entry:
            row = await node_rows.lock_enrolment(entry.session, digest)
            if row is None or row.expired:
                raise Unauthenticated("this enrolment token is not known or has expired; ask for a new one")
            resource = _resource(row.node, row.node_id)
            if not join_is_proven(public, digest, nonce, proof):
                entry.refuse(resource, "bad_proof")
                raise Unauthenticated("the proof of possession does not verify")
            key_id = await self._key_for(entry, row, resource, public)
            challenge = new_challenge(public, self._keys.instance_id, row.node_id, nonce)
            await node_rows.set_challenge(entry.session, key_id, challenge.answer_hash)
            entry.accept(resource)
            verify_key = self._keys.keyring.signing_key.public
        return EnrolAnswer(
            node_id=str(row.node_id),
            node=row.node,
            instance_id=str(self._keys.instance_id),
            verify_key=_text(verify_key),
            key_id=str(key_id),
            challenge=_text(challenge.sealed),
        )

    async def confirm(self, caller: Caller, body: ConfirmRequest) -> NodeView:
        """Make the node active with the keys that opened the challenge. Raises :class:`Unauthenticated` for a wrong answer."""
        response = _bytes(body.response, 32, "body.response")
        try:
            key_id = UUID(body.key_id)
        except ValueError:
            raise InvalidInput("key_id is a UUID", problems=[Problem("body.key_id", "a UUID", "bad_id")]) from None
        async with self._gate.enter_open(caller, AuditAction.NODE_ENROL) as entry:
            row = await node_rows.lock_key(entry.session, key_id)
            if row is None or row.challenge is None or row.retired_at is not None:
                raise Unauthenticated("there is no open challenge for this key; join again with a new token")
            if not answer_is_right(response, row.challenge):
                entry.refuse(_resource(row.node, row.node_id), "bad_challenge_answer")
                raise Unauthenticated("the challenge was not answered")
            principal_id = await _node_principal(entry, row)
            if row.confirmed_at is None:  # sessions of the keys that are dead now, whoever has them
                await principal_rows.revoke_tokens_of(entry.session, principal_id)
            await node_rows.activate_node(entry.session, row.node_id, principal_id, row.id, "")
            entry.accept(_resource(row.node, row.node_id))
            found = await node_rows.all_nodes(entry.session, node_id=row.node_id)
        return node_view(found[0])

    async def rotate_keys(self, caller: Caller, body: KeysRequest) -> KeysAnswer:
        """A challenge for new keys of the caller's node; ``confirm`` puts them in force and retires the old ones.

        Needs ``node:serve`` on the own node. The same keys may be sent again where an answer was lost. Raises
        :class:`Unauthenticated` where a signature is not by the key in force or not by the new one.
        """
        async with self._gate.enter(caller, AuditAction.NODE_ROTATE_KEYS) as entry:
            entry.authorise(Permission.NODE_SERVE, own_node(entry))
            public = NodePublicKeys(
                _bytes(body.encryption_key, 32, "body.encryption_key"), _bytes(body.signing_key, 32, "body.signing_key")
            )
            nonce = _bytes(body.nonce, 32, "body.nonce")
            proofs = _bytes(body.old_proof, 64, "body.old_proof"), _bytes(body.new_proof, 64, "body.new_proof")
            node_id = entry.actor.node_id
            live = await node_rows.live_keys(entry.session, node_id) if node_id is not None else None
            if node_id is None or live is None or live.signing_key is None or live.encryption_key is None:
                raise Conflict("only an enrolled node replaces its own keys")
            if live.signing_key == public.signing or live.encryption_key == public.sealing:
                raise Conflict("these keys are the node's already")
            if not rotation_is_proven(live.signing_key, public, self._keys.instance_id, node_id, nonce, proofs):
                entry.refuse(own_node(entry), "bad_proof")
                raise Unauthenticated("the new keys are not proven by the old and the new signing key")
            key_id = await node_rows.pending_key(entry.session, new_id(entry.now), node_id, public.sealing, public.signing)
            challenge = new_challenge(public, self._keys.instance_id, node_id, nonce)
            await node_rows.set_challenge(entry.session, key_id, challenge.answer_hash)
        return KeysAnswer(key_id=str(key_id), challenge=_text(challenge.sealed))

    async def authenticate(self, caller: Caller, body: AgentTokenRequest) -> AgentTokenAnswer:
        """A short token for a signed assertion that was never used before. Raises :class:`Unauthenticated` with the reason."""
        async with self._gate.enter_open(caller, AuditAction.NODE_AUTHENTICATE) as entry:
            node_id = claimed_node_id(body.assertion)
            live = await node_rows.live_keys(entry.session, node_id)
            if live is None or live.signing_key is None or live.principal_id is None or live.state != "active":
                raise Unauthenticated("this node is not enrolled or was revoked")
            resource = _resource(live.node, node_id)
            try:
                assertion = verify_assertion(body.assertion, live.signing_key, self._keys.instance_id, entry.now)
            except Unauthenticated as error:
                entry.refuse(resource, error.problems[0].code if error.problems else "bad_assertion")
                raise
            fresh = await node_rows.remember_assertion(entry.session, node_id, assertion.jti, assertion.expires_at)
            if not fresh:
                entry.refuse(resource, "assertion_replayed")
                raise Unauthenticated("this assertion was used before; make a new one for each request")
            text, digest = new_token(TokenPrefix.NODE)
            token = principal_rows.NewToken(
                hash=digest,
                id=new_id(entry.now),
                principal_id=live.principal_id,
                description="node session",
                expires_at=entry.now + timedelta(seconds=ACCESS_TOKEN_SECONDS),
                networks=None,
                created_by=live.principal_id,
            )
            await principal_rows.drop_expired_tokens(entry.session, live.principal_id)
            await principal_rows.insert_token(entry.session, token)
            entry.attribute(Actor(live.principal_id, PrincipalKind.NODE, live.node, token.id, (), node_id))
            entry.accept(resource)
            now = entry.now
        return AgentTokenAnswer(access_token=text.reveal().decode("ascii"), expires_in=ACCESS_TOKEN_SECONDS, server_time=now)

    async def _key_for(self, entry: Entry, row: EnrolmentRow, resource: Resource, public: NodePublicKeys) -> UUID:
        if row.used_by_key is None:
            key_id = new_id(entry.now)
            await node_rows.insert_key(entry.session, key_id, row.node_id, public.sealing, public.signing)
            await node_rows.use_enrolment(entry.session, row.id, key_id)
            return key_id
        same = (row.used_encryption_key, row.used_signing_key) == (public.sealing, public.signing)
        if not same or row.used_retired_at is not None:
            entry.refuse(resource, "token_reused")
            entry.refuse(resource, "token_reused", action=AuditAction.ALARM_NODE_KEY_MISMATCH)
            raise Unauthenticated("this enrolment token was used by another agent already; revoke the node if that was not you")
        return row.used_by_key


async def _node_principal(entry: Entry, row: KeyRow) -> UUID:
    """The node's principal with the role ``node`` over exactly this node, made at the first confirmation."""
    if row.principal_id is not None:
        return row.principal_id
    principal = await principal_rows.insert_principal(
        entry.session, new_id(entry.now), PrincipalKind.NODE, row.node, "agent of this node", None
    )
    role = await principal_rows.role_by_name(entry.session, "node")
    if role is None:
        raise RuntimeError("the built-in role 'node' is missing")
    binding = Binding(
        id=new_id(entry.now),
        permissions=role.permissions,
        app=PartSelector(Match.ANY),
        environment=PartSelector(Match.ANY),
        node=PartSelector(Match.IS, row.node_id),
        pattern=NamePattern("", is_prefix=True),
    )
    await principal_rows.insert_binding(entry.session, binding, principal.id, role.id, None)
    return principal.id


def _resource(node: str, node_id: UUID) -> Resource:
    return Resource("node", node, Scope(node=node_id), node_id, Scope(node=node))


def _bytes(text: str, length: int, place: str) -> bytes:
    rule = f"{place}: standard base64 of {length} bytes"
    try:
        data = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        raise InvalidInput(rule, problems=[Problem(place, rule, "bad_base64")]) from None
    if len(data) != length:
        raise InvalidInput(rule, problems=[Problem(place, rule, "bad_length")])
    return data


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")

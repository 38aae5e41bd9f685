"""Nodes as people manage them: create, label, drain, list, revoke, and the enrolment token for an agent."""

from __future__ import annotations

from datetime import timedelta
from typing import Final, TypeVar

import msgspec

from overseer.core.access import Resource, sees_part
from overseer.core.audit_events import AuditAction
from overseer.core.errors import AlreadyExists, Conflict, InvalidInput, Problem
from overseer.core.identifiers import check_name, new_id
from overseer.core.permissions import Permission
from overseer.core.principals import Caller
from overseer.core.scopes import Scope
from overseer.crypto.tokens import TokenPrefix, new_token
from overseer.server.services.cursors import check_limit, write_cursor
from overseer.server.services.gate import Entry, Gate
from overseer.server.services.idempotency import Idempotency, IdempotencyKeeper
from overseer.server.services.key_service import KeyService
from overseer.server.services.scope_removal import contents_of, contents_view, remove_alone, remove_with_contents
from overseer.server.services.scope_service import check_description, part_after
from overseer.server.services.secret_input import check_labels
from overseer.server.services.tagged import Tagged, check_revision, revision_tag
from overseer.server.storage import node_rows
from overseer.server.storage.node_rows import NodeRow
from overseer.server.storage.principal_rows import delete_principal, disable_principal
from overseer.server.storage.removal_rows import delete_own_bindings
from overseer.server.storage.scope_rows import Part, lock_part
from overseer.wire.enrolment_token import EnrolmentToken, format_enrolment_token
from overseer.wire.messages import Page
from overseer.wire.scopes import (
    ContentsView,
    EnrolmentTokenCreate,
    EnrolmentTokenCreated,
    NodeCreate,
    NodePatch,
    NodeView,
)

MIN_ENROLMENT_SECONDS: Final = 60
MAX_ENROLMENT_SECONDS: Final = 86_400
Given = TypeVar("Given")
REVOKED_ERROR: Final = "the node was revoked"


class NodeService:
    """``ca_spki`` is SHA-256 of the CA's SubjectPublicKeyInfo (RFC 7469), None where the server speaks no TLS."""

    def __init__(self, gate: Gate, keys: KeyService, idempotency: IdempotencyKeeper, ca_spki: bytes | None = None) -> None:
        self._gate = gate
        self._keys = keys
        self._idempotency = idempotency
        self._ca_spki = ca_spki

    async def create_node(
        self, caller: Caller, body: NodeCreate, idempotency: Idempotency | None = None
    ) -> NodeView:
        """A node that expects its agent. :class:`AlreadyExists` where the name is taken."""
        async with self._gate.enter(caller, AuditAction.NODE_CREATE) as entry:
            entry.authorise(Permission.NODE_WRITE, Resource("node", body.name))
            check_name(body.name, "body.name")
            check_description(body.description)
            check_labels(body.labels, "node")
            first = await self._idempotency.first_result(entry, idempotency)
            node_id = first.resource_id if first else new_id(entry.now)
            if first is None:
                try:
                    await node_rows.insert_node(entry.session, node_id, body.name, body.description, body.labels)
                except AlreadyExists:
                    raise AlreadyExists("there is already a node of that name") from None
                await self._idempotency.remember(entry, idempotency, status=201, resource_id=node_id)
            entry.amend(resource_id=node_id)
            found = await node_rows.all_nodes(entry.session, node_id=node_id)
            if not found:
                raise Conflict("the node that this idempotency key made was deleted meanwhile")
        return node_view(found[0])

    async def list_nodes(self, caller: Caller, cursor: str | None = None, limit: int = 100) -> Page[NodeView]:
        """The nodes that a binding of the caller selects, by name."""
        async with self._gate.enter(caller, AuditAction.NODE_LIST) as entry:
            entry.authorise_list(Permission.NODE_LIST, Resource("node"))
            bindings, now = entry.actor.bindings, entry.now
            after = None if cursor is None else part_after(cursor)
            check_limit(limit)
            found = await node_rows.all_nodes(entry.session, after=after)
        seen = [row for row in found if sees_part(bindings, Permission.NODE_LIST, "node", row.id, now)]
        following = write_cursor(seen[limit - 1].name) if len(seen) > limit else None
        return Page(items=[node_view(row) for row in seen[:limit]], next_cursor=following)

    async def get_node(self, caller: Caller, name: str) -> Tagged[NodeView]:
        """One node that a binding of the caller selects."""
        async with self._gate.enter(caller, AuditAction.NODE_LIST) as entry:
            row = await self._node(entry, name)
            if not sees_part(entry.actor.bindings, Permission.NODE_LIST, "node", row.id, entry.now):
                entry.refuse(_resource(row), "no_binding")
                entry.hide("node")
            entry.accept(_resource(row))
        return _tagged(row)

    async def patch_node(
        self, caller: Caller, name: str, body: NodePatch, if_match: str | None = None
    ) -> Tagged[NodeView]:
        """Change description, labels, or whether the node is drained. :class:`Conflict` for a revoked node."""
        action = AuditAction.NODE_DRAIN if isinstance(body.drained, bool) else AuditAction.NODE_PATCH
        async with self._gate.enter(caller, action) as entry:
            row = await self._node(entry, name)
            entry.authorise(Permission.NODE_WRITE, _resource(row), hide_without=Permission.NODE_LIST)
            description, labels, drained = _given(body.description), _given(body.labels), _given(body.drained)
            if description is not None:
                check_description(description)
            if labels is not None:
                check_labels(labels, "node")
            await lock_part(entry.session, Part.NODE, row.id)
            row = await self._node(entry, name)
            check_revision(if_match, row.revision, "node")
            if row.state == "revoked":
                raise Conflict(f"node {row.name} was revoked")
            if drained is not None:
                entry.amend(code="drained" if drained else "undrained")
            await node_rows.patch_node(entry.session, row.id, description, labels, drained)
            found = await node_rows.all_nodes(entry.session, node_id=row.id)
        return _tagged(found[0])

    async def contents_of_node(self, caller: Caller, name: str) -> ContentsView:
        """What belongs to a node and would go with it."""
        async with self._gate.enter(caller, AuditAction.NODE_LIST) as entry:
            row = await self._node(entry, name)
            entry.authorise(Permission.NODE_WRITE, _resource(row), hide_without=Permission.NODE_LIST)
            return contents_view(entry, Part.NODE, name, await contents_of(entry, Scope(node=row.id)))

    async def delete_node(self, caller: Caller, name: str, *, cascade: bool = False) -> ContentsView | None:
        """Delete a node that is revoked, or that no agent ever joined, with its keys; else :class:`Conflict`.

        Nothing may belong to it, unless ``cascade``: then its secrets, bindings and history of deployments go, too.
        """
        async with self._gate.enter(caller, AuditAction.NODE_DELETE) as entry:
            row = await self._node(entry, name)
            entry.authorise(Permission.NODE_WRITE, _resource(row), hide_without=Permission.NODE_LIST)
            await lock_part(entry.session, Part.NODE, row.id)
            row = await self._node(entry, name)
            if row.state == "active":
                raise Conflict("an agent serves this node: revoke the node first")
            went = None
            if row.principal_id is not None:
                await delete_own_bindings(entry.session, row.principal_id)
            if cascade:
                entry.amend(code="cascade")
                went = await remove_with_contents(entry, Part.NODE, name, Scope(node=row.id), row.id)
            else:
                await remove_alone(entry, Part.NODE, row.id)
            if row.principal_id is not None:
                await delete_principal(entry.session, row.principal_id)
        return went

    async def revoke_node(self, caller: Caller, name: str) -> NodeView:
        """The node's keys and tokens are refused from the next request on, and its open deployments fail."""
        async with self._gate.enter(caller, AuditAction.NODE_REVOKE) as entry:
            row = await self._node(entry, name)
            entry.authorise(Permission.NODE_WRITE, _resource(row), hide_without=Permission.NODE_LIST)
            await node_rows.revoke_node(entry.session, row.id, REVOKED_ERROR)
            if row.principal_id is not None:
                await disable_principal(entry.session, row.principal_id)
            found = await node_rows.all_nodes(entry.session, node_id=row.id)
        return node_view(found[0])

    async def create_enrolment_token(self, caller: Caller, body: EnrolmentTokenCreate) -> EnrolmentTokenCreated:
        """A single-use token for the node's agent, shown once. It pins this server's verify key and its CA."""
        async with self._gate.enter(caller, AuditAction.ENROLMENT_CREATE) as entry:
            row = await self._node(entry, body.node)
            entry.authorise(Permission.NODE_WRITE, _resource(row), hide_without=Permission.NODE_LIST)
            if not MIN_ENROLMENT_SECONDS <= body.expires_in <= MAX_ENROLMENT_SECONDS:
                rule = f"an enrolment token lives {MIN_ENROLMENT_SECONDS} to {MAX_ENROLMENT_SECONDS} seconds"
                raise InvalidInput(rule, problems=[Problem("body.expires_in", rule, "bad_expiry")])
            secret, digest = new_token(TokenPrefix.ENROLMENT)
            token_id = new_id(entry.now)
            expires_at = entry.now + timedelta(seconds=body.expires_in)
            await node_rows.insert_enrolment_token(entry.session, token_id, digest, row.id, expires_at, entry.actor.id)
            verify_key = self._keys.keyring.signing_key.public
        text = format_enrolment_token(EnrolmentToken(secret, row.name, verify_key, self._ca_spki))
        return EnrolmentTokenCreated(
            id=str(token_id), node=row.name, token=text.reveal().decode("ascii"), expires_at=expires_at
        )

    async def _node(self, entry: Entry, name: str) -> NodeRow:
        found = await node_rows.all_nodes(entry.session, name=name)
        if not found:
            entry.missing(Resource("node", name))
        return found[0]


def _resource(row: NodeRow) -> Resource:
    return Resource("node", row.name, Scope(node=row.id), row.id, Scope(node=row.name))


def _given(value: Given | msgspec.UnsetType) -> Given | None:
    return None if isinstance(value, msgspec.UnsetType) else value


def _tagged(row: NodeRow) -> Tagged[NodeView]:
    return Tagged(node_view(row), revision_tag(row.revision))


def node_view(row: NodeRow) -> NodeView:
    """A node as people read it."""
    return NodeView(
        id=str(row.id),
        name=row.name,
        description=row.description,
        state=row.state,
        agent_version=row.agent_version,
        last_seen_at=row.last_seen_at,
        created_at=row.created_at,
        labels=row.labels,
        drained=row.drained_at is not None,
    )

"""What the audit log can say: actions, outcomes and the allow-list of fields. Never a value.

An :class:`AuditEvent` is what a service hands to the store; the row adds incarnation, transaction id, row id and
time in the database. A mutation's row shares its transaction; a read's row is committed before plaintext leaves;
a denial is committed alone. Free text (``reason``, ``user_agent``) is cut to :data:`MAX_FREE_TEXT` characters and lies in a
side table that can be erased; the row keeps a salted commitment.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from uuid import UUID

MAX_FREE_TEXT: Final = 500


class AuditAction(StrEnum):
    """What was tried; ``resource:action`` in alphabetical order."""

    APP_CREATE = "app:create"
    APP_DELETE = "app:delete"
    APP_LIST = "app:list"
    AUDIT_LIST = "audit:list"
    BINDING_CREATE = "binding:create"
    BINDING_DELETE = "binding:delete"
    BINDING_LIST = "binding:list"
    BUNDLE_CREATE = "bundle:create"
    BUNDLE_LIST = "bundle:list"
    DEPLOYMENT_CREATE = "deployment:create"
    DEPLOYMENT_LIST = "deployment:list"
    DEPLOYMENT_READ = "deployment:read"
    DEPLOYMENT_RELEASE = "deployment:release"
    DEPLOYMENT_REPORT = "deployment:report"
    ENROLMENT_CREATE = "enrolment:create"
    ENVIRONMENT_CREATE = "environment:create"
    ENVIRONMENT_DELETE = "environment:delete"
    ENVIRONMENT_LIST = "environment:list"
    IDENTITY_READ = "identity:read"
    KEY_READ = "key:read"
    NODE_AUTHENTICATE = "node:authenticate"
    NODE_CREATE = "node:create"
    NODE_ENROL = "node:enrol"
    NODE_LIST = "node:list"
    NODE_POLL = "node:poll"
    NODE_REVOKE = "node:revoke"
    ROLE_LIST = "role:list"
    SEAL_UNSEAL = "seal:unseal"
    SECRET_ACTIVATE = "secret:activate"
    SECRET_CREATE = "secret:create"
    SECRET_DELETE = "secret:delete"
    SECRET_EXPLAIN = "secret:explain"
    SECRET_LIST = "secret:list"
    SECRET_PATCH = "secret:patch"
    SECRET_READ = "secret:read"
    SECRET_RESOLVE = "secret:resolve"
    SECRET_REVEAL = "secret:reveal"
    SECRET_ROTATE = "secret:rotate"
    SECRET_UPDATE = "secret:update"
    SECRET_USE = "secret:use"
    SECRET_VERSIONS = "secret:versions"
    SERVER_INIT = "server:init"
    SERVICE_ACCOUNT_CREATE = "service_account:create"
    SERVICE_ACCOUNT_DELETE = "service_account:delete"
    SERVICE_ACCOUNT_LIST = "service_account:list"
    TOKEN_CREATE = "token:create"
    TOKEN_LIST = "token:list"
    TOKEN_REVOKE = "token:revoke"


class Outcome(StrEnum):
    """How it ended."""

    ALLOWED = "allowed"
    DENIED = "denied"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """The allow-listed fields of one row. ``code`` is the stable word of a denial or failure, empty otherwise."""

    action: AuditAction
    outcome: Outcome
    request_id: str
    actor_id: UUID | None = None
    actor_name: str = ""
    actor_kind: str = ""
    on_behalf_of: UUID | None = None
    token_id: UUID | None = None
    resource_kind: str = ""
    resource_id: UUID | None = None
    resource_name: str = ""
    app: str | None = None
    environment: str | None = None
    node: str | None = None
    version: int | None = None
    code: str = ""
    peer: str = ""
    client: str = ""
    reason: str = ""
    user_agent: str = ""

"""Permissions and the built-in roles.

A permission is ``resource:action``. Its bit is its place in the 64-bit set that a binding carries; a bit is given once
and never reused, because the sets are stored. ``secret:reveal`` (see a value) and ``secret:use`` (let a deployment consume
it) imply nothing of each other; ``app:bundle_write`` is apart because who writes Compose text *and* may use a secret can
print it, and ``app:deploy`` is apart because a deployment runs with the node's engine.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Final


class Permission(StrEnum):
    """What a role may hold; in alphabetical order."""

    ACCESS_REVIEW = "access:review"
    APP_BUNDLE_WRITE = "app:bundle_write"
    APP_DEPLOY = "app:deploy"
    APP_LIST = "app:list"
    APP_WRITE = "app:write"
    APPROVAL_DECIDE = "approval:decide"
    APPROVAL_LIST = "approval:list"
    APPROVAL_POLICY_WRITE = "approval_policy:write"
    AUDIT_ERASE = "audit:erase"
    AUDIT_READ = "audit:read"
    BACKUP_CREATE = "backup:create"
    BACKUP_LIST = "backup:list"
    BACKEND_LIST = "backend:list"
    BACKEND_USE = "backend:use"
    BACKEND_WRITE = "backend:write"
    BINDING_LIST = "binding:list"
    BINDING_WRITE = "binding:write"
    DEPLOYMENT_LIST = "deployment:list"
    ENVIRONMENT_LIST = "environment:list"
    ENVIRONMENT_WRITE = "environment:write"
    KEY_READ = "key:read"
    KEY_WRITE = "key:write"
    METRICS_READ = "metrics:read"
    MIGRATION_EXPORT = "migration:export"
    MIGRATION_IMPORT = "migration:import"
    NODE_LIST = "node:list"
    NODE_SERVE = "node:serve"
    NODE_WRITE = "node:write"
    PRINCIPAL_LIST = "principal:list"
    PRINCIPAL_WRITE = "principal:write"
    ROLE_WRITE = "role:write"
    ROTATOR_WRITE = "rotator:write"
    SECRET_ACTIVATE = "secret:activate"
    SECRET_DELETE = "secret:delete"
    SECRET_EXPORT = "secret:export"
    SECRET_LIST = "secret:list"
    SECRET_REVEAL = "secret:reveal"
    SECRET_ROTATE = "secret:rotate"
    SECRET_USE = "secret:use"
    SECRET_WRITE = "secret:write"
    TOKEN_LIST = "token:list"
    TOKEN_WRITE = "token:write"
    USER_RESET = "user:reset"


#: Stored in ``binding.permissions`` and ``role.permissions``; append only.
PERMISSION_BITS: Final[dict[Permission, int]] = {
    Permission.SECRET_LIST: 0,
    Permission.SECRET_REVEAL: 1,
    Permission.SECRET_USE: 2,
    Permission.SECRET_WRITE: 3,
    Permission.SECRET_ACTIVATE: 4,
    Permission.SECRET_ROTATE: 5,
    Permission.SECRET_DELETE: 6,
    Permission.APP_LIST: 7,
    Permission.APP_WRITE: 8,
    Permission.APP_BUNDLE_WRITE: 9,
    Permission.APP_DEPLOY: 10,
    Permission.ENVIRONMENT_LIST: 11,
    Permission.ENVIRONMENT_WRITE: 12,
    Permission.NODE_LIST: 13,
    Permission.NODE_WRITE: 14,
    Permission.NODE_SERVE: 15,
    Permission.DEPLOYMENT_LIST: 16,
    Permission.PRINCIPAL_LIST: 17,
    Permission.PRINCIPAL_WRITE: 18,
    Permission.TOKEN_LIST: 19,
    Permission.TOKEN_WRITE: 20,
    Permission.BINDING_LIST: 21,
    Permission.BINDING_WRITE: 22,
    Permission.AUDIT_READ: 23,
    Permission.KEY_READ: 24,
    Permission.KEY_WRITE: 25,
    Permission.METRICS_READ: 37,
    Permission.ROLE_WRITE: 26,
    Permission.ACCESS_REVIEW: 27,
    Permission.USER_RESET: 30,
    Permission.ROTATOR_WRITE: 45,
    Permission.BACKEND_LIST: 38,
    Permission.BACKEND_USE: 39,
    Permission.BACKEND_WRITE: 40,
    Permission.AUDIT_ERASE: 33,
    Permission.APPROVAL_DECIDE: 34,
    Permission.APPROVAL_LIST: 35,
    Permission.APPROVAL_POLICY_WRITE: 36,
    Permission.SECRET_EXPORT: 41,
    Permission.BACKUP_CREATE: 43,
    Permission.BACKUP_LIST: 44,
    Permission.MIGRATION_EXPORT: 46,
    Permission.MIGRATION_IMPORT: 47,
}

#: One line a permission for people; the reference page is made from it.
PERMISSION_MEANING: Final[dict[Permission, str]] = {
    Permission.ACCESS_REVIEW: "ask who may do what with a secret, and why; it shows names of principals, groups and roles",
    Permission.APP_BUNDLE_WRITE: "store a bundle (Compose files) of an app; together with secret:use it can print values",
    Permission.APP_DEPLOY: "deploy or undeploy a stored bundle of an app on a node; acts with the node's engine",
    Permission.APP_LIST: "see apps",
    Permission.APP_WRITE: "create and delete apps",
    Permission.APPROVAL_DECIDE: "approve or refuse what somebody else asks for; people only, never one's own request",
    Permission.APPROVAL_LIST: "see policies of approvals, and requests that others made",
    Permission.APPROVAL_POLICY_WRITE: "say what waits for a second person, and put secrets out of a policy's reach",
    Permission.AUDIT_ERASE: "erase free text (reasons, user agents) beside audit rows; the rows stay",
    Permission.AUDIT_READ: "read the audit log",
    Permission.BACKUP_CREATE: "let the server make a backup to a place of its configuration; it shows nothing of it",
    Permission.BACKUP_LIST: "see which backups were made and where they lie",
    Permission.BACKEND_LIST: "see backends, where they are and how they are doing, never a credential",
    Permission.BACKEND_USE: "let a secret of a scope come from a backend; the binding's name is BACKEND:REFERENCE or a prefix",
    Permission.BACKEND_WRITE: "create, change, test and delete backends and their credentials",
    Permission.BINDING_LIST: "see roles and bindings",
    Permission.BINDING_WRITE: "create and delete bindings; nobody can grant what they do not hold",
    Permission.DEPLOYMENT_LIST: "see deployments, their states and their redacted output",
    Permission.ENVIRONMENT_LIST: "see environments",
    Permission.ENVIRONMENT_WRITE: "create and delete environments",
    Permission.KEY_READ: "see the state of the keyring, never a key",
    Permission.KEY_WRITE: "rotate keys and verify every row",
    Permission.METRICS_READ: "read the metrics of the server, which name no secret and no person",
    Permission.MIGRATION_EXPORT: "write secrets with their history to a file for another instance; needs secret:reveal on each",
    Permission.MIGRATION_IMPORT: "take in secrets with their history from another instance; each needs secret:write as well",
    Permission.NODE_LIST: "see nodes",
    Permission.NODE_SERVE: "act as an agent: fetch the work of the own node and report; given to nodes only",
    Permission.NODE_WRITE: "create nodes and enrolment tokens, revoke nodes",
    Permission.PRINCIPAL_LIST: "see users, service accounts and groups",
    Permission.PRINCIPAL_WRITE: "create, disable and delete users, service accounts and groups",
    Permission.ROLE_WRITE: "create, change and delete roles; a change reaches no further than what its maker holds",
    Permission.ROTATOR_WRITE: "say how the server changes a credential at its source; it connects there with another secret",
    Permission.SECRET_ACTIVATE: "make another version of a secret the active one",
    Permission.SECRET_DELETE: "delete a secret with all of its history",
    Permission.SECRET_EXPORT: "write values to a file in plain text; encrypted exports need secret:reveal alone",
    Permission.SECRET_LIST: "see that a secret exists, and its metadata, never a value",
    Permission.SECRET_REVEAL: "see the value of a secret",
    Permission.SECRET_ROTATE: "let Overseer make a new version of a secret",
    Permission.SECRET_USE: "let a deployment consume a secret, without seeing it",
    Permission.SECRET_WRITE: "create a secret, add a version, change its metadata",
    Permission.TOKEN_LIST: "see tokens, never their text",
    Permission.TOKEN_WRITE: "create and revoke tokens",
    Permission.USER_RESET: "let a user set a new password, take away a second factor, tie a user to a provider's identity",
}

_READ_ONLY: Final = frozenset(
    {Permission.APP_LIST, Permission.DEPLOYMENT_LIST, Permission.ENVIRONMENT_LIST, Permission.NODE_LIST, Permission.SECRET_LIST}
)

#: Built-in roles. ``owner`` holds everything but ``node:serve``, which only a node may hold.
BUILT_IN_ROLES: Final[dict[str, frozenset[Permission]]] = {
    "auditor": _READ_ONLY
    | {
        Permission.ACCESS_REVIEW,
        Permission.APPROVAL_LIST,
        Permission.AUDIT_READ,
        Permission.BINDING_LIST,
        Permission.KEY_READ,
        Permission.PRINCIPAL_LIST,
        Permission.TOKEN_LIST,
    },
    "deployer": _READ_ONLY | {Permission.APP_DEPLOY, Permission.SECRET_USE},
    "developer": _READ_ONLY
    | {
        Permission.APP_BUNDLE_WRITE,
        Permission.SECRET_ACTIVATE,
        Permission.SECRET_DELETE,
        Permission.SECRET_REVEAL,
        Permission.SECRET_ROTATE,
        Permission.SECRET_WRITE,
    },
    "node": frozenset({Permission.NODE_SERVE}),
    "owner": frozenset(Permission) - {Permission.NODE_SERVE},
    "viewer": _READ_ONLY,
}


def to_bits(permissions: Iterable[Permission]) -> int:
    """The stored form of a set of permissions: a non-negative integer below 2^63."""
    bits = 0
    for permission in permissions:
        bits |= 1 << PERMISSION_BITS[permission]
    return bits


def from_bits(bits: int) -> frozenset[Permission]:
    """The permissions of a stored set; bits that this version does not know are dropped (deny by default)."""
    return frozenset(permission for permission, bit in PERMISSION_BITS.items() if bits >> bit & 1)

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

    ACCESS_EXPLAIN = "access:explain"
    ACCESS_REVIEW = "access:review"
    ALARM_AUDIT_BROKEN = "alarm:audit_broken"
    ALARM_BACKUP_FAILED = "alarm:backup_failed"
    ALARM_BACKUP_OLD = "alarm:backup_old"
    ALARM_JOB_STOPPED = "alarm:job_stopped"
    ALARM_BREAK_GLASS = "alarm:break_glass"
    ALARM_DECRYPT_FAILED = "alarm:decrypt_failed"
    ALARM_KEYRING_OLD = "alarm:keyring_old"
    ALARM_NO_LEADER = "alarm:no_leader"
    ALARM_NODE_KEY_MISMATCH = "alarm:node_key_mismatch"
    ALARM_ROTATION_FAILED = "alarm:rotation_failed"
    ALARM_SINK_BEHIND = "alarm:sink_behind"
    ALARM_UNSEAL_FAILED = "alarm:unseal_failed"
    APP_CREATE = "app:create"
    APP_DELETE = "app:delete"
    APP_LIST = "app:list"
    APP_PATCH = "app:patch"
    APPROVAL_CREATE = "approval:create"
    APPROVAL_DECIDE = "approval:decide"
    APPROVAL_LIST = "approval:list"
    APPROVAL_POLICY_CREATE = "approval_policy:create"
    APPROVAL_POLICY_DELETE = "approval_policy:delete"
    APPROVAL_POLICY_LIST = "approval_policy:list"
    APPROVAL_POLICY_PATCH = "approval_policy:patch"
    APPROVAL_READ = "approval:read"
    APPROVAL_USE = "approval:use"
    APPROVAL_WITHDRAW = "approval:withdraw"
    AUDIT_CHECKPOINT = "audit:checkpoint"
    AUDIT_ERASE_TEXT = "audit:erase_text"
    AUDIT_EXPORT = "audit:export"
    AUDIT_LIST = "audit:list"
    AUDIT_PROVE = "audit:prove"
    AUDIT_REMOVE = "audit:remove"
    AUDIT_ROTATE_KEY = "audit:rotate_key"
    BACKEND_CREATE = "backend:create"
    BACKEND_DELETE = "backend:delete"
    BACKEND_LIST = "backend:list"
    BACKEND_PATCH = "backend:patch"
    BACKEND_REFS = "backend:refs"
    BACKEND_TEST = "backend:test"
    BACKUP_CREATE = "backup:create"
    BACKUP_LIST = "backup:list"
    BACKUP_MADE = "backup:made"
    BACKUP_REMOVE = "backup:remove"
    BACKUP_RESTORE = "backup:restore"
    BACKUP_RESUME = "backup:resume"
    BINDING_CREATE = "binding:create"
    BINDING_DEACTIVATE = "binding:deactivate"
    BINDING_DELETE = "binding:delete"
    BINDING_LIST = "binding:list"
    BUNDLE_CREATE = "bundle:create"
    BUNDLE_LIST = "bundle:list"
    COMPROMISE_PLAN = "compromise:plan"
    DEPLOYMENT_CREATE = "deployment:create"
    DEPLOYMENT_DRIFT = "deployment:drift"
    DEPLOYMENT_LIST = "deployment:list"
    DEPLOYMENT_READ = "deployment:read"
    DEPLOYMENT_RELEASE = "deployment:release"
    DEPLOYMENT_REPORT = "deployment:report"
    DEPLOYMENT_ROLLBACK = "deployment:rollback"
    DEPLOYMENT_VERIFY = "deployment:verify"
    DEPLOYMENT_WATCH = "deployment:watch"
    ENROLMENT_CREATE = "enrolment:create"
    ENVIRONMENT_CREATE = "environment:create"
    ENVIRONMENT_DELETE = "environment:delete"
    ENVIRONMENT_LIST = "environment:list"
    ENVIRONMENT_PATCH = "environment:patch"
    GROUP_ADD_MEMBER = "group:add_member"
    GROUP_CREATE = "group:create"
    GROUP_DELETE = "group:delete"
    GROUP_LIST = "group:list"
    GROUP_PATCH = "group:patch"
    GROUP_REMOVE_MEMBER = "group:remove_member"
    IDENTITY_READ = "identity:read"
    IMPORT_COMPARE = "import:compare"
    IMPORT_CREATE = "import:create"
    IMPORT_FETCH = "import:fetch"
    IMPORT_LIST = "import:list"
    IMPORT_READ = "import:read"
    IMPORT_UNDO = "import:undo"
    KEY_READ = "key:read"
    KEY_RETIRE = "key:retire"
    KEY_ROTATE = "key:rotate"
    KEY_ROTATED = "key:rotated"
    KEY_VERIFY = "key:verify"
    METRICS_READ = "metrics:read"
    MIGRATION_COMPARE = "migration:compare"
    MIGRATION_EXPORT = "migration:export"
    MIGRATION_IMPORT = "migration:import"
    NODE_AUTHENTICATE = "node:authenticate"
    NODE_CREATE = "node:create"
    NODE_DELETE = "node:delete"
    NODE_DRAIN = "node:drain"
    NODE_ENROL = "node:enrol"
    NODE_HOLDINGS = "node:holdings"
    NODE_LIST = "node:list"
    NODE_PATCH = "node:patch"
    NODE_POLL = "node:poll"
    NODE_REVOKE = "node:revoke"
    NODE_ROTATE_KEYS = "node:rotate_keys"
    PASSWORD_CHANGE = "password:change"
    PASSWORD_SET = "password:set"
    PLAN_CREATE = "plan:create"
    ROLE_CREATE = "role:create"
    ROLE_DELETE = "role:delete"
    ROLE_LIST = "role:list"
    ROLE_PATCH = "role:patch"
    ROLLOUT_LIST = "rollout:list"
    ROLLOUT_READ = "rollout:read"
    ROLLOUT_START = "rollout:start"
    ROLLOUT_SUCCEEDED = "rollout:succeeded"
    ROLLOUT_WITHDRAWN = "rollout:withdrawn"
    ROTATION_CHANGE = "rotation:change"
    ROTATION_DUE = "rotation:due"
    ROTATION_LIST = "rotation:list"
    ROTATION_RUN = "rotation:run"
    ROTATION_STEP = "rotation:step"
    SEAL_MIGRATE = "seal:migrate"
    SEAL_UNSEAL = "seal:unseal"
    SECRET_ACTIVATE = "secret:activate"
    SECRET_BATCH = "secret:batch"
    SECRET_CREATE = "secret:create"
    SECRET_DELETE = "secret:delete"
    SECRET_EXPLAIN = "secret:explain"
    SECRET_EXPORT = "secret:export"
    SECRET_LIST = "secret:list"
    SECRET_MOVE = "secret:move"
    SECRET_PATCH = "secret:patch"
    SECRET_PULL = "secret:pull"
    SECRET_READ = "secret:read"
    SECRET_RESOLVE = "secret:resolve"
    SECRET_REVEAL = "secret:reveal"
    SECRET_ROTATE = "secret:rotate"
    SECRET_SOURCE = "secret:source"
    SECRET_UPDATE = "secret:update"
    SECRET_USAGE = "secret:usage"
    SECRET_USE = "secret:use"
    SECRET_VERSIONS = "secret:versions"
    SERVER_INIT = "server:init"
    SERVICE_ACCOUNT_CREATE = "service_account:create"
    SERVICE_ACCOUNT_DELETE = "service_account:delete"
    SERVICE_ACCOUNT_DISABLE = "service_account:disable"
    SERVICE_ACCOUNT_ENABLE = "service_account:enable"
    SERVICE_ACCOUNT_LIST = "service_account:list"
    SERVICE_ACCOUNT_PATCH = "service_account:patch"
    SESSION_CREATE = "session:create"
    SESSION_LIST = "session:list"
    SESSION_REVOKE = "session:revoke"
    TOKEN_CREATE = "token:create"
    TOKEN_EXCHANGE = "token:exchange"
    TOKEN_LIST = "token:list"
    TOKEN_REVOKE = "token:revoke"
    TOKEN_ROTATE = "token:rotate"
    TOTP_CONFIRM = "totp:confirm"
    TOTP_REMOVE = "totp:remove"
    TOTP_START = "totp:start"
    USER_CREATE = "user:create"
    USER_DELETE = "user:delete"
    USER_DISABLE = "user:disable"
    USER_ENABLE = "user:enable"
    USER_LINK = "user:link"
    USER_LIST = "user:list"
    USER_PATCH = "user:patch"
    USER_RESET = "user:reset"


#: One line an action for people; the reference page is made from it.
ACTION_MEANING: Final[dict[AuditAction, str]] = {
    AuditAction.ACCESS_EXPLAIN: "somebody asked why a principal may, or may not, do something with a secret",
    AuditAction.ACCESS_REVIEW: "somebody listed who may do what with secrets",
    AuditAction.ALARM_AUDIT_BROKEN: "the server's own check found sealed rows that are not what was sealed",
    AuditAction.ALARM_BACKUP_FAILED: "a backup was not made; the resource is its target, the code says why",
    AuditAction.ALARM_BACKUP_OLD: "a restored backup lacks audit rows which a checkpoint counted; the code says how many",
    AuditAction.ALARM_JOB_STOPPED: "the server goes on with something no more: whoever set it up may not; the code says why",
    AuditAction.ALARM_BREAK_GLASS: "an emergency binding was activated, or somebody tried; the reason says why",
    AuditAction.ALARM_DECRYPT_FAILED: "a stored value did not decrypt: it was changed, or its key is not the one that made it",
    AuditAction.ALARM_KEYRING_OLD: "the newest term (the version) is older than one that the log records; the code says which",
    AuditAction.ALARM_NO_LEADER: "no server runs the jobs; the code says who holds the leader's lock",
    AuditAction.ALARM_NODE_KEY_MISMATCH: "an enrolment token came a second time, with the keys of another machine",
    AuditAction.ALARM_ROTATION_FAILED: "a rotation failed or was taken back; the code says at which step",
    AuditAction.ALARM_SINK_BEHIND: "a sink has not taken rows for longer than its limit; the resource is its name",
    AuditAction.ALARM_UNSEAL_FAILED: "somebody tried to unseal the server with what does not fit",
    AuditAction.APP_CREATE: "an app was created",
    AuditAction.APP_DELETE: "an app was deleted",
    AuditAction.APP_LIST: "apps were listed, or one was shown",
    AuditAction.APP_PATCH: "an app's description was changed",
    AuditAction.APPROVAL_CREATE: "somebody asked for an approval",
    AuditAction.APPROVAL_DECIDE: "somebody decided about what another person asks for; the code says which way",
    AuditAction.APPROVAL_LIST: "requests for approval were listed",
    AuditAction.APPROVAL_POLICY_CREATE: "a policy of approvals was made: something waits for a second person from now on",
    AuditAction.APPROVAL_POLICY_DELETE: "a policy of approvals was deleted",
    AuditAction.APPROVAL_POLICY_LIST: "policies of approvals were read",
    AuditAction.APPROVAL_POLICY_PATCH: "a policy of approvals was changed",
    AuditAction.APPROVAL_READ: "a request for approval was read",
    AuditAction.APPROVAL_USE: "an approval was used up by the action of the same request; code break_glass: by an emergency",
    AuditAction.APPROVAL_WITHDRAW: "somebody took their request for approval back",
    AuditAction.AUDIT_CHECKPOINT: "signed checkpoints, the log's public keys or its state were read",
    AuditAction.AUDIT_ERASE_TEXT: "free text beside audit rows was erased; the code counts the texts",
    AuditAction.AUDIT_EXPORT: "audit rows were exported",
    AuditAction.AUDIT_LIST: "the audit log was read",
    AuditAction.AUDIT_PROVE: "a proof about the audit log was made",
    AuditAction.AUDIT_REMOVE: "old rows left the log as the setting says; the code counts them",
    AuditAction.AUDIT_ROTATE_KEY: "a new key signs the audit log's checkpoints; the version is its term",
    AuditAction.BACKEND_CREATE: "a backend was set up",
    AuditAction.BACKEND_DELETE: "a backend was deleted with its credentials",
    AuditAction.BACKEND_LIST: "backends were listed, or one was shown",
    AuditAction.BACKEND_PATCH: "settings or credentials of a backend were changed",
    AuditAction.BACKEND_REFS: "the references that a backend has were listed, without values",
    AuditAction.BACKEND_TEST: "somebody tried whether a backend answers; the code is what was wrong",
    AuditAction.BACKUP_CREATE: "somebody asked the server for a backup; the resource is its target",
    AuditAction.BACKUP_LIST: "backups were listed, or one was shown",
    AuditAction.BACKUP_MADE: "a backup was made; the code counts its rows",
    AuditAction.BACKUP_REMOVE: "an old backup was removed as its target's retention says",
    AuditAction.BACKUP_RESTORE: "the instance was restored from a backup; the code counts the credentials that ended",
    AuditAction.BACKUP_RESUME: "a restored instance follows its backup schedules; the code counts backups that it took over",
    AuditAction.BINDING_CREATE: "a role was given over a selector",
    AuditAction.BINDING_DEACTIVATE: "an emergency binding was ended before its time",
    AuditAction.BINDING_DELETE: "a role was taken away",
    AuditAction.BINDING_LIST: "bindings were listed, or one was shown",
    AuditAction.BUNDLE_CREATE: "a bundle (Compose files) of an app was stored",
    AuditAction.BUNDLE_LIST: "bundles of an app were listed",
    AuditAction.COMPROMISE_PLAN: "somebody asked what a node, a principal or the holder of secrets could have seen",
    AuditAction.DEPLOYMENT_CREATE: "a deployment or undeployment was ordered",
    AuditAction.DEPLOYMENT_DRIFT: "somebody asked where containers hold something else than they should",
    AuditAction.DEPLOYMENT_LIST: "deployments were listed",
    AuditAction.DEPLOYMENT_READ: "one deployment was shown",
    AuditAction.DEPLOYMENT_RELEASE: "an agent was given a deployment's files and the values that the request's other rows name",
    AuditAction.DEPLOYMENT_REPORT: "an agent said what became of a deployment; the code is the state",
    AuditAction.DEPLOYMENT_ROLLBACK: "an earlier deployment was ordered again, with the versions it had",
    AuditAction.DEPLOYMENT_VERIFY: "somebody asked whether containers hold what a deployment gave them",
    AuditAction.DEPLOYMENT_WATCH: "somebody began to watch a deployment or a group of them",
    AuditAction.ENROLMENT_CREATE: "an enrolment token was made for a node",
    AuditAction.ENVIRONMENT_CREATE: "an environment was created",
    AuditAction.ENVIRONMENT_DELETE: "an environment was deleted",
    AuditAction.ENVIRONMENT_LIST: "environments were listed, or one was shown",
    AuditAction.ENVIRONMENT_PATCH: "an environment's description was changed",
    AuditAction.GROUP_ADD_MEMBER: "a principal came into a group; a second row names it",
    AuditAction.GROUP_CREATE: "a group was created",
    AuditAction.GROUP_DELETE: "a group was deleted with its bindings",
    AuditAction.GROUP_LIST: "groups or members of one were listed, or a group was shown",
    AuditAction.GROUP_PATCH: "a group's name or description was changed",
    AuditAction.GROUP_REMOVE_MEMBER: "a principal left a group; a second row names it",
    AuditAction.IDENTITY_READ: "a principal asked who it is and what it may do",
    AuditAction.IMPORT_COMPARE: "a value to be imported was compared with the stored one; compared: its caller learnt whether",
    AuditAction.IMPORT_CREATE: "secrets were imported; the request's other rows name each",
    AuditAction.IMPORT_FETCH: "a folder of a backend was listed, or a value there fetched, for an import",
    AuditAction.IMPORT_LIST: "imports were listed",
    AuditAction.IMPORT_READ: "one import was shown",
    AuditAction.IMPORT_UNDO: "an import was undone as far as nothing had changed; the request's other rows name each",
    AuditAction.KEY_READ: "the state of the keyring was shown, never a key",
    AuditAction.KEY_RETIRE: "an old term of the key-encryption key was deleted for good; the version is the term",
    AuditAction.KEY_ROTATE: "a new term of the key-encryption key encrypts; the code says why, the version is the term",
    AuditAction.KEY_ROTATED: "every data key is wrapped by the newest term; failed where rows were left that do not open",
    AuditAction.KEY_VERIFY: "stored rows were opened to see whether they can be; the request's rows name those that cannot",
    AuditAction.METRICS_READ: "the metrics were read with a token",
    AuditAction.MIGRATION_COMPARE: "secrets of an archive of another instance were compared with those here, neither was shown",
    AuditAction.MIGRATION_EXPORT: "secrets were written to a file for another instance; secret:export rows name each version",
    AuditAction.MIGRATION_IMPORT: "secrets came from another instance, a row for each version; the code of the first says whose",
    AuditAction.NODE_AUTHENTICATE: "an agent exchanged a signed assertion for a short token",
    AuditAction.NODE_CREATE: "a node was created",
    AuditAction.NODE_DELETE: "a node was deleted",
    AuditAction.NODE_DRAIN: "a node was drained, or takes deployments again; the code says which",
    AuditAction.NODE_ENROL: "an agent joined, or proved its keys",
    AuditAction.NODE_HOLDINGS: "an agent said what its containers hold; a report in which nothing is new leaves no row",
    AuditAction.NODE_LIST: "nodes were listed, or one was shown",
    AuditAction.NODE_PATCH: "a node's description or labels were changed",
    AuditAction.NODE_POLL: "an agent took work; a poll that hands out nothing leaves no row",
    AuditAction.NODE_REVOKE: "a node was revoked",
    AuditAction.PASSWORD_CHANGE: "a user changed its own password; its other sessions ended",
    AuditAction.PASSWORD_SET: "a user set a password with an invitation",
    AuditAction.PLAN_CREATE: "a plan was made; further rows of the request name references that were refused",
    AuditAction.NODE_ROTATE_KEYS: "an agent began to replace its node's keys; node:enrol says that the new ones are in force",
    AuditAction.ROLE_CREATE: "a role was created",
    AuditAction.ROLE_DELETE: "a role was deleted; further rows of the request name the bindings that went with it",
    AuditAction.ROLE_LIST: "roles were listed, or one was shown",
    AuditAction.ROLE_PATCH: "a role was changed, and every binding that uses it",
    AuditAction.ROLLOUT_LIST: "rollouts were listed",
    AuditAction.ROLLOUT_READ: "one rollout was shown",
    AuditAction.ROLLOUT_START: "a version began to reach the containers that use the secret; the code counts the nodes",
    AuditAction.ROLLOUT_SUCCEEDED: "every container that uses the secret has the new version, which became the active one",
    AuditAction.ROLLOUT_WITHDRAWN: "a rollout was taken back, by somebody or (code unhealthy) by the server",
    AuditAction.ROTATION_CHANGE: "somebody said when a secret is rotated, or what changes its credential at the source",
    AuditAction.ROTATION_DUE: "a rotation is near, by as many days as the policy says",
    AuditAction.ROTATION_LIST: "rotations were listed, or one was shown, or its runs",
    AuditAction.ROTATION_RUN: "a rotation was asked for before its time",
    AuditAction.ROTATION_STEP: "the server did a step of a rotation at the source of a credential; the code is the step",
    AuditAction.SEAL_MIGRATE: "another seal (or new shares) took the place of the present one; the code names the old kind",
    AuditAction.SEAL_UNSEAL: "somebody tried to unseal the server; code share_accepted: gave one share of several",
    AuditAction.SECRET_ACTIVATE: "another version of a secret became the active one",
    AuditAction.SECRET_BATCH: "a batch of changes was refused as a whole; a batch that is let in has a row for each operation",
    AuditAction.SECRET_CREATE: "a secret was created",
    AuditAction.SECRET_DELETE: "a secret was deleted with all of its history",
    AuditAction.SECRET_EXPLAIN: "somebody asked which secret of a name wins at a scope",
    AuditAction.SECRET_EXPORT: "the value of a secret was exported; code plaintext: not encrypted",
    AuditAction.SECRET_LIST: "secrets were listed",
    AuditAction.SECRET_MOVE: "a secret was moved or renamed: one row for where it was, one for where it is",
    AuditAction.SECRET_PATCH: "metadata of a secret was changed",
    AuditAction.SECRET_PULL: "a new value came from a backend as a version, or (failed) the backend began to refuse or be away",
    AuditAction.SECRET_READ: "metadata of a secret was shown",
    AuditAction.SECRET_RESOLVE: "values were shown to whoever asked for what applies at a scope; one row for each name",
    AuditAction.SECRET_REVEAL: "the value of a secret was shown",
    AuditAction.SECRET_ROTATE: "a version was made by rotation",
    AuditAction.SECRET_SOURCE: "a secret was tied to a reference of a backend, or (code detached) untied",
    AuditAction.SECRET_UPDATE: "a version was added",
    AuditAction.SECRET_USAGE: "somebody asked which containers use a secret, or which secrets are unused or stale",
    AuditAction.SECRET_USE: "a deployment was allowed, or refused, to consume a secret",
    AuditAction.SECRET_VERSIONS: "the versions of a secret were listed, without values",
    AuditAction.SERVER_INIT: "the instance was set up",
    AuditAction.SERVICE_ACCOUNT_CREATE: "a service account was created",
    AuditAction.SERVICE_ACCOUNT_DELETE: "a service account was deleted with its tokens and bindings",
    AuditAction.SERVICE_ACCOUNT_DISABLE: "a service account was disabled; its tokens are refused",
    AuditAction.SERVICE_ACCOUNT_ENABLE: "a service account was enabled again with what it holds",
    AuditAction.SERVICE_ACCOUNT_LIST: "service accounts were listed, or one was shown",
    AuditAction.SERVICE_ACCOUNT_PATCH: "a service account's description was changed",
    AuditAction.SESSION_CREATE: "somebody signed in, or tried; the code of a refusal says why, for the operator's eyes only",
    AuditAction.SESSION_LIST: "sessions were listed",
    AuditAction.SESSION_REVOKE: "a session was ended, or all of a user (the code says how many)",
    AuditAction.TOKEN_CREATE: "a token was made",
    AuditAction.TOKEN_EXCHANGE: "a CI job's identity token was exchanged for a short token; further rows say which job",
    AuditAction.TOKEN_LIST: "tokens were listed, or one was shown, never their text",
    AuditAction.TOKEN_REVOKE: "a token was revoked",
    AuditAction.TOKEN_ROTATE: "a token got a successor and a nearer end",
    AuditAction.TOTP_CONFIRM: "a user put a second factor into force, or made new recovery codes",
    AuditAction.TOTP_REMOVE: "a second factor was taken away",
    AuditAction.TOTP_START: "a user asked for a new second factor; it is not in force yet",
    AuditAction.USER_CREATE: "a user was created, by somebody or (code provisioned) at its first sign-in through a provider",
    AuditAction.USER_DELETE: "a user was deleted with its tokens, sessions and bindings",
    AuditAction.USER_DISABLE: "a user was disabled; its tokens and sessions ended",
    AuditAction.USER_ENABLE: "a user was enabled again",
    AuditAction.USER_LINK: "a user was tied to the identity of a provider, or untied (code unlinked)",
    AuditAction.USER_LIST: "users were listed, or one was shown",
    AuditAction.USER_PATCH: "a user's description was changed",
    AuditAction.USER_RESET: "a link was made that sets a user's password; the old one and all sessions ended",
}


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

"""The end of an app, an environment or a node together with what belongs to it: secrets, bindings and the history of deployments.

Guarantees: refused while anything is deployed there or about to be, and while a secret waits for an approval to go; each secret
is authorised (``secret:delete``) and audited by itself, as are bindings (``binding:write``, and nobody takes away what they do
not hold); one transaction, in which nothing new can come to live at the part. Without the cascade a part goes only when nothing
belongs to it. The audit log keeps everything.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from overseer.core.access import Resource
from overseer.core.approvals import Operation
from overseer.core.audit_events import AuditAction
from overseer.core.errors import ApprovalRequired, Conflict, InUse, Problem
from overseer.core.permissions import Permission
from overseer.core.scopes import Scope
from overseer.server.services.approval_guard import CODE, requirement_of, secret_place
from overseer.server.services.binding_selectors import binding_view
from overseer.server.services.gate import Entry
from overseer.server.services.granted_rights import keep_an_owner, read_scope, require_reach
from overseer.server.storage import principal_rows, removal_rows
from overseer.server.storage.principal_rows import BindingRow
from overseer.server.storage.removal_rows import DeployedRow
from overseer.server.storage.scope_rows import Part, delete_part, lock_part
from overseer.server.storage.secret_rows import SecretRow, delete_secret, secrets_of_part
from overseer.wire.scopes import ContentsView, DeployedView, RemovedBinding, RemovedSecret
from overseer.wire.secrets import ScopeView


@dataclass(frozen=True, slots=True)
class Contents:
    """What belongs to a part; ``bundles`` and ``deployments`` are numbers."""

    deployed: list[DeployedRow]
    secrets: list[SecretRow]
    bindings: list[BindingRow]
    deployments: int
    bundles: int


async def contents_of(entry: Entry, scope: Scope[UUID]) -> Contents:
    """What belongs to the one part that is set in ``scope``."""
    bindings = []
    for binding_id in await removal_rows.bindings_of(entry.session, scope):
        bindings += await principal_rows.all_bindings(entry.session, binding_id=binding_id)
    deployments, bundles = await removal_rows.counts(entry.session, scope)
    return Contents(
        await removal_rows.deployed_at(entry.session, scope),
        await secrets_of_part(entry.session, scope),
        bindings,
        deployments,
        bundles,
    )


def contents_view(entry: Entry, part: Part, name: str, found: Contents) -> ContentsView:
    """As far as the caller may see it; the rest is counted."""
    deployed = [one for one in found.deployed if entry.permits(Permission.DEPLOYMENT_LIST, _deployment(one))]
    secrets = [one for one in found.secrets if entry.permits(Permission.SECRET_LIST, one.resource())]
    bindings = [one for one in found.bindings if entry.permits(Permission.BINDING_LIST, _binding(one))]
    everything = len(found.deployed) + len(found.secrets) + len(found.bindings)
    return ContentsView(
        part=part.value,
        name=name,
        deployed=[
            DeployedView(
                deployment_id=str(one.id),
                app=one.app,
                environment=one.environment,
                node=one.node,
                project=one.project,
                state=one.state,
            )
            for one in deployed
        ],
        secrets=[_secret(one) for one in secrets],
        bindings=[_shown(entry, one) for one in bindings],
        deployments=found.deployments,
        bundles=found.bundles,
        hidden=everything - len(deployed) - len(secrets) - len(bindings),
    )


async def remove_alone(entry: Entry, part: Part, part_id: UUID) -> None:
    """Delete a part that nothing belongs to, else :class:`Conflict`."""
    try:
        await delete_part(entry.session, part, part_id)
    except Conflict:
        rule = (
            f"the {part} is still in use: delete what belongs to it, and policies of approvals that name it, "
            "or look at its contents and ask for the cascade"
        )
        raise Conflict(rule) from None


async def remove_with_contents(entry: Entry, part: Part, name: str, scope: Scope[UUID], part_id: UUID) -> ContentsView:
    """Delete a part with what belongs to it; what went. The caller was let through for the part itself.

    Raises :class:`InUse` while something is deployed, and :class:`Denied` where a secret or a binding is beyond the caller.
    """
    await lock_part(entry.session, part, part_id)
    found = await contents_of(entry, scope)
    view = contents_view(entry, part, name, found)
    if found.deployed:
        problems = [_standing(one) for one in view.deployed]
        rule = f"{len(found.deployed)} deployments of this {part} run or are about to: undeploy them first"
        raise InUse(rule, problems=problems)
    guarded = []
    for secret in found.secrets:
        entry.authorise(Permission.SECRET_DELETE, secret.resource(), action=AuditAction.SECRET_DELETE)
        if await requirement_of(entry.session, [secret_place(Operation.DELETE, secret)]) is not None:
            entry.deny_event(-1, CODE)
            guarded.append(Problem(secret.name, f"at {secret.scope_names}: delete it by itself, with its approval", CODE))
            continue
        await delete_secret(entry.session, secret.id)
    if guarded:
        rule = f"{len(guarded)} secrets of this {part} wait for an approval to be deleted; nothing was deleted"
        raise ApprovalRequired(rule, problems=guarded)
    for binding in found.bindings:
        entry.authorise(Permission.BINDING_WRITE, _binding(binding), action=AuditAction.BINDING_DELETE)
        require_reach(entry, Permission.BINDING_WRITE, [binding])
        await principal_rows.delete_binding(entry.session, binding.binding.id)
    if found.bindings:
        await keep_an_owner(entry)
    await removal_rows.delete_history(entry.session, scope)
    await remove_alone(entry, part, part_id)
    return view


def _standing(one: DeployedView) -> Problem:
    return Problem(str(Scope(one.app, one.environment, one.node)), f"{one.project} is deployed, or about to be", "in_use")


def _deployment(row: DeployedRow) -> Resource:
    return Resource("deployment", row.app, row.scope, row.id, Scope(row.app, row.environment, row.node))


def _binding(row: BindingRow) -> Resource:
    return Resource("binding", str(row.binding.pattern), read_scope(row.binding), row.binding.id)


def _secret(row: SecretRow) -> RemovedSecret:
    names = row.scope_names
    return RemovedSecret(
        id=str(row.id), name=row.name, scope=ScopeView(app=names.app, environment=names.environment, node=names.node)
    )


def _shown(entry: Entry, row: BindingRow) -> RemovedBinding:
    view = binding_view(row, entry.now)
    return RemovedBinding(id=view.id, principal=view.principal, role=view.role, name=view.name)

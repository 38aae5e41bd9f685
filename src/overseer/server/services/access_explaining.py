"""May this principal do that, and why: the decision with the bindings that make it, or with what they lack.

About itself everybody may ask. About others it needs ``access:review`` over what is asked about. Bindings that select something
else are shown only to who may list bindings: they tell of places that the caller may not know.
"""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Final
from uuid import UUID

from overseer.core.access import Resource
from overseer.core.access_explanations import ELSEWHERE, Lack, lacks
from overseer.core.audit_events import AuditAction
from overseer.core.errors import InvalidInput, Problem, Unavailable
from overseer.core.identifiers import check_name
from overseer.core.permissions import Permission
from overseer.core.principals import Caller, PrincipalKind
from overseer.core.scopes import Scope
from overseer.server.services.binding_selectors import binding_view, person_by_name
from overseer.server.services.gate import Entry, Gate
from overseer.server.services.places import authorise_at, find_place
from overseer.server.services.secret_access import known_secret
from overseer.server.services.token_issuing import SELF
from overseer.server.storage import principal_rows as rows
from overseer.server.storage.membership_rows import groups_of
from overseer.server.storage.secret_rows import candidates
from overseer.wire.reviews import AccessExplainRequest, AccessExplanation, BindingFinding

MOST_FINDINGS: Final = 100


class AccessExplaining:
    """See the module's text."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    async def explain(self, caller: Caller, body: AccessExplainRequest) -> AccessExplanation:
        """Yes or no, and why. Raises :class:`Denied`, and :class:`Unavailable` for what the caller may not know of."""
        async with self._gate.enter(caller, AuditAction.ACCESS_EXPLAIN) as entry:
            permission = read_permission(body.permission, "body.permission")
            if (body.secret_id is None) == (body.name is None):
                rule = "give exactly one of secret_id and name"
                raise InvalidInput(rule, problems=[Problem("body", rule, "one_of")])
            own = body.principal == SELF
            resource = await _asked(entry, body, own)
            principal = await _principal(entry, body.principal, own)
            findings = await _findings(entry, principal, permission, resource)
            reasons = await _reasons(entry, principal, findings, body.peer)
            shown = _shown(entry, findings, own)
            names = resource.scope_names
            return AccessExplanation(
                allowed=not reasons,
                reasons=reasons,
                principal=principal.name,
                kind=principal.kind.value,
                permission=permission.value,
                name=resource.name,
                app=names.app,
                environment=names.environment,
                node=names.node,
                secret_id=await _existing(entry, resource),
                bindings=shown,
            )


def read_permission(text: str, place: str) -> Permission:
    """A permission by name. Raises :class:`InvalidInput`."""
    try:
        return Permission(text)
    except ValueError:
        rule = "there is no such permission; 'overseer role permissions' lists them"
        raise InvalidInput(rule, problems=[Problem(place, rule, "unknown_permission")]) from None


async def _asked(entry: Entry, body: AccessExplainRequest, own: bool) -> Resource:
    """What is asked about, authorised."""
    needed = Permission.SECRET_LIST if own else Permission.ACCESS_REVIEW
    if body.secret_id is not None:
        return (await known_secret(entry, body.secret_id, needed)).resource()
    name = check_name(body.name or "", "body.name")
    place = await find_place(entry.session, Scope(body.app, body.environment, body.node))
    if not own:
        authorise_at(entry, place, Permission.ACCESS_REVIEW, name)
    elif place.missing and place.known_to(entry):
        entry.refuse(place.resource(name), "unavailable")
        raise place.unknown()
    else:
        entry.accept(place.resource(name))
    return place.resource(name)


async def _principal(entry: Entry, name: str, own: bool) -> rows.PrincipalRow:
    found = await rows.principal_by_id(entry.session, entry.actor.id) if own else await person_by_name(entry.session, name)
    if found is None:
        raise Unavailable("there is no user and no service account of that name")
    return found


Finding = tuple[rows.BindingRow, str | None, tuple[Lack, ...]]


async def _findings(
    entry: Entry, principal: rows.PrincipalRow, permission: Permission, resource: Resource
) -> list[Finding]:
    """Every binding of the principal, the ones that lack least first."""
    groups = await groups_of(entry.session, principal.id)
    held = await rows.all_bindings(entry.session, [principal.id, *groups])

    def missing(row: rows.BindingRow) -> tuple[Lack, ...]:
        available = row.active_seconds is not None and (row.available_until is None or row.available_until > entry.now)
        return lacks(row.binding, permission, resource, entry.now, dormant=available)

    found = [(row, groups.get(row.subject_id), missing(row)) for row in held]
    return sorted(found, key=lambda one: (len(one[2]), str(one[0].binding.id)))


async def _reasons(entry: Entry, principal: rows.PrincipalRow, findings: list[Finding], peer: str | None) -> list[str]:
    """Every reason why not, in stable words."""
    reasons = ["principal_disabled"] if principal.disabled_at is not None else []
    missing = [set(lacks) for _, _, lacks in findings]
    if set() not in missing:
        if {Lack.DORMANT} in missing:
            reasons.append("dormant_binding")
        reasons.append("expired_binding" if {Lack.EXPIRED} in missing else "no_binding")
    if principal.kind is PrincipalKind.SERVICE_ACCOUNT or peer is not None:
        reasons += await _credential_reasons(entry, principal, peer)
    return reasons


async def _credential_reasons(entry: Entry, principal: rows.PrincipalRow, peer: str | None) -> list[str]:
    address = None
    if peer is not None:
        try:
            address = ip_address(peer)
        except ValueError:
            rule = "peer is an IPv4 or IPv6 address"
            raise InvalidInput(rule, problems=[Problem("body.peer", rule, "bad_address")]) from None
    tokens = await rows.all_tokens(entry.session, principal.name)
    live = [one for one in tokens if one.revoked_at is None and one.expires_at > entry.now]
    if not live:
        return ["no_live_token"]
    reached = [
        one for one in live
        if address is None or one.networks is None or any(address in ip_network(network) for network in one.networks)
    ]  # fmt: skip
    return [] if reached else ["foreign_network"]


def _shown(entry: Entry, findings: list[Finding], own: bool) -> list[BindingFinding]:
    everything = own or entry.permits(Permission.BINDING_LIST, Resource("binding"))
    return [
        BindingFinding(binding=binding_view(row, entry.now), group=group, lacks=[lack.value for lack in missing])
        for row, group, missing in findings
        if everything or ELSEWHERE.isdisjoint(missing)
    ][:MOST_FINDINGS]


async def _existing(entry: Entry, resource: Resource) -> str | None:
    if resource.id is not None:
        return str(resource.id)
    if not entry.permits(Permission.SECRET_LIST, resource):
        return None
    found: list[UUID] = [
        row.id for row in await candidates(entry.session, [resource.name], resource.scope) if row.scope == resource.scope
    ]
    return str(found[0]) if found else None

"""From a provider's verified claims to a user here: found by issuer and subject, made where the rule says so, put into groups.

Guarantees: nothing but (issuer, subject) finds a user: not a name, not an e-mail address, which a provider's users may choose
and which change hands. A new user's name is made from a claim and never that of somebody who is there. In the groups that the
configuration maps, the user is exactly what the claim says at this sign-in; other groups are not touched.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final

from overseer.core.access import Resource
from overseer.core.audit_events import AuditAction
from overseer.core.errors import Denied, OverseerError
from overseer.core.identifiers import new_id
from overseer.core.principals import Actor, PrincipalKind
from overseer.server.services.gate import Entry
from overseer.server.services.granted_rights import keep_an_owner
from overseer.server.services.token_issuing import SELF
from overseer.server.sign_in_settings import OidcProvider
from overseer.server.storage import external_identity_rows as identities
from overseer.server.storage import principal_rows, user_rows
from overseer.server.storage.external_identity_rows import LinkedUser

MAX_NAME: Final = 64
MAX_GROUPS: Final = 1000
_UNFIT: Final = re.compile(r"[^A-Za-z0-9_.-]+")


async def signed_in_user(entry: Entry, name: str, provider: OidcProvider, claims: Mapping[str, Any]) -> LinkedUser:
    """The user behind the claims, in its groups. Raises :class:`Denied`; the audit row says why, and the subject. Raises
    :class:`Conflict` where the claims would take the last owner without limits out of its group."""
    subject = str(claims["sub"])
    theirs = _groups(provider, claims)
    held = sorted({provider.groups[group] for group in theirs if group in provider.groups})
    user = await identities.linked_user(entry.session, provider.issuer, subject)
    if user is None:
        user = await _provisioned(entry, name, provider, claims, may=_may_provision(provider, held))
    # Under the user's lock, as every other sign-in: who disables or resets it waits and then ends this session, too.
    await user_rows.lock_user(entry.session, user.id)
    now = await principal_rows.principal_by_id(entry.session, user.id)
    if now is None or now.disabled_at is not None:
        entry.refuse(Resource("user", user.name, id=user.id), "principal_disabled")
        raise _not_let_in()
    changed = await identities.follow_groups(entry.session, user.id, sorted(set(provider.groups.values())), held)
    entry.attribute(Actor(user.id, PrincipalKind.USER, user.name, user.id, ()))
    for group_id, group, added in changed:
        action = AuditAction.GROUP_ADD_MEMBER if added else AuditAction.GROUP_REMOVE_MEMBER
        entry.accept(Resource("group", group, id=group_id), action=action)
        entry.amend(code=user.name, token_id=None)
    if not all(added for _, _, added in changed):
        await keep_an_owner(entry)
    return user


def _may_provision(provider: OidcProvider, held: list[str]) -> bool:
    return provider.provision == "everyone" or (provider.provision == "mapped" and bool(held))


async def _provisioned(entry: Entry, name: str, provider: OidcProvider, claims: Mapping[str, Any], *, may: bool) -> LinkedUser:
    subject = str(claims["sub"])
    if not may:
        entry.refuse(Resource("provider", name), "not_linked")
        entry.amend(reason=f"subject {subject}")  # erasable, and what an administrator needs to tie it to a user
        raise _not_let_in()
    user_id = new_id(entry.now)
    chosen = await _free_name(entry, claims.get(provider.name_claim), subject)
    await principal_rows.insert_principal(
        entry.session, user_id, PrincipalKind.USER, chosen, f"made at the first sign-in through {name}", None
    )
    await identities.link(entry.session, provider.issuer, subject, user_id)
    entry.attribute(Actor(user_id, PrincipalKind.USER, chosen, user_id, ()))
    entry.accept(Resource("user", chosen, id=user_id), action=AuditAction.USER_CREATE)
    entry.amend(code="provisioned", token_id=None)
    return LinkedUser(user_id, chosen)


async def _free_name(entry: Entry, claim: Any, subject: str) -> str:
    """A name after the claim that nobody has, in any case; made from the subject where the claim is of no use."""
    wish = _UNFIT.sub("-", claim if isinstance(claim, str) else "").lstrip("-.")[:MAX_NAME]
    wish = wish or f"user-{hashlib.sha256(subject.encode('utf-8')).hexdigest()[:12]}"
    for number in range(1, 1000):
        name = wish if number == 1 else f"{wish}-{number}"
        taken = await user_rows.all_users(entry.session, name=name)
        machine = await principal_rows.principal_by_name(entry.session, PrincipalKind.SERVICE_ACCOUNT, name)
        if not taken and machine is None and name.lower() != SELF:
            return name
    raise _not_let_in()


def _groups(provider: OidcProvider, claims: Mapping[str, Any]) -> set[str]:
    """What the groups claim lists; a path of names with dots leads into claims inside."""
    value: Any = claims.get(provider.groups_claim)
    if value is None:
        value = claims
        for part in provider.groups_claim.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
    listed = value if isinstance(value, list) else [value]
    return {group for group in listed[:MAX_GROUPS] if isinstance(group, str)}


def _not_let_in() -> OverseerError:
    return Denied("the provider knows you and this server does not let you in: ask an administrator (the audit log says why)")

"""Who may do what with which secret, for all secrets over which the caller holds ``access:review``.

One row for a secret and a principal, in pages: a page looks at secrets in growing steps until it is full, so that its cost
follows the rows that it gives and not the number of secrets or of principals. Disabled principals and ended bindings are left
out; what an emergency binding would give is told apart.
"""

from __future__ import annotations

from typing import Final
from uuid import UUID

from overseer.core.access import Resource
from overseer.core.audit_events import AuditAction
from overseer.core.errors import InvalidInput, Problem
from overseer.core.identifiers import is_name
from overseer.core.permissions import Permission, from_bits, to_bits
from overseer.core.principals import Caller
from overseer.core.scopes import Scope
from overseer.server.services.access_explaining import read_permission
from overseer.server.services.cursors import bad_cursor, read_cursor, write_cursor
from overseer.server.services.gate import Entry, Gate
from overseer.server.services.secret_access import known_secret
from overseer.server.storage.access_rows import AccessRow, access_of
from overseer.server.storage.secret_rows import SecretFilter, SecretRow, visible_page
from overseer.wire.messages import Page
from overseer.wire.reviews import AccessEntry, AccessVia

MAX_ENTRIES: Final = 5000
FIRST_STEP: Final = 8
LONGEST_STEP: Final = 512
MOST_SECRETS: Final = 2048
ABOUT_SECRETS: Final = to_bits(one for one in Permission if one.startswith("secret:"))


class AccessReviewing:
    """See the module's text."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    async def review(
        self,
        caller: Caller,
        *,
        permission: str | None = None,
        principal: str | None = None,
        secret: UUID | None = None,
        app: str | None = None,
        environment: str | None = None,
        node: str | None = None,
        name: str | None = None,
        cursor: str | None = None,
        limit: int = 1000,
    ) -> Page[AccessEntry]:
        """A page by name of the secret and of the principal; one with ``next_cursor`` may hold few entries, or none.

        ``permission`` asks for one alone, else every one on secrets; ``name`` is exact or ends in ``*``.
        """
        async with self._gate.enter(caller, AuditAction.ACCESS_REVIEW) as entry:
            names = Scope(app, environment, node)
            bits = ABOUT_SECRETS if permission is None else to_bits([read_permission(permission, "query.permission")])
            if secret is not None:
                only = [await known_secret(entry, secret, Permission.ACCESS_REVIEW)]
            else:
                entry.authorise_list(Permission.ACCESS_REVIEW, Resource("secret", name or "", scope_names=names))
                only = None
            if not 1 <= limit <= MAX_ENTRIES:
                rule = f"limit is a number of 1 to {MAX_ENTRIES}"
                raise InvalidInput(rule, problems=[Problem("query.limit", rule, "bad_limit")])
            wanted = SecretFilter(app, environment, node, name=(name or "").removesuffix("*") or None,
                                  name_is_prefix=(name or "").endswith("*"))  # fmt: skip
            return await _page(entry, wanted, only, bits, principal, cursor, limit)


async def _page(
    entry: Entry,
    wanted: SecretFilter,
    only: list[SecretRow] | None,
    bits: int,
    principal: str | None,
    cursor: str | None,
    limit: int,
) -> Page[AccessEntry]:
    after, within = (None, None) if cursor is None else _read(cursor)
    found: list[AccessEntry] = []
    step, looked = FIRST_STEP, 0
    while True:
        secrets = await _secrets(entry, wanted, after, step) if only is None else only
        rows = await access_of(entry.session, [row.id for row in secrets], bits, principal, within, limit - len(found) + 1)
        by_id = {row.id: row for row in secrets}
        room = limit - len(found)
        found += [_entry(by_id[row.secret_id], row) for row in rows[:room]]
        if len(rows) > room:
            last = rows[room - 1]
            return Page(items=found, next_cursor=_write(by_id[last.secret_id], last))
        if only is not None or len(secrets) < step:
            return Page(items=found)
        looked, within = looked + len(secrets), None
        after = secrets[-1].name, secrets[-1].id
        # As many as should fill the page, by what the ones before gave: what does not fit would have been looked for in vain.
        step = min(max(FIRST_STEP, looked * (limit - len(found)) // max(1, len(found))), 4 * step, LONGEST_STEP)
        if len(found) == limit or looked >= MOST_SECRETS:
            return Page(items=found, next_cursor=write_cursor(after[0], str(after[1]), "", ""))


async def _secrets(entry: Entry, wanted: SecretFilter, after: tuple[str, UUID] | None, step: int) -> list[SecretRow]:
    return await visible_page(entry.session, entry.actor.id, Permission.ACCESS_REVIEW, entry.now, wanted, after, step)


def _write(secret: SecretRow, last: AccessRow) -> str:
    return write_cursor(secret.name, str(secret.id), last.principal, str(last.principal_id))


def _read(cursor: str) -> tuple[tuple[str, UUID], tuple[UUID, str, UUID] | None]:
    """After which secret the page begins, and after which principal of the secret that the page before broke off in."""
    name, secret_text, principal, principal_text = read_cursor(cursor, str, str, str, str)
    try:
        secret = UUID(secret_text)
        if not is_name(name):
            raise bad_cursor()
        if not principal:
            return (name, secret), None
        if not is_name(principal) or secret.int == 0:
            raise bad_cursor()
        # That secret itself comes again: the list goes on behind the id just before its own.
        return (name, UUID(int=secret.int - 1)), (secret, principal, UUID(principal_text))
    except ValueError:
        raise bad_cursor() from None


def _entry(secret: SecretRow, row: AccessRow) -> AccessEntry:
    names = secret.scope_names
    return AccessEntry(
        secret_id=str(secret.id),
        secret=secret.name,
        app=names.app,
        environment=names.environment,
        node=names.node,
        principal_id=str(row.principal_id),
        principal=row.principal,
        kind=row.kind,
        permissions=sorted(from_bits(row.bits)),
        dormant=sorted(from_bits(row.dormant_bits & ~row.bits)),
        via=[
            AccessVia(binding_id=str(binding), role=role, group=group)
            for binding, role, group in sorted(zip(row.bindings, row.roles, row.groups, strict=True))
        ],
    )

"""What people perhaps meant by names that have no secret for them at a place: similar names there, the same name elsewhere.

Guarantees: only secrets that the caller may list are ever named, so what is said is what the caller could have found by a list;
it does not depend on whether a secret exists that the caller may not know of.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from uuid import UUID

from overseer.compose.advice import Advice
from overseer.core.permissions import Permission
from overseer.core.scopes import Scope
from overseer.server.services.gate import Entry
from overseer.server.storage.secret_rows import SecretFilter, SecretRow, visible_page

MOST_LISTED: Final = 2000
MOST_NAMES: Final = 20


async def advice_for(entry: Entry, names: Iterable[str], place: Scope[UUID]) -> Advice:
    """Advice about ``names``, inside the gate's transaction. The first :data:`MOST_NAMES` are looked up elsewhere."""
    known = {row.name for row in await _listed(entry, SecretFilter(), MOST_LISTED) if row.scope.covers(place)}
    elsewhere: dict[str, str] = {}
    for name in sorted(set(names))[:MOST_NAMES]:
        for row in await _listed(entry, SecretFilter(name=name), MOST_NAMES):
            if not row.scope.covers(place):
                elsewhere.setdefault(name, str(row.scope_names))
    return Advice(known=known, elsewhere=tuple(elsewhere.items()))


async def _listed(entry: Entry, wanted: SecretFilter, limit: int) -> list[SecretRow]:
    return await visible_page(entry.session, entry.actor.id, Permission.SECRET_LIST, entry.now, wanted, None, limit)

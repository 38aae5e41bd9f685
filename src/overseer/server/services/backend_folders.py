"""What is below a folder of a backend, as an import wants it: every place once, folders within folders where that is asked for.

Guarantees: at most :data:`MOST` places and :data:`MOST_FOLDERS` folders; where there are more it says so and gives nothing, so
that nobody takes a part for the whole. What a list of the backend names beside the folder (a longer word with the same beginning)
is left out where the backend has folders; elsewhere :func:`shown` leaves it out for those who may not use it. Beside that it
decides nothing: callers were let through for the folder already.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from overseer.core.access import Resource
from overseer.core.backend_references import BackendReference, grant_name
from overseer.core.errors import InvalidInput
from overseer.core.permissions import Permission
from overseer.server.backends.registry import KINDS
from overseer.server.services.backend_calls import BackendCalls
from overseer.server.services.gate import Entry
from overseer.server.services.places import Place
from overseer.server.storage.backend_rows import BackendRow
from overseer.wire.imports import MAX_ENTRIES

MOST: Final = MAX_ENTRIES
MOST_FOLDERS: Final = 500
LIST_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class StoredPlace:
    """A place by its name there, by what of it stands below the folder ('' for the folder's own value), and as a reference,
    which is None where the name breaks the rule of references."""

    name: str
    below: str
    reference: BackendReference | None


def shown(entry: Entry, row: BackendRow, place: Place, folder: str, names: Iterable[str]) -> list[str]:
    """The names that whoever may list ``folder`` may know of: what is below it, and what they may use beside it.

    A store without folders lists every longer word (``apps/shopping`` for ``apps/shop``): a right to the folder is none to it.
    """

    def usable(name: str) -> bool:
        resource = Resource("backend", grant_name(row.name, name), place.scope, row.id, place.names)
        return entry.permits(Permission.BACKEND_USE, resource)

    below = f"{folder}/" if folder else ""
    return [name for name in names if name.startswith(below) or usable(name)]


async def places_below(calls: BackendCalls, row: BackendRow, folder: str, *, recursive: bool) -> list[StoredPlace]:
    """Sorted by name. A folder that lists nothing is taken as a place itself.

    Raises :class:`BackendUnavailable`, :class:`BackendRefused`, and :class:`InvalidInput` where there are too many.
    """
    flat = row.kind in KINDS and not KINDS[row.kind].folders
    start = folder if flat or not folder else f"{folder}/"
    names: set[str] = set()
    waiting, asked = deque([folder]), {folder}
    while waiting:
        if len(asked) > MOST_FOLDERS:
            raise InvalidInput(f"there are more than {MOST_FOLDERS} folders below this one: import some of them at a time")
        for name in await calls.list(row, waiting.popleft(), LIST_SECONDS):
            if name.endswith("/"):
                if recursive and (inner := name.rstrip("/")) not in asked:
                    asked.add(inner)
                    waiting.append(inner)
            elif name.startswith(start) and (recursive or "/" not in name[len(start) :]):
                names.add(name)
        if len(names) > MOST:
            raise InvalidInput(f"an import takes at most {MOST} places: import a folder at a time")
    if not names and folder and (reference := _reference(folder)) is not None:
        return [StoredPlace(folder, "", reference)]
    return [StoredPlace(name, name[len(start) :].lstrip("-") or name, _reference(name)) for name in sorted(names)]


def _reference(name: str) -> BackendReference | None:
    try:
        return BackendReference.parse(name) if "@" not in name else None
    except InvalidInput:
        return None

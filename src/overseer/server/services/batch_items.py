"""The operations of a batch on their way: found, authorised, read and checked, with every problem of every one kept.

Nothing is said about a secret that its caller may not know of: a refusal is worded as that of the single request. What is
wrong with operations is told all at once (:meth:`Items.stop`), in one error: ``denied`` or ``unavailable`` where any of them was
refused, else ``invalid_input`` where a rule is broken, else ``batch_refused`` where the present state forbids it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NoReturn
from uuid import UUID

from msgspec import UNSET

from overseer.core.access import Resource
from overseer.core.audit_events import AuditAction
from overseer.core.errors import BatchRefused, Denied, InvalidInput, OverseerError, Problem, Unavailable
from overseer.core.permissions import Permission
from overseer.core.scopes import Scope
from overseer.server.services.gate import Entry
from overseer.server.services.places import Place, authorise_at, find_place
from overseer.server.services.secret_input import (
    Metadata,
    NewValue,
    check_metadata,
    check_secret_name,
    gives_value,
    optional_value,
    read_metadata,
    read_value,
)
from overseer.server.storage import secret_rows
from overseer.server.storage.secret_rows import SecretRow
from overseer.wire.secret_batches import (
    BatchActivate,
    BatchCreate,
    BatchDelete,
    BatchPatch,
    BatchRotate,
    BatchSet,
    BatchUpdate,
    Operation,
)

REFUSED: Final = 2
_PERMISSION: Final[dict[type, tuple[Permission, AuditAction]]] = {
    BatchActivate: (Permission.SECRET_ACTIVATE, AuditAction.SECRET_ACTIVATE),
    BatchDelete: (Permission.SECRET_DELETE, AuditAction.SECRET_DELETE),
    BatchPatch: (Permission.SECRET_WRITE, AuditAction.SECRET_PATCH),
    BatchRotate: (Permission.SECRET_ROTATE, AuditAction.SECRET_ROTATE),
    BatchUpdate: (Permission.SECRET_WRITE, AuditAction.SECRET_UPDATE),
}


@dataclass(slots=True)
class Item:
    """One operation. ``row``: the secret as it is (None: there is none yet); ``event`` counts its audit row."""

    index: int
    operation: Operation
    event: int = -1
    row: SecretRow | None = None
    place: Place | None = None
    value: NewValue | None = None
    metadata: Metadata | None = None
    id: UUID | None = None
    version: int | None = None

    @property
    def by_name(self) -> bool:
        return isinstance(self.operation, BatchCreate | BatchSet)

    @property
    def name(self) -> str:
        """Of a new secret."""
        return str(getattr(self.operation, "name", ""))

    @property
    def if_match(self) -> str | None:
        return getattr(self.operation, "if_match", None)


class Items:
    """All operations of one request inside the gate."""

    def __init__(self, entry: Entry, operations: Sequence[Operation]) -> None:
        self._entry = entry
        self._problems: list[Problem] = []
        self._bad: set[int] = set()
        self._worst: OverseerError | None = None
        self.all = [Item(index, operation) for index, operation in enumerate(operations)]

    async def admit(self, replayed: Sequence[UUID] | None) -> None:
        """Find and authorise each; on a replay a secret that is gone by now needs no permission any more."""
        wanted = [item.operation.id for item in self.all if not isinstance(item.operation, BatchCreate | BatchSet)]
        found = {row.id: row for row in await secret_rows.secrets_by_id(self._entry.session, wanted)}
        places: dict[Scope[str], Place | InvalidInput] = {}
        for item in self.all:
            try:
                if isinstance(item.operation, BatchCreate | BatchSet):
                    await self._admit_by_name(item, item.operation, places)
                elif replayed is not None and item.operation.id not in found:
                    self._entry.accept(Resource("secret", id=item.operation.id))
                else:
                    self._admit_by_id(item, item.operation, found.get(item.operation.id))
            except (Denied, Unavailable, InvalidInput) as error:
                self.note(item, error)
            self._name_event(item)

    def read(self) -> None:
        """Values and metadata by the rules of ``secret_input``. Patches wait for the row under its lock."""
        for item in self.all:
            operation = item.operation
            try:
                if isinstance(operation, BatchCreate | BatchSet | BatchUpdate):
                    item.value = read_value(operation)
                elif isinstance(operation, BatchRotate):
                    item.value = optional_value(operation)
                if isinstance(operation, BatchCreate):
                    item.metadata = read_metadata(operation)
                elif isinstance(operation, BatchSet | BatchPatch):
                    item.metadata = check_metadata(*sent_metadata(operation))
            except InvalidInput as error:
                self.note(item, error)
        self._refuse_twins()

    def note(self, item: Item, error: OverseerError) -> None:
        """Keep what is wrong with one operation."""
        self._bad.add(item.index)
        place = f"body.operations[{item.index}]"
        parts = error.problems or (Problem("", error.message, error.code),)
        for part in parts:
            inner = part.place.removeprefix("body")
            code = error.code if isinstance(error, Denied | Unavailable) else part.code
            where = place + inner if inner.startswith((".", "[")) or not inner else f"{place} ({inner})"
            self._problems.append(Problem(where, part.rule, code))
        if self._worst is None or _weight(error) > _weight(self._worst):
            self._worst = error

    @property
    def good(self) -> list[Item]:
        """Those that nothing was noted of."""
        return [item for item in self.all if item.index not in self._bad]

    def stop(self, *, only_refusals: bool = False) -> None:
        """Raise the one error for all that was noted; nothing where nothing was.

        ``only_refusals``: go on where no operation was refused, to find out what the state says to the others.
        """
        if self._worst is not None and not (only_refusals and _weight(self._worst) < REFUSED):
            self._raise(self._worst)

    def _raise(self, worst: OverseerError) -> NoReturn:
        message = f"nothing was changed: {len(self._bad)} of {len(self.all)} operations cannot be done"
        kind = type(worst) if isinstance(worst, Denied | Unavailable) else InvalidInput if _weight(worst) == 1 else BatchRefused
        raise kind(message, problems=self._problems)

    async def _admit_by_name(
        self, item: Item, operation: BatchCreate | BatchSet, places: dict[Scope[str], Place | InvalidInput]
    ) -> None:
        names = Scope(operation.app, operation.environment, operation.node)
        try:
            check_secret_name(operation.name)
            if names not in places:
                places[names] = await find_place(self._entry.session, names)
        except InvalidInput:
            # A name that is none is no place to decide about; the row says that it failed.
            self._entry.refuse(Resource("secret"), "unavailable")
            raise
        place = places[names]
        assert isinstance(place, Place)  # noqa: S101  # a place that could not be read has raised
        item.place = place
        authorise_at(self._entry, place, Permission.SECRET_WRITE, operation.name)
        if isinstance(operation, BatchSet):
            rows = await secret_rows.secrets_at(self._entry.session, place.scope, operation.name)
            item.row = rows[0] if rows else None
            if item.row is None and (operation.if_match is not None or not operation.activate):
                raise Unavailable("there is no secret of that name at exactly that scope that could get a version")

    def _admit_by_id(
        self, item: Item, operation: BatchUpdate | BatchPatch | BatchActivate | BatchRotate | BatchDelete, row: SecretRow | None
    ) -> None:
        if row is None:
            self._entry.missing(Resource("secret", id=operation.id))
        item.row = row
        permission, _ = _PERMISSION[type(operation)]
        self._entry.authorise(permission, row.resource(), hide_without=Permission.SECRET_LIST)
        brings_value = isinstance(operation, BatchRotate) and gives_value(operation)
        if brings_value and not self._entry.permits(Permission.SECRET_WRITE, row.resource()):
            self._entry.deny("no_binding", f"a value of your own needs {Permission.SECRET_WRITE}, too; rotate without one")

    def _name_event(self, item: Item) -> None:
        if isinstance(item.operation, BatchCreate | BatchSet):
            action = AuditAction.SECRET_CREATE if item.row is None else AuditAction.SECRET_UPDATE
        else:
            _, action = _PERMISSION[type(item.operation)]
        self._entry.amend(action=action)
        item.event = len(self._entry.events) - 1

    def _refuse_twins(self) -> None:
        """Two operations on one secret have no order that a reader could rely on."""
        seen: set[Any] = set()
        for item in self.all:
            operation = item.operation
            target: Any = item.row.id if item.row else None
            if target is None and isinstance(operation, BatchCreate | BatchSet):
                target = (operation.name, operation.app, operation.environment, operation.node)
            if target is None:
                target = operation.id  # type: ignore[union-attr]  # those by name were handled above
            if target in seen:
                rule = "another operation of this batch changes the same secret; send one for each"
                self.note(item, InvalidInput(rule, problems=[Problem("body", rule, "doubled_target")]))
            seen.add(target)

    def amend(self, item: Item, **fields: Any) -> None:
        """Complete the audit row of one operation."""
        self._entry.events[item.event] = replace(self._entry.events[item.event], **fields)


def sent_metadata(operation: BatchSet | BatchPatch) -> tuple[Any, ...]:
    """What was sent of the metadata, with the default of each field in place of what was not."""
    pairs: tuple[tuple[Any, Any], ...] = (
        (operation.description, ""),
        (operation.labels, {}),
        (operation.owner, ""),
        (operation.expires_at, None),
        (operation.rotation, None),
    )
    return tuple(default if field is UNSET else field for field, default in pairs)


def _weight(error: OverseerError) -> int:
    """Refusals before broken rules before the state: what the caller may not do is decided first."""
    if isinstance(error, Denied):
        return 3
    if isinstance(error, Unavailable):
        return REFUSED
    return 1 if isinstance(error, InvalidInput) else 0

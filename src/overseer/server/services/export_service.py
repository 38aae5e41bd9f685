"""Exports: the secrets of one scope as a file, encrypted for age recipients unless its caller may take plain text out.

Guarantees: all or nothing, with every name that cannot be had in one error; each release has its own audit row, committed before
anything is decrypted; a secret whose reveal a policy guards needs its approval here as well, which is used up. A format that
cannot carry a value refuses it by name. What comes from a backend leaves by the rules of a reveal: asked for where it is due,
never while the backend refuses it. It will not read other scopes than the one named, nor what applies there from elsewhere,
or hold more than 32 MiB of values at once: a larger scope is exported by names.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

from overseer.core.approvals import Operation
from overseer.core.audit_events import AuditAction, AuditEvent
from overseer.core.errors import ApprovalRequired, Conflict, InvalidInput, Problem, Unavailable
from overseer.core.permissions import Permission
from overseer.core.principals import Caller
from overseer.core.scopes import Scope
from overseer.core.secret_value import SecretValue
from overseer.crypto.age_keys import Recipient
from overseer.crypto.age_messages import encrypt_to
from overseer.interchange.formats import WRITERS, write
from overseer.server.services.approval_guard import CODE, guarded_secrets, refusal_of, reveal_of, secret_place
from overseer.server.services.gate import HIDDEN_MESSAGE, Entry, Gate
from overseer.server.services.key_service import KeyService
from overseer.server.services.places import Place, find_place
from overseer.server.services.secret_input import check_secret_name, refusal
from overseer.server.services.source_refresh import STALE, SourceRefresh
from overseer.server.services.value_opener import ValueOpener
from overseer.server.storage.backend_rows import SourceRow
from overseer.server.storage.secret_rows import SecretRow, secrets_at
from overseer.server.storage.version_rows import StoredVersion, stored_versions
from overseer.wire.imports import MAX_EXPORTED, ExportRequest

_PLAINTEXT: Final = "plaintext"
_PLAINTEXT_STALE: Final = "plaintext:stale"
#: Secrets that are decided before others have their turn.
_AT_ONCE: Final = 100


@dataclass(frozen=True, slots=True)
class Exported:
    """``content`` is the file; plaintext where it is not ``encrypted``."""

    format: str
    encrypted: bool
    names: tuple[str, ...]
    content: SecretValue


class ExportService:
    """See the module's text."""

    def __init__(self, gate: Gate, keys: KeyService, opener: ValueOpener, sources: SourceRefresh) -> None:
        self._gate = gate
        self._keys = keys
        self._opener = opener
        self._sources = sources

    async def export(self, caller: Caller, body: ExportRequest) -> Exported:
        """Needs ``secret:reveal`` on each, and ``secret:export`` as well for plain text.

        Raises :class:`Unavailable`, :class:`Denied`, :class:`ApprovalRequired` with every name, :class:`InvalidInput` for what
        the format cannot carry.
        """
        _ = self._keys.keyring  # sealed: say so before a row claims that a value was released
        caller = replace(caller, reason=body.reason or caller.reason)
        names, releases, due = await self._released(caller, body, ())
        if due:
            await self._sources.refresh(due, caller.request_id)
            names, releases, _ = await self._released(caller, body, [one.secret_id for one in due])
        values = await self._opener.open_all(releases)
        content = await asyncio.to_thread(_written, body, list(zip(names, values, strict=True)))
        return Exported(body.format, not body.plaintext, names, content)

    async def _released(
        self, caller: Caller, body: ExportRequest, asked: Collection[UUID]
    ) -> tuple[tuple[str, ...], list[tuple[StoredVersion, AuditEvent]], list[SourceRow]]:
        """Names and versions with their committed rows; or, before anything was ``asked``, the sources that have to be."""
        async with self._gate.enter(caller, AuditAction.SECRET_EXPORT) as entry:
            place = await find_place(entry.session, Scope(body.app, body.environment, body.node))
            rows = await _admitted(entry, place, body)
            _check(body)
            due = [] if asked else await self._sources.due(entry, rows)
            if due:
                entry.postpone()
                return (), [], due
            await self._sources.judge(entry, rows, asked)
            if body.plaintext:
                entry.events[:] = [replace(one, code=_PLAINTEXT_STALE) if one.code == STALE else one for one in entry.events]
            events = entry.events[-len(rows) :]
            found = await stored_versions(entry.session, [(row.id, row.active_version) for row in rows])
            if len(found) < len(rows):
                raise Conflict("a secret was deleted meanwhile; try again")
        releases = [(found[row.id, row.active_version], event) for row, event in zip(rows, events, strict=True)]
        return tuple(row.name for row in rows), releases, []


def _written(body: ExportRequest, secrets: Sequence[tuple[str, SecretValue]]) -> SecretValue:
    content = SecretValue(write(body.format, secrets))
    return content if body.plaintext else SecretValue(encrypt_to(content, body.recipients))


def _check(body: ExportRequest) -> None:
    """What is wrong with the request itself, before anything is released."""
    if body.format not in WRITERS:
        raise refusal("body.format", f"format is one of {', '.join(WRITERS)}", "bad_format")
    if body.plaintext == bool(body.recipients):
        raise refusal("body", "give age recipients, or say plaintext, and not both", "one_of")
    problems = []
    for number, text in enumerate(body.recipients):
        try:
            Recipient.parse(text)
        except InvalidInput as error:
            problems.append(Problem(f"body.recipients[{number}]", error.message, "bad_recipient"))
    if problems:
        raise InvalidInput(problems[0].rule, problems=problems)


async def _admitted(entry: Entry, place: Place, body: ExportRequest) -> list[SecretRow]:
    """The secrets in order of their names, each with its ``allowed`` row as the newest ones; raises for all that are refused."""
    known = place.known_to(entry)
    if known and place.missing:
        entry.refuse(place.resource(), "unavailable")
        raise place.unknown()
    there = {row.name: row for row in await secrets_at(entry.session, place.scope)} if known else {}
    if body.names is None:
        names = sorted(name for name, row in there.items() if entry.permits(Permission.SECRET_LIST, row.resource()))
        if not names:
            entry.missing(place.resource())
    else:
        names = sorted({check_secret_name(name) for name in body.names})
    if len(names) > MAX_EXPORTED:
        entry.refuse(place.resource(), "unavailable")
        raise refusal("body.names", f"an export has at most {MAX_EXPORTED} secrets; name some of them", "too_many")
    chosen = [there[name] for name in names if name in there]
    guarded = await guarded_secrets(entry.session, Operation.REVEAL, chosen)
    problems = []
    for number, name in enumerate(names):
        if not number % _AT_ONCE:
            await asyncio.sleep(0)  # the process serves others, too
        problem = await _refused(entry, place, name, there.get(name), body, guarded)
        problems += [] if problem is None else [problem]
    if problems:
        kind = ApprovalRequired if all(one.code == CODE for one in problems) else Unavailable
        raise kind(f"nothing was exported: {len(problems)} of {len(names)} secrets cannot be", problems=problems)
    return [there[name] for name in names]


async def _refused(
    entry: Entry, place: Place, name: str, row: SecretRow | None, body: ExportRequest, guarded: Collection[UUID]
) -> Problem | None:
    """Write the row of one secret; the problem where it is refused. ``guarded``: those that need an approval to leave."""
    needed = [Permission.SECRET_REVEAL, *([Permission.SECRET_EXPORT] if body.plaintext else [])]
    lacking = [] if row is None else [one for one in needed if not entry.permits(one, row.resource())]
    if row is None or lacking:
        entry.refuse(place.resource(name) if row is None else row.resource(), "unavailable" if row is None else "no_binding")
        if row is None or not entry.permits(Permission.SECRET_LIST, row.resource()):
            return Problem(name, HIDDEN_MESSAGE, "unavailable")
        return Problem(name, f"you lack {' and '.join(lacking)} for this secret", "denied")
    resource = row.resource(row.active_version)
    entry.authorise(Permission.SECRET_REVEAL, resource)
    if body.plaintext:
        entry.amend(code=_PLAINTEXT)
    if row.id not in guarded:
        return None
    asked = reveal_of(entry, row, row.active_version)
    waits = await refusal_of(entry, asked, [secret_place(Operation.REVEAL, row)], [Permission.SECRET_REVEAL])
    if waits is None:
        return None
    entry.deny_event(-1, CODE)
    return Problem(name, waits.message, CODE)

"""An archive of another instance beside what is here: which secrets are new, the same, further on, or in the way.

Guarantees: nothing of an archive is looked at before its caller was let in, and nothing is compared before its signature was
verified and is that of the key that the caller named (a dry run may ask whose it is). Whether a value is the one that is here is
told only to those who may reveal it without anybody's approval, and leaves a row; for anybody else such a secret is in the way.
A secret stays where it is: one that has another place here is in the way, too. It changes nothing.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from overseer.core.access import Resource
from overseer.core.approvals import GuardedAction, Operation, Policy, requirement
from overseer.core.audit_events import AuditAction
from overseer.core.errors import Conflict, Denied, Problem
from overseer.core.identifiers import check_name, new_id
from overseer.core.permissions import Permission
from overseer.core.principals import Caller
from overseer.core.scopes import Scope
from overseer.core.secret_value import SecretValue
from overseer.interchange.migration_archive import Archive, MovedSecret, PartLine, fingerprint, read_archive
from overseer.server.services.approval_guard import secret_place
from overseer.server.services.gate import HIDDEN_MESSAGE, Entry, Gate
from overseer.server.services.migration_candidate import Candidate, check_claims, label, note_differences, note_left_behind
from overseer.server.services.places import NO_PART, Place
from overseer.server.services.secret_input import check_labels, check_metadata, check_text, refusal
from overseer.server.services.value_opener import ValueOpener
from overseer.server.storage import migration_rows, secret_rows
from overseer.server.storage.approval_policy_rows import guarding
from overseer.server.storage.migration_rows import PartHere, VersionHere
from overseer.server.storage.scope_rows import Part
from overseer.server.storage.secret_rows import SecretRow
from overseer.server.storage.version_rows import stored_versions
from overseer.wire.migrations import MigrationArchive

WRITING = {
    Part.APP: Permission.APP_WRITE,
    Part.ENVIRONMENT: Permission.ENVIRONMENT_WRITE,
    Part.NODE: Permission.NODE_WRITE,
}
_AT_ONCE = 500
_CHANGED = "version {} is another one here"
_GONE = "a secret of the archive was moved or deleted here meanwhile; try again"


@dataclass(frozen=True, slots=True)
class Plan:
    """An archive, with its secrets in order of their ids. ``arriving`` are the parts of scopes that do not exist here, each with
    its id and name here."""

    archive: Archive
    signed_by: str
    arriving: tuple[PartHere, ...]
    candidates: tuple[Candidate, ...]


class MigrationComparisons:
    """See the module's text."""

    def __init__(self, gate: Gate, opener: ValueOpener) -> None:
        self._gate = gate
        self._opener = opener

    async def plan(self, caller: Caller, body: MigrationArchive, *needed: Permission, asks_signer: bool = False) -> Plan:
        """The archive of ``body`` beside what is here. Needs ``migration:import`` and each of ``needed`` for every secret.

        ``asks_signer``: it may come without ``signed_by``. Raises :class:`Denied` with every secret and part, and
        :class:`InvalidInput` for anything that is no archive, or is signed by another key.
        """
        async with self._gate.enter(caller, AuditAction.MIGRATION_COMPARE) as entry:
            entry.authorise_list(Permission.MIGRATION_IMPORT, Resource("migration"))
            archive = await asyncio.to_thread(read_archive, _lines(body))  # the process serves others, too
            signed_by = _checked_signer(archive, body, asks_signer=asks_signer)
            entry.amend(code=str(archive.head.instance), resource_name=signed_by)  # the key: anybody can name an instance
            parts, ids = await _parts(entry, archive, body.app_names)
            candidates = [_candidate(one, body.app_names, ids, entry.now) for one in archive.secrets]
            candidates.sort(key=lambda one: one.sent.about.id)
            _admit(entry, candidates, parts, (Permission.MIGRATION_IMPORT, *needed))
            await _place(entry, candidates)
            await _match(entry, candidates)
            await note_left_behind(entry, candidates)
        await self._compare(candidates)
        return Plan(archive, signed_by, parts, tuple(candidates))

    async def _compare(self, candidates: Sequence[Candidate]) -> None:
        """Open what is here, and set the states of those that are comparable."""
        opened = [(one, sent, stored, event) for one in candidates for sent, stored, event in one.compared]
        for first in range(0, len(opened), _AT_ONCE):
            part = opened[first : first + _AT_ONCE]
            values = await self._opener.open_all([(stored, event) for _, _, stored, event in part])
            for (one, sent, stored, _), value in zip(part, values, strict=True):
                if value != sent and one.state != "conflict":  # compared in constant time
                    one.conflict(_CHANGED.format(stored.version))
            await asyncio.sleep(0)  # the process serves others, too
        for one in candidates:
            if one.row is not None and one.state != "conflict":
                here = one.row.latest_version
                one.state = "newer" if one.latest > here else "same" if one.latest == here else "ahead"
            if one.state == "newer" and one.row is not None and one.row.source is not None:
                one.conflict("it comes from a backend here")
            elif one.state == "newer" and one.row is not None and one.row.rollout is not None:
                one.conflict("a version of it is being rolled out here: wait for it, or withdraw it")
            note_differences(one)


def _lines(body: MigrationArchive) -> SecretValue:
    try:
        return SecretValue(base64.b64decode(body.archive_base64.encode("ascii"), validate=True))
    except (ValueError, binascii.Error):
        raise refusal("body.archive_base64", "standard base64 with padding (RFC 4648, section 4)", "bad_base64") from None


def _checked_signer(archive: Archive, body: MigrationArchive, *, asks_signer: bool) -> str:
    """The fingerprint of the signing key, where it is the one that was named."""
    found = fingerprint(archive.signer)
    whose = f"instance {archive.head.instance} with the key {found}"
    if body.signed_by is None and not asks_signer:
        rule = f"the archive says that it is of {whose}: compare that with what the export has said, and send it as signed_by"
        raise refusal("body.signed_by", rule, "unconfirmed_signature")
    if body.signed_by is not None and body.signed_by not in (found, str(archive.signer)):
        rule = f"the archive is signed by {whose}, which is not the one that was named"
        raise refusal("body.signed_by", rule, "wrong_signature")
    return found


async def _parts(
    entry: Entry, archive: Archive, app_names: Mapping[str, str]
) -> tuple[tuple[PartHere, ...], dict[tuple[Part, str], UUID]]:
    """The parts that do not exist here, and the id here of every part of the archive, by its name here."""
    known = {one.name for one in archive.parts if one.part == "app"}
    for number, (old, new) in enumerate(app_names.items()):
        check_name(new, f"body.app_names[{number}]")
        if old not in known:
            raise refusal(f"body.app_names[{number}]", "the archive has no app of that name", "unknown")
    wanted = {(Part(one.part), _name_here(one, app_names)): one for one in archive.parts}
    if len(wanted) < len(archive.parts):
        raise refusal("body.app_names", "two apps of the archive would have one name here", "doubled_name")
    here = await migration_rows.parts_here(entry.session, [one.id for one in archive.parts], wanted)
    ids = {(one.part, one.name): one.id for one in here}
    taken, arriving = {one.id for one in here}, []
    for (part, name), line in wanted.items():
        if (part, name) not in ids:
            check_text(line.description, "archive.description", 2_000)
            check_labels(line.labels, "node")
            ids[part, name] = new_id(entry.now) if line.id in taken else line.id
            arriving.append(PartHere(part, ids[part, name], name, line.description, dict(line.labels)))
    return tuple(arriving), ids


def _name_here(line: PartLine, app_names: Mapping[str, str]) -> str:
    return app_names.get(line.name, line.name) if line.part == "app" else line.name


def _candidate(
    sent: MovedSecret, app_names: Mapping[str, str], ids: Mapping[tuple[Part, str], UUID], now: datetime
) -> Candidate:
    about = sent.about
    names = Scope(None if about.app is None else app_names.get(about.app, about.app), about.environment, about.node)
    scope = Scope(
        None if names.app is None else ids[Part.APP, names.app],
        None if names.environment is None else ids[Part.ENVIRONMENT, names.environment],
        None if names.node is None else ids[Part.NODE, names.node],
    )
    check_claims(sent, now)
    metadata = check_metadata(about.description, about.labels, about.owner, about.expires_at, about.rotation)
    return Candidate(sent, metadata, scope, names)


def _admit(entry: Entry, candidates: Sequence[Candidate], arriving: Sequence[PartHere], needed: Sequence[Permission]) -> None:
    """Raise :class:`Denied` with every secret and every part that the caller may not bring, each with a row.

    A part that the caller may not make is told only to those who may know that it does not exist.
    """
    problems = []
    for part in arriving:
        if not entry.permits(WRITING[part.part], Resource(part.part.value, part.name)) and _may_know(entry, part):
            entry.refuse(Resource(part.part.value, part.name), "no_binding")
            rule = f"it does not exist here, and you lack {WRITING[part.part]} to create it"
            problems.append(Problem(f"{part.part} {part.name}", rule, "denied"))
    for one in candidates:
        lacking = [permission for permission in needed if not entry.permits(permission, one.resource())]
        if lacking:
            entry.refuse(one.resource(), "no_binding")
            listed = entry.permits(Permission.SECRET_LIST, one.resource())
            rule = f"you lack {' and '.join(lacking)} there" if listed else HIDDEN_MESSAGE
            problems.append(Problem(label(one), rule, "denied"))
    if problems:
        raise Denied(f"nothing was done: {len(problems)} parts of the archive may not come here by you", problems=problems)


def _may_know(entry: Entry, part: PartHere) -> bool:
    scope: Scope[UUID] = Scope(**{part.part.value: NO_PART})
    names: Scope[str] = Scope(**{part.part.value: part.name})
    return Place(names, scope, (part.part,)).known_to(entry)


async def _place(entry: Entry, candidates: Sequence[Candidate]) -> None:
    """Find what is here already: by id, and by name at the same scope."""
    by_id = {row.id: row for row in await secret_rows.secrets_by_id(entry.session, [one.sent.about.id for one in candidates])}
    at = {}
    for scope in {one.scope for one in candidates}:
        at.update({(scope, row.name): row for row in await secret_rows.secrets_at(entry.session, scope)})
    for one in candidates:
        row, named = by_id.get(one.sent.about.id), at.get((one.scope, one.sent.about.name))
        if row is not None and (named is None or named.id != row.id):
            seen = entry.permits(Permission.SECRET_LIST, row.resource())
            one.conflict(f"it is {row.name} at {row.scope_names} here" if seen else "its id is taken here")
        elif row is None and named is not None:
            one.conflict("another secret has this name there")
        else:
            one.row = row


async def _match(entry: Entry, candidates: Sequence[Candidate]) -> None:
    """Compare the ids of versions, and choose whose values may be compared, each with its row."""
    policies = await guarding(entry.session, [GuardedAction.REVEAL])
    mine = [one.row.id for one in candidates if one.row is not None]
    ids = [version.id for one in candidates for version in one.sent.versions]
    found = await migration_rows.versions_here(entry.session, mine, ids)
    owners = {one.id: one for one in found}
    here: dict[tuple[UUID, int], VersionHere] = {(one.secret_id, one.version): one for one in found}
    for one in candidates:
        if any((taken := owners.get(version.id)) and taken.secret_id != one.sent.about.id for version in one.sent.versions):
            one.conflict("the id of one of its versions is that of another secret's here")
        elif one.row is not None:
            for version in one.sent.versions[: one.row.latest_version]:
                known = here.get((one.row.id, version.number))
                if known is None:
                    raise Conflict(_GONE)
                if known.id != version.id:
                    one.conflict(_CHANGED.format(version.number))
                    break
        if one.row is not None and one.state != "conflict" and not _may_compare(entry, one.row, policies):
            one.hidden = True
            one.conflict("it is here, and you may not see whether it is the same")
    await _choose(entry, candidates)


def _may_compare(entry: Entry, row: SecretRow, policies: Sequence[Policy]) -> bool:
    """Only who may see the value may learn whether another one equals it: else an archive would be an oracle for guesses."""
    guarded = requirement(policies, [secret_place(Operation.REVEAL, row)]) is not None
    return not guarded and entry.permits(Permission.SECRET_REVEAL, row.resource())


async def _choose(entry: Entry, candidates: Sequence[Candidate]) -> None:
    wanted = [
        (one.sent.about.id, version.number)
        for one in candidates
        if one.row is not None and one.state != "conflict"
        for version in one.sent.versions[: one.row.latest_version]
    ]
    stored = await stored_versions(entry.session, wanted)
    if len(stored) < len(wanted):
        raise Conflict(_GONE)
    for one in candidates:
        if one.row is None or one.state == "conflict":
            continue
        for version in one.sent.versions[: one.row.latest_version]:
            entry.accept(one.row.resource(version.number))
            entry.amend(code="compared")
            one.compared.append((version.value, stored[one.row.id, version.number], entry.events[-1]))

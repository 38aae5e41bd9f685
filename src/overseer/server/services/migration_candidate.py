"""One secret of an archive of another instance on its way in, and what of it cannot come along.

Pure but for one look at what is here: :func:`note_left_behind` asks the store, :func:`note_differences` compares. Notes are for
people; they hold names and no value.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from overseer.core.access import Resource
from overseer.core.audit_events import AuditEvent
from overseer.core.backend_references import BackendReference, check_field, grant_name
from overseer.core.errors import InvalidInput
from overseer.core.generators import parse_spec
from overseer.core.permissions import Permission
from overseer.core.rotation_policy import RotationPolicy
from overseer.core.scopes import Scope
from overseer.core.secret_value import SecretValue
from overseer.interchange.migration_archive import MovedSecret, MovedVersion, SourceLine
from overseer.server.services.gate import Entry
from overseer.server.services.moments import check_moment, in_utc
from overseer.server.services.secret_input import Metadata, check_text, refusal
from overseer.server.storage import backend_rows, migration_rows, secret_rows
from overseer.server.storage.backend_rows import BackendRow
from overseer.server.storage.secret_rows import SecretRow
from overseer.server.storage.version_rows import StoredVersion

MAX_CREATOR: Final = 300
#: So much may the clocks of two instances differ. A time far ahead would stop whoever counts from it.
CLOCKS: Final = timedelta(days=1)
#: With the instance, so that nobody here is named by what an archive says.
_CREATOR: Final = re.compile(r".+ at [0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_PAUSED = "its schedule is paused here: 'overseer rotation pause --resume' lets it go on, once the old instance has let go"


@dataclass(slots=True)
class Candidate:
    """One secret of an archive: the place that it has here, what is there, and what it comes to.

    ``state`` as in the answer; ``why`` of a conflict; ``row`` only where it is this very secret, at this place; ``hidden`` where
    the caller may not compare it; ``backend`` where it comes from one that is here and may be used.
    """

    sent: MovedSecret
    metadata: Metadata
    scope: Scope[UUID]
    names: Scope[str]
    row: SecretRow | None = None
    state: str = "new"
    why: str = ""
    hidden: bool = False
    notes: list[str] = field(default_factory=list)
    backend: BackendRow | None = None
    compared: list[tuple[SecretValue, StoredVersion, AuditEvent]] = field(default_factory=list)

    @property
    def latest(self) -> int:
        return len(self.sent.versions)

    @property
    def arriving(self) -> tuple[MovedVersion, ...]:
        """The versions that are not here, where they can come."""
        if self.state not in ("new", "newer"):
            return ()
        return self.sent.versions[0 if self.row is None else self.row.latest_version :]

    @property
    def scheduled(self) -> bool:
        """Whether it would be rotated by itself."""
        return self.metadata.rotation is not None and RotationPolicy.parse(self.metadata.rotation).scheduled

    def conflict(self, why: str) -> None:
        self.state, self.why = "conflict", why

    def resource(self, version: int | None = None) -> Resource:
        """The secret as it is, or as it would be here."""
        about = self.sent.about
        return Resource("secret", about.name, self.scope, about.id, self.names, version)


def label(one: Candidate) -> str:
    """For people: the name and the place here."""
    return f"{one.sent.about.name} ({one.names})"


def check_claims(sent: MovedSecret, now: datetime) -> None:
    """Refuse what no exporter writes of a secret's history and source: whoever may import can sign with a key of his own.

    Raises :class:`InvalidInput`.
    """
    if sent.about.generator is not None:
        parse_spec(sent.about.generator, "archive.generator")
    for moment in (sent.about.created_at, *(version.created_at for version in sent.versions)):
        made = in_utc(moment)
        if made is None or made > now + CLOCKS:
            raise refusal("archive.created_at", "a time that has passed, since 1970", "bad_time")
    for version in sent.versions:
        check_moment(version.readable_until, "archive.readable_until")
        if version.creator and not _CREATOR.fullmatch(check_text(version.creator, "archive.creator", MAX_CREATOR)):
            raise refusal("archive.creator", "NAME at INSTANCE", "bad_creator")
    if sent.about.source is not None:
        check_moment(sent.about.source.fetched_at, "archive.fetched_at")
        check_field(sent.about.source.field, "archive.field")


async def note_left_behind(entry: Entry, candidates: Sequence[Candidate]) -> None:
    """Find the backends of what is new, and note what will not come along."""
    new = [one for one in candidates if one.state == "new"]
    owners = {one.metadata.owner for one in new if one.metadata.owner}
    told = entry.permits(Permission.PRINCIPAL_LIST, Resource("principal"))
    known = await migration_rows.owners_here(entry.session, owners) if told and owners else owners
    signers = {signer for one in new if (signer := _signer(one)) is not None}
    found = await secret_rows.secrets_by_id(entry.session, list(signers))
    there = {row.id for row in found if entry.permits(Permission.SECRET_LIST, row.resource())}
    there |= {one.sent.about.id for one in candidates if one.state != "conflict"}
    for one in new:
        about = one.sent.about
        if about.source is not None:
            one.backend = await _backend(entry, one, about.source)
            if one.backend is None:
                rule = "is not here, or you may not use it for this secret, which keeps the value that it has"
                one.notes.append(f"backend {about.source.backend} {rule}")
        if about.rotator:
            one.notes.append(f"what rotated it at its source ({about.rotator}) does not come along: set it up here")
        if one.scheduled:
            one.notes.append(_PAUSED)
        if one.metadata.owner and one.metadata.owner not in known:
            one.notes.append(f"its owner {one.metadata.owner} is no user, service account or group here")
        signer = _signer(one)
        if signer is not None and signer not in there:
            one.notes.append(f"the CA that signs it, secret {signer}, is not here, or you may not know that it is")


def note_differences(one: Candidate) -> None:
    """Note what is otherwise here and stays: an import changes no metadata of what came before."""
    row, about = one.row, one.sent.about
    if row is None or one.state == "conflict":
        return
    metadata = (about.description, about.labels, about.owner, one.metadata.expires_at, one.metadata.rotation)
    if metadata != (row.description, row.labels, row.owner, row.expires_at, row.rotation):
        one.notes.append("its description, labels, owner, expiry or rotation policy are otherwise here, and stay")
    if one.state == "same" and row.active_version != about.active:
        one.notes.append(f"version {about.active} is the active one there, version {row.active_version} is it here, and stays")


async def _backend(entry: Entry, one: Candidate, source: SourceLine) -> BackendRow | None:
    """The backend of that name, where the caller may use it for this secret."""
    try:
        reference = BackendReference.parse(source.ref)
    except InvalidInput:
        return None
    resource = Resource("backend", grant_name(source.backend, str(reference)), one.scope, scope_names=one.names)
    if source.mode not in ("pull", "sync") or not entry.permits(Permission.BACKEND_USE, resource):
        return None
    return await backend_rows.backend_by_name(entry.session, source.backend)


def _signer(one: Candidate) -> UUID | None:
    """The secret that holds the CA which has to sign its next version."""
    policy = one.metadata.rotation
    spec = one.sent.about.generator if policy is None else policy.get("generate", one.sent.about.generator)
    return None if spec is None else parse_spec(spec).signer

"""`overseer backup verify` and `overseer restore`: a backup into an empty database, checked in every way before anything stays.

Guarantees: one transaction holds all of it: schema, rows, the comparison with the manifest, the seal that opens the keyring, the
signature by the key that is in it, every data key and every value that is opened, the sealed audit log, revoked credentials, the
next incarnation of the log, the audit rows. What is wrong anywhere leaves an empty database. A verification does the same and
rolls back.

Who has a copy of the database can fill an archive with rows of his own. Its keyring is under the root key, which he lacks, so he
has nothing to sign it with; what is not signed is taken only where the operator insists. Where the root key itself comes out of
the archive (awskms, vault-transit), whoever may encrypt with that key can make up all of it: ``Expected.signed_by`` is for that.

What was live when the backup was made may have been taken away since, so nothing of it lets anybody in: tokens, sessions, keys
of nodes, enrolment tokens, invitations, approvals and emergencies end, and rotators and the schedules of backups are held, unless
the operator says otherwise.
Passwords stay, as what people know. Rotations that were on their way have failed: no source is called by what an old row says.

It passes no gate: whoever has the root key and the backup may do everything anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, Final
from uuid import UUID

from overseer.core.audit_events import AuditAction, AuditEvent, Outcome
from overseer.core.errors import DecryptionFailed, InvalidInput, KeyProblem
from overseer.core.identifiers import new_id
from overseer.core.secret_value import SecretValue
from overseer.crypto.age_keys import Unwrapper
from overseer.crypto.checkpoints import Checkpoint, log_origin
from overseer.crypto.keyring import Keyring
from overseer.crypto.log_report import LogReport, Trust
from overseer.crypto.signed_manifest import instance_key
from overseer.crypto.signed_notes import VerifierKey
from overseer.server.services.bootstrap import OPERATOR, SealSetting, initialise, open_keyring
from overseer.server.services.key_verification import PAGE_BYTES, PAGE_ROWS, row_problem
from overseer.server.storage import restore_rows
from overseer.server.storage.audit_rows import insert_events
from overseer.server.storage.backup_archive import ArchiveReader, Head, Manifest
from overseer.server.storage.backup_rows import resume_schedules
from overseer.server.storage.database import Session
from overseer.server.storage.keyring_rows import InstanceRow, load_instance
from overseer.server.storage.restore_transaction import Restoring, restoring
from overseer.server.storage.wrapped_tables import NO_ID, WRAPPED_TABLES

#: Rows that do not open are named up to this many.
MOST_NAMED: Final = 20
NOT_SIGNED: Final = (
    "the backup is not signed: whoever has a copy of the database and a recipient's public key can have made it. If you know "
    "where it comes from (releases before signatures made such), say so with --unsigned. Nothing was changed"
)


@dataclass(frozen=True, slots=True)
class Expected:
    """What the operator knows of a backup: a ``checkpoint`` (note) of the log that was kept elsewhere, the instance's key of the
    recovery kit. ``unsigned``: one without a signature is taken as well."""

    checkpoint: str | None = None
    signed_by: VerifierKey | None = None
    unsigned: bool = False


NOTHING_EXPECTED: Final = Expected()


@dataclass(frozen=True, slots=True)
class Opened:
    """What a backup turned out to hold: ``values`` rows were opened with the seal. ``log`` is None where nothing was sealed yet;
    ``older_by``: how many audit rows it lacks of those that a checkpoint kept elsewhere has counted, 0 without one. ``signer``:
    the instance's key, which signed it; None for one that is not signed."""

    head: Head
    rows: int
    values: int
    log_size: int
    log: LogReport | None
    older_by: int
    signer: VerifierKey | None


@dataclass(frozen=True, slots=True)
class Revoked:
    """How many credentials ended."""

    tokens: int = 0
    node_keys: int = 0
    invitations: int = 0


@dataclass(frozen=True, slots=True)
class Restored:
    """A restore that was committed; the log goes on as ``incarnation``."""

    opened: Opened
    instance_id: UUID
    incarnation: int
    revoked: Revoked


async def verify_backup(
    url: str, source: BinaryIO, keys: Sequence[Unwrapper], setting: SealSetting, expected: Expected = NOTHING_EXPECTED
) -> Opened:
    """Restore ``source`` into the empty scratch database of ``url``, look at everything, and roll back.

    Raises :class:`InvalidInput` (not signed, too), :class:`KeyProblem` (passphrase, identity, root key),
    :class:`DecryptionFailed` (damaged, or signed by somebody else), :class:`Conflict` (not empty),
    :class:`ConfigurationProblem` and :class:`StoreUnavailable`.
    """
    archive = ArchiveReader(source, keys)
    async with restoring(url) as work:
        opened, _, _ = await _open(work, archive, setting, expected)
        work.discard()
    return opened


async def restore_backup(
    url: str,
    source: BinaryIO,
    keys: Sequence[Unwrapper],
    setting: SealSetting,
    now: datetime,
    *,
    expected: Expected = NOTHING_EXPECTED,
    keep_credentials: bool = False,
    told: Callable[[Opened], None] = lambda _: None,
) -> Restored:
    """Restore ``source`` into the empty database of ``url``; ``told`` hears what it holds before the commit and may refuse it.

    Raises as :func:`verify_backup`, and nothing was changed then.
    """
    archive = ArchiveReader(source, keys)
    async with restoring(url) as work:
        opened, instance, incarnation = await _open(work, archive, setting, expected)
        told(opened)
        session = work.session
        revoked = Revoked() if keep_credentials else Revoked(*await restore_rows.revoke_credentials(session))
        if keep_credentials:  # it takes the other's place, the operator says
            await resume_schedules(session)
        await restore_rows.end_what_ran(session)
        await insert_events(session, list(_events(instance, opened, revoked, keep_credentials, now)))
    await initialise(url, setting, _no_owner_token, now)  # the role of the service, and what a newer release brings
    return Restored(opened, instance.id, incarnation, revoked)


async def _open(
    work: Restoring, archive: ArchiveReader, setting: SealSetting, expected: Expected
) -> tuple[Opened, InstanceRow, int]:
    manifest = await work.load(archive)
    instance = await load_instance(work.session)
    if instance is None or str(instance.id) != archive.head.instance_id:
        raise DecryptionFailed("the backup is damaged inside: its instance is not the one that its head names")
    if not archive.is_signed and (expected.signed_by is not None or not expected.unsigned):
        raise InvalidInput(NOT_SIGNED)
    if expected.signed_by is not None:
        archive.verify(expected.signed_by)  # before the seal is asked for anything that an archive says
    keyring = await open_keyring(work.session, instance, await setting.seal(instance).root_key(setting.given))
    signer = instance_key(instance.id, keyring.signing_key.public) if archive.is_signed else None
    if signer is not None:
        archive.verify(signer)
    values = await _open_rows(work.session, instance.id, keyring)
    older_by, trusted = _age(manifest, instance.id, expected.checkpoint)
    # Before the log is looked at: its transaction ids are another cluster's, and under the present number they would be from a
    # future that has not come.
    incarnation = await work.begin_incarnation()
    log = await _verified_log(work, trusted)
    opened = Opened(archive.head, manifest.rows, values, manifest.log_size, log, older_by, signer)
    return opened, instance, incarnation


async def _open_rows(session: Session, instance_id: UUID, keyring: Keyring) -> int:
    """How many rows hold values. Raises :class:`DecryptionFailed`, which names those that do not open."""
    count, bad = 0, []
    for table in WRAPPED_TABLES:
        after = NO_ID
        while rows := await table.page(session, instance_id, after, PAGE_ROWS, PAGE_BYTES):
            after = rows[-1].id
            count += len(rows)
            bad += [f"{row.context.label()} ({problem})" for row in rows if (problem := row_problem(row, keyring))]
    if bad:
        raise DecryptionFailed(f"{len(bad)} of {count} stored values do not open: {'; '.join(bad[:MOST_NAMED])}")
    return count


def _age(manifest: Manifest, instance_id: UUID, checkpoint: str | None) -> tuple[int, tuple[str, ...]]:
    """By how many rows the backup is behind a checkpoint, and the checkpoints that its log has to agree with."""
    if checkpoint is None:
        return 0, ()
    found = Checkpoint.parse(checkpoint)
    if found.origin != log_origin(instance_id):
        raise InvalidInput("the checkpoint is of another instance's log than the backup")
    behind = max(0, found.size - manifest.log_size)
    return behind, () if behind else (checkpoint,)


async def _verified_log(work: Restoring, checkpoints: tuple[str, ...]) -> LogReport | None:
    if not await work.log_is_sealed():
        return None
    return await work.verify_log(Trust(None, checkpoints))


def _events(
    instance: InstanceRow, opened: Opened, revoked: Revoked, kept: bool, now: datetime
) -> list[AuditEvent]:
    request_id = str(new_id(now))

    def event(action: AuditAction, outcome: Outcome, code: str) -> AuditEvent:
        return AuditEvent(
            action,
            outcome,
            request_id=request_id,
            actor_name=OPERATOR,
            actor_kind="operator",
            resource_kind="backup",
            resource_id=instance.id,
            code=code,
            client="restore",
            reason=f"backup of {opened.head.created_at}, {opened.rows} rows, {'signed' if opened.signer else 'not signed'}",
        )

    code = "credentials_kept" if kept else f"revoked:{revoked.tokens + revoked.node_keys + revoked.invitations}"
    found = [event(AuditAction.BACKUP_RESTORE, Outcome.ALLOWED, code)]
    if opened.older_by:
        found.append(event(AuditAction.ALARM_BACKUP_OLD, Outcome.FAILED, f"older_by:{opened.older_by}"))
    if opened.log is not None and not opened.log.verified:
        found.append(event(AuditAction.ALARM_AUDIT_BROKEN, Outcome.FAILED, f"findings:{len(opened.log.findings)}"))
    return found


def _no_owner_token(_token: SecretValue) -> None:
    raise KeyProblem("the restored database holds no instance")

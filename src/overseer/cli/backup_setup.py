"""Backups on the server's machine, with its settings: made, verified in a scratch database, restored, gone on with."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

from overseer.cli.server_setup import local_database
from overseer.core.audit_events import AuditAction, AuditEvent, Outcome
from overseer.core.errors import KeyProblem
from overseer.core.identifiers import new_id
from overseer.core.secret_value import SecretValue
from overseer.crypto.age_keys import Unwrapper, Wrapper
from overseer.crypto.signatures import SigningKey
from overseer.crypto.signed_manifest import instance_key
from overseer.crypto.signed_notes import VerifierKey
from overseer.server.backup_settings import bucket_of
from overseer.server.data_directory import private_directory
from overseer.server.services.backup_making import Made, file_name, make_backup
from overseer.server.services.backup_restoring import Expected, Opened, Restored, restore_backup, verify_backup
from overseer.server.services.bootstrap import OPERATOR, SealSetting, open_keyring
from overseer.server.settings import Settings
from overseer.server.storage.audit_rows import insert_events
from overseer.server.storage.backup_places import Directory, Place, make_place
from overseer.server.storage.backup_rows import record_local, resume_schedules, take_over_backups
from overseer.server.storage.connection import service_arguments
from overseer.server.storage.database import Database, Session
from overseer.server.storage.embedded import EmbeddedPostgres
from overseer.server.storage.keyring_rows import InstanceRow, load_instance
from overseer.server.storage.service_session import session_setup


def make_here(
    settings: Settings, to: str, keys: Sequence[Wrapper], signing: SealSetting | None
) -> tuple[str, Made, VerifierKey | None]:
    """A backup to a file, a directory or ``s3://…``; where it lies, and who signed it. It is audited and counts for doctor and
    metrics. ``signing`` opens the keyring that holds the instance's key; None: it is not signed."""

    async def work() -> tuple[str, Made, VerifierKey | None]:
        began = datetime.now(UTC)
        run_id = new_id(began)
        async with local_database(settings) as url:
            database = Database(service_arguments(url), setup=session_setup, size=1)
            try:
                async with database.session() as session:
                    instance = await load_instance(session)
                    signer = await _signing_key(session, instance, signing) if instance and signing else None
                place, name = _where(to, instance.id if instance else UUID(int=0), began, run_id)
                async with place.writing(name) as write:
                    made = await make_backup(url, keys, write, signer)
                async with database.work() as session:
                    await record_local(session, run_id, place.name_of(name), made.size, made.rows, made.log_size, began)
                    row = _event(AuditAction.BACKUP_MADE, run_id, f"rows:{made.rows}", "backup create", began)
                    await insert_events(session, [row])
            finally:
                await database.close()
        return place.name_of(name), made, instance_key(made.instance_id, signer.public) if signer else None

    return asyncio.run(work())


def resume_here(settings: Settings, *, take_over: bool) -> int:
    """Follow the schedules of backups in this incarnation; with ``take_over`` retention may remove what earlier ones made, too:
    how many backups that are. It is audited."""

    async def work() -> int:
        now = datetime.now(UTC)
        async with local_database(settings) as url:
            database = Database(service_arguments(url), setup=session_setup, size=1)
            try:
                async with database.work() as session:
                    instance = await load_instance(session)
                    if instance is None:
                        raise KeyProblem("this database holds no Overseer instance yet: run `overseer server init`")
                    await resume_schedules(session)
                    count = await take_over_backups(session) if take_over else 0
                    code = f"taken_over:{count}" if take_over else ""
                    await insert_events(session, [_event(AuditAction.BACKUP_RESUME, instance.id, code, "backup resume", now)])
            finally:
                await database.close()
        return count

    return asyncio.run(work())


def verify_here(
    settings: Settings,
    source: BinaryIO,
    keys: Sequence[Unwrapper],
    given: SecretValue | None,
    expected: Expected,
    scratch_url: str | None,
) -> Opened:
    """Restore into the empty database of ``scratch_url``, else into an embedded one that goes afterwards; roll back."""

    async def work() -> Opened:
        async with _scratch(scratch_url) as url:
            return await verify_backup(url, source, keys, SealSetting(settings.seal, given), expected)

    return asyncio.run(work())


def restore_here(
    settings: Settings,
    source: BinaryIO,
    keys: Sequence[Unwrapper],
    given: SecretValue | None,
    *,
    expected: Expected,
    keep_credentials: bool,
    told: Callable[[Opened], None],
) -> Restored:
    """Restore into the database of the settings, which has to be empty; an embedded one is made."""
    private_directory(settings.data_dir)

    async def work() -> Restored:
        async with local_database(settings) as url:
            return await restore_backup(
                url,
                source,
                keys,
                SealSetting(settings.seal, given),
                datetime.now(UTC),
                expected=expected,
                keep_credentials=keep_credentials,
                told=told,
            )

    return asyncio.run(work())


async def _signing_key(session: Session, instance: InstanceRow, signing: SealSetting) -> SigningKey:
    root_key = await signing.seal(instance).root_key(signing.given)
    return (await open_keyring(session, instance, root_key)).signing_key


@asynccontextmanager
async def _scratch(url: str | None) -> AsyncIterator[str]:
    if url is not None:
        yield url
        return
    home = Path(tempfile.mkdtemp(prefix="overseer-verify-"))
    embedded = EmbeddedPostgres(home)
    try:
        yield await asyncio.to_thread(embedded.start)
    finally:
        await asyncio.to_thread(embedded.stop)
        await asyncio.to_thread(shutil.rmtree, home, ignore_errors=True)


def _where(to: str, instance_id: UUID, now: datetime, run_id: UUID) -> tuple[Place, str]:
    """A directory, a bucket's prefix, or one file of either."""
    generated = file_name(instance_id, now, run_id)
    found = bucket_of(to)
    if found is not None:
        prefix, _, last = found[1].rpartition("/")
        if last.endswith(".age"):
            return make_place(f"s3://{found[0]}/{prefix}"), last
        return make_place(to), generated
    path = Path(to).absolute()
    if path.is_dir() or to.endswith("/"):
        return Directory(path), generated
    return Directory(path.parent), path.name


def _event(action: AuditAction, resource_id: UUID, code: str, client: str, now: datetime) -> AuditEvent:
    return AuditEvent(
        action,
        Outcome.ALLOWED,
        request_id=str(new_id(now)),
        actor_name=OPERATOR,
        actor_kind="operator",
        resource_kind="backup",
        resource_id=resource_id,
        code=code,
        client=client,
    )

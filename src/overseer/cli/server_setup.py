"""Setting up a server on this machine: what ``overseer server init`` and ``overseer quickstart`` have in common."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from overseer.core.secret_value import SecretValue
from overseer.crypto.log_report import LogReport, Trust
from overseer.server.data_directory import private_directory
from overseer.server.services.bootstrap import Initialised, SealSetting, ShareDelivery, initialise, renew_owner_token
from overseer.server.services.owner_token import FILE_NAME, INVITATION_FILE_NAME, owner_token_file
from overseer.server.services.seal_migration import Moved, Proof, migrate_seal
from overseer.server.settings import Settings
from overseer.server.storage.embedded import EmbeddedPostgres
from overseer.server.storage.log_reading import verify_database
from overseer.server.storage.migrator import Migrated, migrate, pending_migrations


def owner_token_path(settings: Settings) -> Path:
    """Where the owner's first token lies."""
    return settings.data_dir / FILE_NAME


def keep_invitation(settings: Settings, invitation: SecretValue) -> Path:
    """Write an invitation of the owner into the data directory, 0600; where it lies."""
    path = settings.data_dir / INVITATION_FILE_NAME
    owner_token_file(path, "the owner's invitation")(invitation)
    return path


def set_up(settings: Settings, given: SecretValue | None = None, deliver_shares: ShareDelivery | None = None) -> Initialised:
    """Make the instance, or bring it up to this release; as :func:`initialise`."""
    private_directory(settings.data_dir)

    async def work() -> Initialised:
        async with local_database(settings) as url:
            deliver = owner_token_file(owner_token_path(settings))
            return await initialise(url, SealSetting(settings.seal, given), deliver, datetime.now(UTC), deliver_shares)

    return asyncio.run(work())


def move_seal(settings: Settings, opening: SecretValue | None, spec: str, new: SecretValue | None, prove: Proof) -> Moved:
    """Another seal around the keyring; as :func:`migrate_seal`."""

    async def work() -> Moved:
        async with local_database(settings) as url:
            return await migrate_seal(url, SealSetting(settings.seal, opening), SealSetting(spec, new), prove, datetime.now(UTC))

    return asyncio.run(work())


def renew_token(settings: Settings, given: SecretValue | None = None) -> datetime:
    """A new owner's token in the data directory, for whoever holds the root key; when it expires."""
    private_directory(settings.data_dir)

    async def work() -> datetime:
        async with local_database(settings) as url:
            deliver = owner_token_file(owner_token_path(settings))
            return await renew_owner_token(url, SealSetting(settings.seal, given), deliver, datetime.now(UTC))

    return asyncio.run(work())


def migrate_database(settings: Settings, *, adopt_log: bool = False) -> Migrated:
    """Bring the schema of the database up to this release."""

    async def work() -> Migrated:
        async with local_database(settings) as url:
            return await migrate(url, adopt_log=adopt_log)

    return asyncio.run(work())


def pending(settings: Settings) -> tuple[str, ...]:
    """The migrations that the database lacks."""

    async def work() -> tuple[str, ...]:
        async with local_database(settings) as url:
            return await pending_migrations(url)

    return asyncio.run(work())


def verify_log(settings: Settings, trust: Trust) -> LogReport:
    """Verify the audit log of the database, which is only read."""

    async def work() -> LogReport:
        async with local_database(settings) as url:
            return await verify_database(url, trust)

    return asyncio.run(work())


@asynccontextmanager
async def local_database(settings: Settings) -> AsyncIterator[str]:
    """The database's URL; an embedded one runs meanwhile."""
    if settings.database_url is not None:
        yield settings.database_url
        return
    embedded = EmbeddedPostgres(settings.data_dir)
    try:
        yield await asyncio.to_thread(embedded.start)
    finally:
        await asyncio.to_thread(embedded.stop)

"""What `server init` writes: the instance, its wrapped keys, the built-in roles and their copies in bindings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from overseer.core.identifiers import new_id
from overseer.server.storage.database import Session
from overseer.server.storage.keyring_rows import InstanceRow


async def lock_bootstrap(session: Session) -> None:
    """Until the end of the transaction no other process makes or upgrades the instance."""
    await session.fetchval("bootstrap_lock")


async def is_migrated(session: Session) -> bool:
    """False in an empty database."""
    return bool(await session.fetchval("instance_table_exists"))


async def insert_instance(session: Session, instance: InstanceRow) -> None:
    """The one row; :class:`AlreadyExists` where there is one."""
    await session.execute("instance_insert", instance.id, instance.check_value, instance.seal_kind, instance.seal_config)


async def insert_keys(session: Session, keys: Iterable[tuple[str, int, bytes]]) -> None:
    """Keys as (purpose, term, wrapped)."""
    await session.executemany("keyring_insert", keys)


async def refresh_roles(session: Session, roles: Mapping[str, int], now: datetime) -> tuple[str, ...]:
    """Built-in roles by name with their permission bits; bindings copy them. Returns the names that were made or changed."""
    changed = []
    for name, permissions in sorted(roles.items()):
        changed += [row["name"] for row in await session.fetch("role_refresh", new_id(now), name, permissions)]
    await session.execute("role_refresh_bindings")
    return tuple(changed)

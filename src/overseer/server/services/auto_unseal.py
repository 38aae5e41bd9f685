"""The root key of a seal that asks another service at the start, by what the database keeps for it."""

from __future__ import annotations

from overseer.core.errors import KeyProblem
from overseer.crypto.keys import RootKey
from overseer.server.services.bootstrap import SealSetting, open_keyring
from overseer.server.storage.connection import login_connection
from overseer.server.storage.database import Session
from overseer.server.storage.keyring_rows import load_instance


async def root_key_by_service(database_url: str, spec: str) -> RootKey:
    """One try: the stored wrap, the service, and the check that the key is this instance's.

    Raises :class:`KeyProblem`, :class:`ConfigurationProblem` and :class:`NotReady`; a later try may succeed after each of them.
    """
    async with login_connection(database_url) as connection:
        session = Session(connection)
        instance = await load_instance(session)
        if instance is None:
            raise KeyProblem("this database holds no Overseer instance yet: run `overseer server init`")
        kind = spec.partition(":")[0]
        if instance.seal_kind != kind:
            raise KeyProblem(f"the seal of this instance is {instance.seal_kind!r}: set OVERSEER_SEAL to it")
        root_key = await SealSetting(spec).seal(instance).root_key()
        await open_keyring(session, instance, root_key)
    return root_key

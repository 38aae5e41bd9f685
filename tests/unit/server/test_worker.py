"""A worker that starts while the seal is being changed: the key it was started with is not the right one any more."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from overseer.core.errors import KeyProblem
from overseer.crypto.keys import RootKey
from overseer.server.composition import Composed
from overseer.server.key_channel import Channel, Start, Unsealed, settings_to_wire
from overseer.server.settings import Settings
from overseer.server.worker import Worker
from overseer.wire.seal import SealStatus

pytestmark = pytest.mark.anyio
OLD, NEW = RootKey.generate(), RootKey.generate()


class Keys:
    """A keyring that opens with :data:`NEW` alone."""

    def __init__(self) -> None:
        self.sealed = True
        self.tried: list[RootKey] = []

    async def open(self, root_key: RootKey) -> None:
        self.tried.append(root_key)
        if root_key != NEW:
            raise KeyProblem("the root key is not the one of this instance")
        self.sealed = False


class Seal:
    """The state of an instance that has moved on to shares."""

    async def status(self) -> SealStatus:
        return SealStatus(sealed=True, kind="shamir", initialised=True, setting="file")


async def worker_and_supervisor(tmp_path: Path) -> tuple[Worker, Channel]:
    ours, theirs = socket.socketpair()
    settings = Settings(data_dir=tmp_path, database_url="postgresql://nowhere")
    start = Start(worker=0, settings=settings_to_wire(settings), root_key=OLD.reveal())
    return Worker(await Channel.over(theirs), start, []), await Channel.over(ours)


def parts(keys: Keys) -> Composed:
    server = SimpleNamespace(keys=keys, services=SimpleNamespace(seal=Seal()), draining=asyncio.Event())
    return cast("Composed", server)


async def test_it_takes_the_key_that_the_supervisor_sends_meanwhile(tmp_path: Path) -> None:
    worker, supervisor = await worker_and_supervisor(tmp_path)
    keys = Keys()
    listening = asyncio.create_task(worker._listen(parts(keys), cast("object", SimpleNamespace())))  # type: ignore[arg-type]
    opening = asyncio.create_task(worker._opened(parts(keys), OLD))
    await asyncio.sleep(0.05)
    await supervisor.send(Unsealed(root_key=NEW.reveal()))
    assert await opening
    assert worker._refused is None
    assert not keys.sealed
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    supervisor.close()
    worker._channel.close()


async def test_without_another_key_it_refuses_and_says_which_seal_is_the_present_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("overseer.server.worker.GRACE_SECONDS", 0.05)
    worker, supervisor = await worker_and_supervisor(tmp_path)
    keys = Keys()
    assert not await worker._opened(parts(keys), OLD)
    assert worker._refused is not None
    assert worker._refused.exit_code == 78
    assert "The seal of this instance is 'shamir': set OVERSEER_SEAL to it" in worker._refused.message
    assert keys.tried == [OLD]
    supervisor.close()
    worker._channel.close()

"""``overseer server run``: one supervisor that holds the listening sockets and the root key, and keeps N workers alive.

It takes the root key from the seal before any worker exists, and hands it over the workers' channels. With a seal that needs an
operator all workers start sealed, and the key that unseals one reaches the others and every worker started later; shares are
gathered here, whichever worker they come through. A seal that asks another service is opened beside the sealed workers, again
and again until it gives the key: an outage there delays the start and ends nothing. A crashed
worker is started again with a growing pause; one that refuses (a wrong key, a database without Overseer) ends the whole, because
another try would change nothing. SIGTERM and SIGINT drain. The embedded database, where one is used, starts before the
workers and stops after them.

It will not parse a request, or hold a database connection while it serves (a seal that asks a service needs one, for a moment).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import time
from dataclasses import replace
from typing import Final

from overseer.core.errors import ConfigurationProblem, OverseerError, StoreUnavailable
from overseer.crypto.keys import RootKey
from overseer.server.data_directory import private_directory
from overseer.server.database_keeper import DatabaseKeeper
from overseer.server.hardening import harden_process
from overseer.server.key_channel import (
    Channel,
    Refused,
    ShareGiven,
    SharesAsked,
    SharesForgotten,
    Start,
    ToSupervisor,
    Unsealed,
    settings_to_wire,
)
from overseer.server.listening import listening_sockets, tls_context
from overseer.server.log_format import DEFECT, start_logging
from overseer.server.measure_directory import measure_directory
from overseer.server.measures import DIRECTORY_VARIABLE, forget_worker
from overseer.server.seals.contract import Seal
from overseer.server.seals.selection import make_seal
from overseer.server.services.auto_unseal import root_key_by_service
from overseer.server.services.share_collection import ShareBox
from overseer.server.settings import Settings
from overseer.server.share_channel import answer_share
from overseer.server.storage.migrator import pending_migrations

DRAIN_SECONDS: Final = 25.0  # a worker's own 20, and time to end
FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 30.0
STEADY_SECONDS: Final = 60.0
_LOG: Final = logging.getLogger("overseer.server")


def run_server(settings: Settings) -> int:
    """Serve until a signal; returns the exit code (0 after draining, else that of the error, told in one line on stderr)."""
    harden_process()
    start_logging(settings.log_level)
    try:
        return asyncio.run(Supervisor(settings).run())
    except OverseerError as error:
        sys.stderr.write(f"overseer server: {error.message}\n")
        return error.exit_code
    except Exception:  # noqa: BLE001  # the end of the process
        _LOG.critical(DEFECT, exc_info=True)  # its type and place: the text may hold anything
        return OverseerError.exit_code


class Supervisor:
    """The life of one server; make a new one for another run."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._root_key: RootKey | None = None
        self._shares = ShareBox()
        self._channels: dict[int, Channel] = {}
        self._processes: dict[int, asyncio.subprocess.Process] = {}
        self._stop = asyncio.Event()
        self._refused: Refused | None = None
        self._announced = False
        self._measures = ""

    async def run(self) -> int:
        """Raises :class:`OverseerError` where the server cannot start at all."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        if self._settings.data_dir.exists():
            private_directory(self._settings.data_dir)
        tls_context(self._settings)
        seal = make_seal(self._settings.seal)
        if not (seal.needs_operator or seal.asks_service):
            self._root_key = await seal.root_key()
        sockets = listening_sockets(self._settings.host, self._settings.port)
        keeper = DatabaseKeeper(self._settings.data_dir) if self._settings.database_url is None else None
        watching: asyncio.Task[None] | None = None
        try:
            if keeper is not None:
                self._settings = replace(self._settings, database_url=await keeper.start())
                watching = asyncio.create_task(keeper.watch(self._database_restarted))
            await self._check_schema()
            with measure_directory() as self._measures:
                await self._supervise(sockets, seal)
        finally:
            for bound in sockets:
                bound.close()
            if watching is not None:
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)
            if keeper is not None:
                await keeper.stop()
        if self._refused is not None:
            sys.stderr.write(f"overseer server: {self._refused.message}\n")
            return self._refused.exit_code
        return 0

    def _database_restarted(self, url: str) -> None:
        """Workers that hold another URL are ended, and started again with the new one."""
        if url != self._settings.database_url:
            self._settings = replace(self._settings, database_url=url)
            for number in list(self._processes):
                self._terminate(number)

    async def _check_schema(self) -> None:
        """Refuse to serve a database of another version; one that does not answer is looked at later, by the workers."""
        try:
            pending = await pending_migrations(self._settings.database_url or "")
        except StoreUnavailable:
            _LOG.warning("the database does not answer yet; serving 503 until it does")
            return
        if pending:
            raise ConfigurationProblem("the database is not set up for this version: run `overseer server init` or `migrate`")

    async def _supervise(self, sockets: list[socket.socket], seal: Seal) -> None:
        keepers = [asyncio.create_task(self._keep(number, sockets)) for number in range(self._settings.workers)]
        opening = asyncio.create_task(self._open_by_service()) if seal.asks_service else None
        try:
            await self._stop.wait()
        finally:
            self._stop.set()
            for bound in sockets:  # the workers close theirs: who connects now is refused, and does not wait for nobody
                bound.close()
            if opening is not None:
                opening.cancel()
                await asyncio.gather(opening, return_exceptions=True)
            for number in list(self._processes):
                self._terminate(number)
            _, late = await asyncio.wait(keepers, timeout=DRAIN_SECONDS)
            if late:
                for process in list(self._processes.values()):
                    with contextlib.suppress(ProcessLookupError):
                        process.kill()
            await asyncio.gather(*keepers)

    async def _keep(self, number: int, sockets: list[socket.socket]) -> None:
        """One worker after another, with pauses that grow while they fail quickly."""
        pause = FIRST_PAUSE
        while not self._stop.is_set():
            began = time.monotonic()
            exit_code = await self._run_worker(number, sockets)
            if self._stop.is_set():
                return
            pause = FIRST_PAUSE if time.monotonic() - began > STEADY_SECONDS else min(2 * pause, LONGEST_PAUSE)
            _LOG.error("a worker ended", extra={"worker": number, "exit_code": exit_code, "seconds": pause})
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), pause)

    async def _run_worker(self, number: int, sockets: list[socket.socket]) -> int:
        ours, theirs = socket.socketpair()
        fds = [theirs.fileno(), *(bound.fileno() for bound in sockets)]
        # -P: the working directory is no place to import from. A session of its own: Ctrl-C comes through the supervisor.
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "overseer.server.worker", *map(str, fds)),
            pass_fds=fds,
            stdin=asyncio.subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, DIRECTORY_VARIABLE: self._measures},
        )
        theirs.close()
        channel = await Channel.over(ours)
        self._processes[number], self._channels[number] = process, channel
        try:
            await self._start_worker(number, channel)
            while (message := await channel.receive(ToSupervisor)) is not None:
                await self._heard(number, message)
            return await process.wait()
        finally:
            channel.close()
            forget_worker(process.pid, self._measures)
            del self._processes[number], self._channels[number]

    async def _start_worker(self, number: int, channel: Channel) -> None:
        root_key = None if self._root_key is None else self._root_key.reveal()
        with contextlib.suppress(OSError):
            await channel.send(Start(worker=number, settings=settings_to_wire(self._settings), root_key=root_key))
        if self._stop.is_set():  # the signal came while it was being started
            self._terminate(number)

    async def _open_by_service(self) -> None:
        """Until the service gives the key that belongs to this instance; each failure is in the log, and the pauses grow."""
        pause = FIRST_PAUSE
        while self._root_key is None:
            try:
                root_key = await root_key_by_service(self._settings.database_url or "", self._settings.seal)
            except OverseerError as error:
                _LOG.warning("still sealed: %s", error.message, extra={"seconds": pause})
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                _LOG.info("the seal is open")
                await self._unsealed(root_key, None)

    async def _unsealed(self, root_key: RootKey, by: int | None) -> None:
        """Keep the key for workers to come, and hand it to all but the worker ``by``, who has it."""
        self._root_key = root_key
        self._shares.forget()
        for number, channel in list(self._channels.items()):
            if number != by:
                with contextlib.suppress(OSError):
                    await channel.send(Unsealed(root_key=root_key.reveal()))

    async def _heard(self, number: int, message: ToSupervisor) -> None:
        if isinstance(message, Refused):
            self._refused = self._refused or message
            self._stop.set()
        elif isinstance(message, Unsealed):
            await self._unsealed(RootKey(message.root_key), number)
        elif isinstance(message, SharesForgotten):
            self._shares.forget()
        elif isinstance(message, ShareGiven | SharesAsked):
            with contextlib.suppress(OSError):
                await self._channels[number].send(answer_share(self._shares, message))
        elif not self._announced:
            self._announced = True
            _LOG.info("listening on %s", self._settings.url)

    def _terminate(self, number: int) -> None:
        process = self._processes.get(number)
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()

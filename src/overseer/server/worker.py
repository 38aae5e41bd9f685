"""One server process: takes its settings and the root key from the supervisor's channel, serves, drains, ends.

Started as ``python -m overseer.server.worker CHANNEL SOCKET…`` with numbers of inherited file descriptors; nothing else is in its
arguments. Guarantees: nothing is accepted before a reachable database said whether the root key is right; a wrong one ends
the process and changes nothing. While the database is down it serves 503 and opens the keyring as soon as it can. SIGTERM, and
the supervisor's death, drain: no new connections, running requests get 20 seconds, long polls are answered at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import socket
import sys
from collections.abc import Iterator

import uvicorn
import uvloop

from overseer.core.errors import ConfigurationProblem, KeyProblem, NotReady, OverseerError
from overseer.crypto.keys import RootKey
from overseer.server.composition import Composed, composed
from overseer.server.hardening import harden_process, raise_file_limit
from overseer.server.http_protocol import protocol_options
from overseer.server.key_channel import Channel, Refused, Serving, ShareState, Start, ToWorker, Unsealed, settings_from_wire
from overseer.server.listening import tls_context
from overseer.server.log_format import DEFECT, start_logging
from overseer.server.settings import Settings
from overseer.server.share_channel import ChannelShares

DRAIN_SECONDS = 20
RETRY_SECONDS = 2.0
GRACE_SECONDS = 1.0
_LOG = logging.getLogger("overseer.server")


def _keep_collector_away() -> None:
    """What was made at the start lives as long as the process: the cycle collector need not walk over it again and again, nor
    after every few requests. Requests make next to no cycles."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


class _Server(uvicorn.Server):
    """Signals are the worker's own, so that draining reaches the long polls."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Worker:
    """The life of one worker process."""

    def __init__(self, channel: Channel, start: Start, sockets: list[socket.socket]) -> None:
        self._channel = channel
        self._start = start
        self._sockets = sockets
        self._settings = settings_from_wire(start.settings)
        self._shares = ChannelShares(channel)
        self._newest: RootKey | None = None
        self._told = asyncio.Event()
        self._refused: Refused | None = None

    async def run(self) -> int:
        """Serve until told to stop; returns the exit code."""
        async with composed(self._settings, on_unsealed=self._tell_unsealed, shares=self._shares) as parts:
            server = _Server(server_config(parts, self._settings))
            self._stop_on_signals(parts, server)
            background = [asyncio.create_task(self._listen(parts, server))]
            if self._start.root_key is not None:
                root_key = RootKey(self._start.root_key)
                if not await self._opened(parts, root_key) and self._refused is None:
                    background.append(asyncio.create_task(self._keep_opening(parts, root_key, server)))
            if self._refused is None:
                _keep_collector_away()
                await self._channel.send(Serving())
                await server.serve(sockets=self._sockets)
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
        if self._refused is None:
            return 0
        with contextlib.suppress(OSError):
            await self._channel.send(self._refused)
        return self._refused.exit_code

    async def _opened(self, parts: Composed, root_key: RootKey) -> bool:
        """True where the keyring is open; False where the database does not answer yet, or with :attr:`_refused` set."""
        try:
            await parts.keys.open(root_key)
        except NotReady:
            return False
        except (KeyProblem, ConfigurationProblem) as error:
            newer = await self._newer_key(root_key)
            if newer is not None:
                return await self._opened(parts, newer)
            self._refused = Refused(exit_code=error.exit_code, message=error.message + await _present_seal(parts))
            return False
        return True

    async def _newer_key(self, refused: RootKey) -> RootKey | None:
        """The seal may have been changed while this process started: then the supervisor has sent another key, or does so now."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._told.wait(), GRACE_SECONDS)
        return self._newest if self._newest != refused else None

    async def _keep_opening(self, parts: Composed, root_key: RootKey, server: uvicorn.Server) -> None:
        while parts.keys.sealed:
            await asyncio.sleep(RETRY_SECONDS)
            if await self._opened(parts, root_key):
                _LOG.info("the keyring is open")
            elif self._refused is not None:
                _drain(parts, server)
                return

    async def _listen(self, parts: Composed, server: uvicorn.Server) -> None:
        """Take the root key that another worker was unsealed with, or was sent after a change of the seal; end when the
        supervisor is gone."""
        opening: set[asyncio.Task[None]] = set()
        while (message := await self._channel.receive(ToWorker)) is not None:
            if isinstance(message, ShareState):
                self._shares.answered(message)
            elif isinstance(message, Unsealed):
                root_key = self._newest = RootKey(message.root_key)
                self._told.set()
                work = self._keep_opening_now(parts, root_key, server) if parts.keys.sealed else _succeed(parts, root_key)
                opening.add(task := asyncio.create_task(work))
                task.add_done_callback(opening.discard)
        for task in opening:
            task.cancel()
        _drain(parts, server)

    async def _keep_opening_now(self, parts: Composed, root_key: RootKey, server: uvicorn.Server) -> None:
        if not await self._opened(parts, root_key):
            await self._keep_opening(parts, root_key, server)

    async def _tell_unsealed(self, root_key: RootKey) -> None:
        with contextlib.suppress(OSError):
            await self._channel.send(Unsealed(root_key=root_key.reveal()))

    def _stop_on_signals(self, parts: Composed, server: uvicorn.Server) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, _drain, parts, server)


def server_config(parts: Composed, settings: Settings) -> uvicorn.Config:
    """uvicorn's configuration for one worker. Raises :class:`ConfigurationProblem` for the TLS files."""
    context = tls_context(settings)
    return uvicorn.Config(
        parts.app,
        timeout_graceful_shutdown=DRAIN_SECONDS,
        ssl_context_factory=None if context is None else lambda _config, _default: context,
        **protocol_options(),
    )


async def _present_seal(parts: Composed) -> str:
    """What to say behind a refusal where the seal was changed and the setting was not."""
    with contextlib.suppress(OverseerError):
        status = await parts.services.seal.status()
        if status.kind != status.setting:
            return f". The seal of this instance is {status.kind!r}: set OVERSEER_SEAL to it"
    return ""


async def _succeed(parts: Composed, root_key: RootKey) -> None:
    with contextlib.suppress(OverseerError):  # each worker hears of a change by itself as well
        await parts.succession.adopt(root_key)


def _drain(parts: Composed, server: uvicorn.Server) -> None:
    parts.draining.set()
    server.should_exit = True


async def _main(channel_fd: int, socket_fds: list[int]) -> int:
    channel = await Channel.over(socket.socket(fileno=channel_fd))
    start = await channel.receive(ToWorker)
    if not isinstance(start, Start):
        return 0  # the supervisor is gone
    sockets = [socket.socket(fileno=number) for number in socket_fds]
    try:
        worker = Worker(channel, start, sockets)
        start_logging(str(start.settings["log_level"]))
        return await worker.run()
    except OverseerError as error:
        with contextlib.suppress(OSError):
            await channel.send(Refused(exit_code=error.exit_code, message=error.message))
        return error.exit_code
    finally:
        channel.close()


def main() -> int:
    """The process's entry; the exit code is that of the error that ended it, 0 after draining.

    Of an exception that nobody expected the log gets its type and place, never its text.
    """
    harden_process()
    start_logging("warning")  # until the settings say how much
    raise_file_limit()
    channel_fd, *socket_fds = (int(text) for text in sys.argv[1:])
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_main(channel_fd, socket_fds))
    except Exception:  # noqa: BLE001  # the end of the process
        _LOG.critical(DEFECT, exc_info=True)
        return OverseerError.exit_code


if __name__ == "__main__":
    sys.exit(main())

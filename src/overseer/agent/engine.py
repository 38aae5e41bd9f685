"""Docker and Compose as this node has them: found once, run with argument lists, deadlines and an environment of our choosing.

Guarantees: no shell; the child's environment holds PATH, HOME, the engine's address and the registry credentials' place, and
nothing else of the agent's; input goes to stdin, so no value is in an argument, an environment or a file; output is captured in
memory, bounded, and returned raw only to be redacted by the caller. A command that outlives its deadline is ended, first
politely, then not.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

from overseer.core.errors import ConfigurationProblem, NodeProblem

#: Where system programs lie when the agent's own PATH is short.
_SYSTEM_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_KEPT_OUTPUT: Final = 512 * 1024
_STDOUT_LIMIT: Final = 64 * 1024 * 1024
_POLITE_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True, repr=False)
class Outcome:
    """What a command did. ``stderr`` is its newest part; nothing here is redacted."""

    code: int
    stdout: bytes
    stderr: bytes
    timed_out: bool = False

    def __repr__(self) -> str:
        return f"Outcome(code={self.code})"


@dataclass(slots=True)
class Engine:
    """The two commands of this node. ``interrupt`` ends what runs, for an agent that has to stop now."""

    docker: list[str]
    compose: list[str]
    environment: dict[str, str]
    _running: set[subprocess.Popen[bytes]] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    interrupted: bool = False

    @classmethod
    def find(
        cls,
        docker: str | None = None,
        compose: str | None = None,
        docker_host: str | None = None,
        docker_config: str | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> Engine:
        """Looks where the settings say, else in ``PATH``; Compose as Docker's plug-in, beside the interpreter, in ``PATH``.

        Raises :class:`ConfigurationProblem` that names the setting where a program is missing.
        """
        env = os.environ if environ is None else environ
        path = env.get("PATH") or _SYSTEM_PATH
        program = shutil.which(docker or "docker", path=path)
        if program is None:
            raise ConfigurationProblem("there is no Docker command: install one or set OVERSEER_DOCKER")
        scrubbed = {"PATH": path, "HOME": env.get("HOME") or "/", "LANG": "C.UTF-8"}
        if docker_host:
            scrubbed["DOCKER_HOST"] = docker_host
        if docker_config:
            scrubbed["DOCKER_CONFIG"] = docker_config
        engine = cls([program], [], scrubbed)
        engine.compose = engine._find_compose(compose, path)
        return engine

    def _find_compose(self, wanted: str | None, path: str) -> list[str]:
        if wanted:
            found = shutil.which(wanted, path=path)
            candidates = [[found]] if found else []
        else:
            beside = shutil.which("docker-compose", path=str(Path(sys.executable).parent))
            alone = [one for one in (beside, shutil.which("docker-compose", path=path)) if one]
            candidates = [[*self.docker, "compose"], *([one] for one in alone)]
        for command in candidates:
            outcome = self.run([*command, "version", "--short"], seconds=30)
            version = re.match(rb"v?([0-9]+)\.", outcome.stdout)
            if outcome.code == 0 and version and int(version[1]) >= 2:
                return command
        raise ConfigurationProblem("there is no Docker Compose v2: install the plug-in or set OVERSEER_COMPOSE")

    def answers(self) -> bool:
        """True where the engine can be reached."""
        return self.run([*self.docker, "version", "--format", "{{.Server.Version}}"], seconds=20).code == 0

    def run(
        self,
        command: Sequence[str],
        *,
        seconds: float,
        stdin: bytes | None = None,
        variables: Mapping[str, str] | None = None,
        directory: Path | None = None,
        hold: Sequence[int] = (),
    ) -> Outcome:
        """Run ``command`` to its end or for ``seconds``; :class:`NodeProblem` where it cannot be started or the agent stops.

        ``hold``: descriptors that the command keeps open, such as a lock that must outlive an agent that is killed.
        """
        with self._lock:
            if self.interrupted:
                raise NodeProblem("the agent is stopping")
            try:
                child = subprocess.Popen(
                    list(command),
                    stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    env={**self.environment, **(variables or {})},
                    cwd=directory or "/",
                    pass_fds=hold,
                    start_new_session=True,  # a Ctrl-C at the agent's terminal is the agent's to handle
                )
            except OSError as error:
                raise NodeProblem(f"{Path(command[0]).name} could not be started: {error.strerror}") from None
            self._running.add(child)
        try:
            return _attend(child, stdin, seconds)
        finally:
            with self._lock:
                self._running.discard(child)

    def interrupt(self) -> None:
        """End what runs and start nothing more. Compose leaves a state that a later ``up`` heals."""
        with self._lock:
            self.interrupted = True
            for child in self._running:
                _signal(child, signal.SIGTERM)


def _attend(child: subprocess.Popen[bytes], stdin: bytes | None, seconds: float) -> Outcome:
    """Feed and drain the three pipes at once, within bounds."""
    out, err = _Drain(child.stdout, _STDOUT_LIMIT, keep_end=False), _Drain(child.stderr, _KEPT_OUTPUT, keep_end=True)
    threads = [threading.Thread(target=drain.run, daemon=True) for drain in (out, err)]
    if stdin is not None:
        threads.append(threading.Thread(target=_feed, args=(child, stdin), daemon=True))
    for thread in threads:
        thread.start()
    timed_out = False
    try:
        child.wait(seconds)
    except subprocess.TimeoutExpired:
        timed_out = True
        _end(child)
    for thread in threads:
        thread.join(5.0)  # a grandchild may hold a pipe open; what it says later is not waited for
    return Outcome(child.returncode, out.content(), err.content(), timed_out)


class _Drain:
    """Reads a pipe to its end and keeps at most ``limit`` bytes of it."""

    def __init__(self, stream: IO[bytes] | None, limit: int, *, keep_end: bool) -> None:
        assert stream is not None  # noqa: S101 - always a pipe
        self._stream, self._limit, self._keep_end = stream, limit, keep_end
        self._kept = bytearray()

    def run(self) -> None:
        with self._stream:
            while chunk := self._stream.read1(65536):  # type: ignore[attr-defined]
                if self._keep_end:
                    self._kept += chunk
                    if len(self._kept) > 2 * self._limit:
                        del self._kept[: -self._limit]
                elif len(self._kept) < self._limit:
                    self._kept += chunk

    def content(self) -> bytes:
        return bytes(self._kept[-self._limit :] if self._keep_end else self._kept[: self._limit])


def _feed(child: subprocess.Popen[bytes], stdin: bytes) -> None:
    assert child.stdin is not None  # noqa: S101 - always a pipe
    try:
        child.stdin.write(stdin)
        child.stdin.close()
    except OSError:  # the child ended before it read all: its exit code tells why
        pass


def _end(child: subprocess.Popen[bytes]) -> None:
    _signal(child, signal.SIGTERM)
    try:
        child.wait(_POLITE_SECONDS)
    except subprocess.TimeoutExpired:
        _signal(child, signal.SIGKILL)
        child.wait()


def _signal(child: subprocess.Popen[bytes], number: int) -> None:
    """To the child's whole session: Compose is a plug-in, a child of the Docker command."""
    if child.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, number)

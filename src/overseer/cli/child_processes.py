"""Processes that ``overseer quickstart`` starts: each with a log file of its own, each stopped by its own id and nothing else.

A child has a session of its own, so that Ctrl-C at the terminal reaches only the parent, which then stops the children in order.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from overseer.core.errors import ConfigurationProblem, Problem

_LARGEST_LOG: Final = 10 * 1024 * 1024
_SHOWN: Final = 15


class ChildProcess:
    """``overseer ARGUMENTS`` as a running process. ``log`` (0600) is appended to; one that grew large is put aside first."""

    def __init__(self, name: str, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        descriptor = _open_log(log)
        try:
            # -P: the working directory is no place to import from.
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "overseer.cli.main", *arguments],
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=descriptor,
                stderr=descriptor,
                start_new_session=True,
            )
        finally:
            os.close(descriptor)

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def require_running(self) -> None:
        """:class:`ConfigurationProblem` with what it said last where it has ended."""
        if not self.running:
            said = [Problem(self.log.name, line) for line in self._last_lines()]
            raise ConfigurationProblem(f"the {self.name} ended with {self._process.returncode}; see {self.log}", problems=said)

    def stop(self, seconds: float) -> bool:
        """Ask it to end, wait, and after ``seconds`` end it; False where it had to be."""
        if self.running:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return False
        return True

    def _last_lines(self) -> list[str]:
        with self.log.open("rb") as file:
            file.seek(max(0, self.log.stat().st_size - 16384))
            return file.read().decode("utf-8", "replace").splitlines()[-_SHOWN:]


def _open_log(path: Path) -> int:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.exists() and path.stat().st_size > _LARGEST_LOG:
            path.replace(path.with_suffix(".log.1"))
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigurationProblem(f"the log {path} cannot be written: {(error.strerror or '').lower()}") from None

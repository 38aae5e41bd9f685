"""Watches what the kernel shows of processes: the arguments of all, the environments of those named and their descendants."""

from __future__ import annotations

import threading
from pathlib import Path

from tests.e2e.canary.search import Finding, Search

PAUSE_SECONDS = 0.05


class ProcessWatch:
    """A thread that reads ``/proc`` again and again. What lives for less than a round may be missed."""

    def __init__(self, search: Search) -> None:
        self.findings: set[Finding] = set()
        self.seen: set[int] = set()
        self.environments_of: set[int] = set()
        self._search = search
        self._roots: set[int] = set()
        self._read: dict[int, tuple[bytes, bytes]] = {}
        self._rounds = 0
        self._failure: BaseException | None = None
        self._changed = threading.Condition()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="process watch", daemon=True)

    def __enter__(self) -> ProcessWatch:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._ended.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def include(self, process_id: int) -> None:
        """Look at the environments of this process and all that it starts."""
        self._roots.add(process_id)

    def wait_for_rounds(self, rounds: int) -> None:
        with self._changed:
            until = self._rounds + rounds
            self._changed.wait_for(lambda: self._rounds >= until or self._failure is not None, timeout=90)

    def _run(self) -> None:
        try:
            while not self._ended.is_set():
                self._round()
                with self._changed:
                    self._rounds += 1
                    self._changed.notify_all()
                self._ended.wait(PAUSE_SECONDS)
        except BaseException as error:  # noqa: BLE001  # a watch that died must not pass for one that saw nothing
            self._failure = error

    def _round(self) -> None:
        parents: dict[int, int] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and (parent := _parent(entry)) is not None:
                parents[int(entry.name)] = parent
        for process_id in parents:
            watched = self._is_watched(process_id, parents)
            shown = _read(process_id, "cmdline"), _read(process_id, "environ") if watched else b""
            if watched and shown[1]:
                self.environments_of.add(process_id)
            if self._read.get(process_id) != shown:
                self._read[process_id] = shown
                self.seen.add(process_id)
                self.findings.update(self._search.in_bytes(shown[0], f"arguments of process {process_id}"))
                self.findings.update(self._search.in_bytes(shown[1], f"environment of process {process_id}"))

    def _is_watched(self, process_id: int, parents: dict[int, int]) -> bool:
        while process_id in parents and process_id not in self._roots:
            process_id = parents[process_id]
        return process_id in self._roots


def _parent(entry: Path) -> int | None:
    try:
        # proc(5): the command's name in parentheses may hold anything, so what follows the last one is read.
        return int((entry / "stat").read_bytes().rpartition(b")")[2].split()[1])
    except (OSError, IndexError):
        return None


def _read(process_id: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{process_id}/{name}").read_bytes()
    except OSError:
        return b""

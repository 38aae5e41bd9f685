"""What a container shows at a path is looked at in bounded time; this process stands for a container's."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from overseer.agent import container_contents
from overseer.agent.containers import Container
from overseer.agent.engine import Engine
from overseer.core.secret_value import SecretValue

_PARTS: dict[str, Any] = {
    "id": "c", "service": "a", "state": "running", "health": "", "exit_code": 0, "started_at": "", "job": False,
    "environment": (),
}  # fmt: skip


@pytest.fixture
def look(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], SecretValue | None]:
    """Reads as from a container, by no other way than /proc: a question to an engine fails, for there is none."""
    monkeypatch.setattr(container_contents, "_is_ours_to_read", lambda container: True)
    engine = Engine(["/nonexistent/docker"], [], {})

    def run(path: Path) -> SecretValue | None:
        results: list[SecretValue | Exception | None] = []

        def read() -> None:
            try:
                results.append(container_contents.file(engine, Container(pid=os.getpid(), **_PARTS), str(path)))
            except Exception as error:  # noqa: BLE001 - shown by the test
                results.append(error)

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        thread.join(20)
        assert not thread.is_alive(), "the look never returned"
        if isinstance(results[0], Exception):
            raise results[0]
        return results[0]

    return run


def looks_end() -> None:
    """Until no look is under way."""
    deadline = time.monotonic() + 60
    while "agent-look" in [one.name for one in threading.enumerate()]:
        assert time.monotonic() < deadline, "a look never returned"
        time.sleep(0.01)


def test_a_file_of_a_container_is_read(look: Callable[[Path], SecretValue | None], tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"v")
    assert look(tmp_path / "key") == SecretValue(b"v")


@pytest.mark.parametrize("target", ["/proc/kmsg", "/proc/sys/kernel/hostname", "/sys/kernel/mm/transparent_hugepage/enabled"])
def test_what_only_looks_like_a_file_is_not_read(
    look: Callable[[Path], SecretValue | None], tmp_path: Path, target: str
) -> None:
    (tmp_path / "key").symlink_to(target)
    assert look(tmp_path / "key") is None
    looks_end()  # none of them hangs in a read


def test_what_is_no_file_asks_no_engine(look: Callable[[Path], SecretValue | None], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "endless").open("wb") as stream:
        stream.truncate(8 << 30)
    for name in ("pipe", "endless", "", "nowhere"):
        assert look(tmp_path / name) is None


def test_a_look_that_never_returns_is_given_up_and_many_of_them_are_refused(
    look: Callable[[Path], SecretValue | None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key").write_bytes(b"v")
    hold = threading.Event()
    monkeypatch.setattr(container_contents, "_LOOK_SECONDS", 0.05)
    monkeypatch.setattr(container_contents, "_looks", threading.BoundedSemaphore(2))
    for _ in range(3):
        assert container_contents._in_time(lambda: hold.wait(300)) is None
    assert [one.name for one in threading.enumerate()].count("agent-look") == 2
    hold.set()
    looks_end()
    monkeypatch.setattr(container_contents, "_LOOK_SECONDS", 90.0)
    assert look(tmp_path / "key") == SecretValue(b"v")

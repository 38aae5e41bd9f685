"""Moving to shares and giving them, as people do it: on a terminal, with a running server."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.cli.conftest import command
from tests.integration.server_process.conftest import short_dir
from tests.integration.server_process.installation import Installation, RunningServer

__all__ = ["short_dir"]
pytestmark = [pytest.mark.postgres]

# Takes the terminal on descriptor 0 as its controlling one, and hears SIGINT, which the background of a shell ignores.
_WITH_TERMINAL = (
    "import fcntl, os, signal, sys, termios; signal.signal(signal.SIGINT, signal.SIG_DFL)"
    "; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
)
SHARE = re.compile(rb"ovshare1(?:-[a-z2-7]{6}){12}")
Answer = Callable[[bytes], bytes]


@pytest.fixture(scope="module")
def installation(short_dir: Path) -> Iterator[Installation]:
    made = Installation(short_dir / "data")
    yield made
    made.postgres.stop()


def on_terminal(settings: dict[str, str], arguments: list[str], answers: list[tuple[bytes, Answer]]) -> tuple[int, bytes]:
    """Exit code, and all that the terminal showed; each answer is made from that once its prompt has appeared."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OVERSEER_")}
    ours, theirs = pty.openpty()
    wrapped = [sys.executable, "-c", _WITH_TERMINAL, *command(*arguments)]
    process = subprocess.Popen(wrapped, stdin=theirs, stdout=theirs, stderr=theirs, env=kept | settings, start_new_session=True)
    os.close(theirs)
    shown, left, seen = b"", list(answers), 0
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if select.select([ours], [], [], 0.05)[0]:
            try:
                shown += os.read(ours, 4096)
            except OSError:  # the other side is closed
                break
        if left and left[0][0] in shown[seen:]:
            seen = len(shown)
            os.write(ours, left.pop(0)[1](shown) + b"\n")
    os.close(ours)
    assert not left, shown
    return process.wait(10), shown


def share(number: int) -> Answer:
    """The share that was shown as that one, counted from 0."""
    return lambda shown: SHARE.findall(shown)[number]


def test_from_a_key_file_to_shares_and_on(installation: Installation, tmp_path: Path) -> None:
    settings = installation.settings(OVERSEER_WORKERS="2")
    server = RunningServer(settings, tmp_path / "server.log")
    try:
        server.wait_for("/health/ready", 200)
        answers = [
            (b"[y/N] ", lambda _: b"y"),
            (b"share 1: ", share(2)),
            (b"share 2: ", lambda shown: share(0)(shown)[:-1] + b"!"),
            (b"share 2: ", share(0)),  # once it is asked again: what is typed before a prompt is thrown away
        ]
        code, shown = on_terminal(settings, ["seal", "migrate", "--to", "shamir:2/3"], answers)
        assert code == 0, shown
        shares = SHARE.findall(shown)
        assert len(shares) == 3, "what is typed does not show"
        assert b"type it again" in shown
        assert b"OVERSEER_SEAL=shamir:2/3" in shown
        assert server.get("/api/secrets", installation.owner_token).status_code == 200
    finally:
        assert server.stop() == 0

    settings = installation.settings(OVERSEER_SEAL="shamir", OVERSEER_WORKERS="2")
    server = RunningServer(settings, tmp_path / "sealed.log")
    try:
        server.wait_for("/health/live", 200)
        client = settings | {"OVERSEER_URL": server.url}
        code, shown = on_terminal(client, ["seal", "unseal"], [(b"share: ", lambda _: shares[1])])
        assert (code, b"1 of 2 given (3 exist)" in shown) == (0, True), shown
        code, shown = on_terminal(client, ["seal", "unseal"], [(b"share: ", lambda _: shares[2].upper())])
        assert (code, b"unsealed" in shown) == (0, True), shown
        assert not SHARE.search(shown)

        refused = [(b"[y/N] ", lambda _: b"y"), (b"share 1: ", lambda _: shares[0]), (b"share 2: ", lambda _: b"\x03")]
        code, shown = on_terminal(settings, ["seal", "rekey", "--threshold", "2", "--shares", "2"], refused)
        assert (code, b"interrupted" in shown) == (130, True), shown
        answers = [
            (b"[y/N] ", lambda _: b"y"),
            (b"share 1: ", lambda _: shares[0]),
            (b"share 2: ", lambda _: shares[1]),
            (b"passphrase of the new seal: ", lambda _: b"correct horse battery staple"),
            (b"again: ", lambda _: b"correct horse battery staple"),
        ]
        code, shown = on_terminal(settings, ["seal", "migrate", "--to", "passphrase"], answers)
        assert (code, b"horse" in shown) == (0, False), shown
        assert server.get("/api/secrets", installation.owner_token).status_code == 200
    finally:
        assert server.stop() == 0
    said = (tmp_path / "server.log").read_bytes() + (tmp_path / "sealed.log").read_bytes()
    assert not any(text in said for text in (*shares, b"correct horse"))

"""Prompts on a real terminal: hidden, confirmed, and apart from stdin and stdout."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time

import pytest

from tests.e2e.cli.conftest import Overseer, command

pytestmark = [pytest.mark.postgres]

# Takes the terminal on descriptor 0 as its controlling one, and gives it away as stdin: only /dev/tty is left. SIGINT is heard:
# what a shell starts in the background ignores it.
_WITH_TERMINAL = """
import fcntl, os, signal, sys, termios
signal.signal(signal.SIGINT, signal.SIG_DFL)
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


def on_terminal(overseer: Overseer, arguments: list[str], answers: list[tuple[bytes, bytes]]) -> tuple[int, bytes, bytes]:
    """Exit code, stdout, and all that the terminal showed; each answer is typed once its prompt has appeared."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", _WITH_TERMINAL, *command(*arguments)],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=theirs,
        env=overseer.environment,
        start_new_session=True,
    )
    os.close(theirs)
    shown, left, seen = b"", list(answers), 0
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        if select.select([ours], [], [], 0.05)[0]:
            try:
                shown += os.read(ours, 4096)
            except OSError:  # the other side is closed
                break
        if left and left[0][0] in shown[seen:]:
            seen = len(shown)
            os.write(ours, left.pop(0)[1])
        if process.poll() is not None and not select.select([ours], [], [], 0)[0]:
            break
    else:
        process.kill()
    assert process.stdout is not None
    out = process.stdout.read()
    process.stdout.close()
    os.close(ours)
    assert not left, shown
    return process.wait(10), out, shown


def test_a_value_is_asked_for_twice_and_never_shown(overseer: Overseer) -> None:
    answers = [(b"value of typed (global): ", b"canary-4711\n"), (b"again: ", b"canary-4711\n")]
    code, out, shown = on_terminal(overseer, ["secret", "set", "typed"], answers)
    assert (code, out) == (0, b"")
    assert b"canary" not in shown
    assert overseer("secret", "get", "typed").stdout == b"canary-4711"


def test_two_different_answers_change_nothing(overseer: Overseer) -> None:
    code, _, shown = on_terminal(
        overseer, ["secret", "set", "other"], [(b"global): ", b"canary-1\n"), (b"again: ", b"canary-2\n")]
    )
    assert code == 2
    assert b"nothing was changed" in shown
    assert b"canary" not in shown
    overseer("secret", "get", "other", code=66)


@pytest.mark.parametrize(("answer", "code"), [(b"y\n", 0), (b"n\n", 1), (b"\n", 1)])
def test_deleting_asks(overseer: Overseer, answer: bytes, code: int) -> None:
    overseer("secret", "set", "doomed", "--stdin", stdin=b"x")
    ended, _, shown = on_terminal(overseer, ["secret", "delete", "doomed"], [(b"[y/N] ", answer)])
    assert ended == code, shown
    overseer("secret", "info", "doomed", code=66 if code == 0 else 0)


def test_ctrl_c_at_a_prompt_ends_with_130(overseer: Overseer) -> None:
    code, _, shown = on_terminal(overseer, ["secret", "set", "never"], [(b"global): ", b"\x03")])
    assert code == 130, shown
    overseer("secret", "info", "never", code=66)


def test_without_a_terminal_the_other_ways_are_told(overseer: Overseer) -> None:
    done = subprocess.run(
        command("secret", "set", "typed"),
        capture_output=True,
        check=False,
        env=overseer.environment,
        start_new_session=True,
        timeout=120,
    )
    assert done.returncode == 2
    assert b"--stdin, --file PATH or --generate SPEC" in done.stderr

"""The process target, with real processes."""

from __future__ import annotations

import ast
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from overseer.agent.injection.memory_root import MemoryRoot
from overseer.agent.injection.process import DIRECTORY_VARIABLE, MAX_ENVIRONMENT_BYTES, run_process
from overseer.core.errors import InvalidInput
from overseer.core.secret_value import SecretValue

PYTHON = sys.executable
#: A process of its own, for tests that send it signals: values and command come as JSON on standard input.
PARENT = """
import json, sys
from pathlib import Path
from typing import Any
from overseer.agent.injection.memory_root import MemoryRoot
from overseer.agent.injection.process import run_process
from overseer.core.secret_value import SecretValue
told = json.load(sys.stdin)
values = {name: SecretValue(value) for name, value in told["values"].items()}
sys.exit(run_process(told["argv"], values, files=told["files"], root=MemoryRoot(Path(told["root"]))))
"""


def start(root: Path, argv: list[str], values: dict[str, str], *, files: bool = True) -> subprocess.Popen[bytes]:
    child = subprocess.Popen([PYTHON, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
    assert child.stdin is not None
    child.stdin.write(json.dumps({"argv": argv, "values": values, "files": files, "root": str(root)}).encode())
    child.stdin.close()
    child.stdin = None
    return child


def await_output(child: subprocess.Popen[bytes]) -> bytes:
    assert child.stdout is not None
    return child.stdout.readline()


def test_environment_exactly(tmp_path: Path) -> None:
    values = {"A": b"pa$word", "B": b"", "C": "line\nline\n ü".encode(), "D": b"\xff\xfe", "_E1": b"a=b"}
    script = f"import os; open({str(tmp_path / 'out')!r}, 'w').write(repr(dict(os.environb)))"
    environ = {"PATH": os.environ["PATH"], "OVERSEER_TOKEN": "ovs_mine", "KEPT": "k"}
    code = run_process([PYTHON, "-c", script], {name: SecretValue(value) for name, value in values.items()}, environ=environ)
    found = ast.literal_eval((tmp_path / "out").read_text())
    assert code == 0
    assert {name: found[name.encode()] for name in values} == values
    assert found[b"KEPT"] == b"k"
    assert b"OVERSEER_TOKEN" not in found


@pytest.mark.parametrize(
    ("name", "value"),
    [("db-password", "v"), ("1A", "v"), ("A=B", "v"), ("", "v"), ("A", "a\0b"), ("A", "x" * (MAX_ENVIRONMENT_BYTES - 1))],
)
def test_what_cannot_be_a_variable(tmp_path: Path, name: str, value: str) -> None:
    marker = tmp_path / "ran"
    with pytest.raises(InvalidInput) as caught:
        run_process(["touch", str(marker)], {name: SecretValue(value), "FINE": SecretValue("x")})
    assert len(caught.value.problems) == 1
    assert not marker.exists()


def test_the_longest_variable_arrives() -> None:
    value = "x" * (MAX_ENVIRONMENT_BYTES - 2)
    script = f"import os,sys; sys.exit(len(os.environ['A']) != {len(value)})"
    assert run_process([PYTHON, "-c", script], {"A": SecretValue(value)}) == 0


@pytest.mark.parametrize("code", [0, 1, 3, 255])
def test_exit_codes(code: int) -> None:
    assert run_process([PYTHON, "-c", f"raise SystemExit({code})"], {}) == code


def test_other_ends(tmp_path: Path) -> None:
    assert run_process(["no-such-program-anywhere"], {}) == 127
    (tmp_path / "plain").write_text("x")
    assert run_process([str(tmp_path / "plain")], {}) == 126
    assert run_process([PYTHON, "-c", "import os; os.kill(os.getpid(), 9)"], {}) == 137
    with pytest.raises(InvalidInput):
        run_process([], {})


def test_files_are_private_and_wiped(tmpfs_dir: Path, tmp_path: Path) -> None:
    script = (
        "import os, stat, json\n"
        f"d = os.environ[{DIRECTORY_VARIABLE!r}]\n"
        "mode = lambda path: stat.S_IMODE(os.stat(path).st_mode)\n"
        "names = ('db-password', 'key')\n"
        "found = {n: [open(f'{d}/{n}', 'rb').read().hex(), mode(f'{d}/{n}')] for n in names}\n"
        f"json.dump([d, mode(d), found, dict(os.environ)], open({str(tmp_path / 'out')!r}, 'w'))"
    )
    values = {"db-password": SecretValue(b"\0\xff"), "key": SecretValue("canary-in-file")}
    root = MemoryRoot(tmpfs_dir)
    assert run_process([PYTHON, "-c", script], values, files=True, root=root) == 0
    directory, mode, found, environ = json.loads((tmp_path / "out").read_text())
    assert found == {"db-password": ["00ff", 0o400], "key": [b"canary-in-file".hex(), 0o400]}
    assert mode == 0o700
    assert "canary-in-file" not in json.dumps(environ)
    assert Path(directory).parent == tmpfs_dir
    assert list(tmpfs_dir.iterdir()) == []
    assert run_process(["false"], values, files=True, root=root) == 1
    assert list(tmpfs_dir.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGUSR1])
def test_signals_reach_the_command_and_its_code_comes_back(tmpfs_dir: Path, number: signal.Signals) -> None:
    script = (
        "import signal, sys, time\n"
        f"signal.signal({int(number)}, lambda *_: sys.exit(40))\n"
        "print('ready', flush=True)\n"
        "time.sleep(300)"
    )
    with start(tmpfs_dir, [PYTHON, "-c", script], {"a": "1"}) as child:
        assert await_output(child) == b"ready\n"
        assert len(list(tmpfs_dir.iterdir())) == 1
        child.send_signal(number)
        assert child.wait(90) == 40
    assert list(tmpfs_dir.iterdir()) == []


def test_a_command_that_does_not_care_dies_of_the_signal(tmpfs_dir: Path) -> None:
    with start(tmpfs_dir, ["sh", "-c", "echo ready; exec sleep 300"], {"a": "1"}) as child:
        assert await_output(child) == b"ready\n"
        child.terminate()
        assert child.wait(90) == 128 + signal.SIGTERM
    assert list(tmpfs_dir.iterdir()) == []


def test_a_terminals_interrupt_comes_once(tmpfs_dir: Path) -> None:
    """Ctrl-C reaches the whole foreground group; the parent must not add a second one."""
    import pty

    script = (
        "import signal, sys, time\n"
        "n = 0\n"
        "def count(*_):\n"
        "    global n; n += 1\n"
        "signal.signal(2, count)\n"
        "print('ready', flush=True)\n"
        "for _ in range(1200):\n"
        "    n or time.sleep(0.05)\n"
        "time.sleep(0.5)\n"  # in which a second one would come
        "sys.exit(50 + n)"
    )
    told = json.dumps({"argv": [PYTHON, "-c", script], "values": {"a": "1"}, "files": True, "root": str(tmpfs_dir)})
    code = PARENT.replace("json.load(sys.stdin)", f"json.loads({told!r})")
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(PYTHON, [PYTHON, "-c", code])  # noqa: S606 - a test's own program
    seen = b""
    while b"ready" not in seen:
        seen += os.read(terminal, 100)
    os.write(terminal, b"\x03")
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 51


def test_what_a_killed_parent_left_is_wiped_by_the_next_run(tmpfs_dir: Path, tmp_path: Path) -> None:
    script = f"echo ready; until test -e {tmp_path / 'end'}; do sleep 0.1; done"
    with start(tmpfs_dir, ["sh", "-c", script], {"a": "1"}) as child:
        assert await_output(child) == b"ready\n"
        child.kill()
        child.wait(90)
        left = list(tmpfs_dir.iterdir())
        assert len(left) == 1
        assert run_process(["true"], {"b": SecretValue("2")}, files=True, root=MemoryRoot(tmpfs_dir)) == 0
        assert list(tmpfs_dir.iterdir()) == left  # the command lives on and may read its files
        (tmp_path / "end").touch()
        deadline = time.monotonic() + 90
        while list(tmpfs_dir.iterdir()) and time.monotonic() < deadline:
            time.sleep(0.1)
            run_process(["true"], {"b": SecretValue("2")}, files=True, root=MemoryRoot(tmpfs_dir))
    assert list(tmpfs_dir.iterdir()) == []


def test_no_value_in_any_argument(tmpfs_dir: Path) -> None:
    canary = "canary-never-in-argv"
    for files in (True, False):
        name = "a" if files else "A"
        with start(tmpfs_dir, ["sh", "-c", "echo ready; exec sleep 300"], {name: canary}, files=files) as child:
            assert await_output(child) == b"ready\n"
            lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
            child.terminate()
            child.wait(90)
        assert not any(canary.encode() in line for line in lines)


def test_another_thread_that_takes_the_childs_signal_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal to the process goes to any thread that lets it in, where the command ends before its end is waited for."""
    spawn = os.posix_spawnp

    def spawn_and_pause(*arguments: Any, **options: Any) -> int:
        child = spawn(*arguments, **options)
        time.sleep(0.3)
        return child

    monkeypatch.setattr(os, "posix_spawnp", spawn_and_pause)
    done = threading.Event()
    idle = threading.Thread(target=done.wait, daemon=True)
    idle.start()
    try:
        assert run_process(["true"], {}) == 0
    finally:
        done.set()
        idle.join()

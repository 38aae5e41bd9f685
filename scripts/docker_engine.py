"""A Docker engine of one's own for tests and CI: own data, own socket, nothing shared with an engine already installed.

    python3 scripts/docker_engine.py install
    export DOCKER_HOST=$(python3 scripts/docker_engine.py start)
    python3 scripts/docker_engine.py stop --remove

Two engines on one machine, each in a network of its own: ``scripts/docker_pair.py``.

`install` takes Debian's packages where a program is missing. `start` prints the address once the engine answers, and
finds a running one again. Only what was started here is ever stopped, by its process id. All of it needs root.

Two engines in one network namespace overwrite each other's bridge and firewall rules: with `--own-network` the engine
and its containers get a namespace of their own, in which published ports cannot be reached from outside.

Runs under any Python from 3.11 with only the standard library.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

DEFAULT_ROOT = Path(__file__).resolve().parent.parent / ".cache" / "engine"
# Which package brings which program. Newer Debian releases split the client from docker.io.
PACKAGES = {
    "dockerd": "docker.io",
    "docker": "docker-cli",
    "iptables": "iptables",
    "busybox": "busybox-static",
    "ip": "iproute2",
}
READY_SECONDS = 60.0
STOP_SECONDS = 30.0
SOCKET_PATH_LIMIT = 107  # bytes; sockaddr_un, unix(7)
# dockerd finds iptables and containerd here even when it is started from a user's short PATH.
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class EngineProblem(Exception):
    """What went wrong and what to do about it."""


def main(arguments: list[str] | None = None) -> int:
    """Carry out one command; returns 0, or 1 after saying what is wrong (`status`: 3 when no engine runs)."""
    parser = argparse.ArgumentParser(description="Install, start and stop a Docker engine of one's own.")
    parser.add_argument("command", choices=["install", "start", "stop", "status"])
    parser.add_argument("--root", type=Path, default=DEFAULT_ROOT, help=f"where everything lies (default {DEFAULT_ROOT})")
    parser.add_argument("--own-network", action="store_true", help="start: in a network namespace of its own")
    parser.add_argument("--remove", action="store_true", help="stop: also remove images, containers and volumes")
    options = parser.parse_args(arguments)
    root: Path = options.root.resolve()
    try:
        if os.geteuid() != 0:
            raise EngineProblem("a Docker engine has to be installed and started by root.")
        if options.command == "install":
            install()
        elif options.command == "start":
            print(start(root, own_network=options.own_network))
        elif options.command == "stop":
            stop(root, remove=options.remove)
        elif not answers(root):
            print("no engine runs", file=sys.stderr)
            return 3
        else:
            print(address(root))
    except EngineProblem as problem:
        print(f"docker_engine: {problem}", file=sys.stderr)
        return 1
    return 0


def install() -> None:
    """Install the packages whose programs are missing. Raises :class:`EngineProblem`."""
    if not _missing():
        return
    if shutil.which("apt-get") is None:
        raise EngineProblem(f"install {', '.join(_missing())}; only Debian's packages are known here.")
    _apt("update")
    _apt("install", *(PACKAGES[program] for program in _missing() if program != "docker"))
    if _missing():  # the client, where docker.io does not bring it
        _apt("install", *(PACKAGES[program] for program in _missing()))
    if _missing():
        raise EngineProblem(f"the packages were installed, yet {', '.join(_missing())} cannot be found.")


def start(root: Path, *, own_network: bool = False) -> str:
    """Start an engine below ``root`` unless it runs; returns its ``DOCKER_HOST``. Raises :class:`EngineProblem`."""
    if len(str(root / "docker.sock").encode()) > SOCKET_PATH_LIMIT:
        raise EngineProblem(f"{root} is too long a path for a socket; name a shorter one with --root.")
    if _alive(root):
        _await_answer(root, None)
        return address(root)
    if _missing():
        raise EngineProblem(f"{', '.join(_missing())} not found; run `install` first.")
    root.mkdir(parents=True, exist_ok=True)
    stop(root)  # what a killed engine left
    (root / "daemon.json").write_text("{}\n")  # so that the machine's own /etc/docker/daemon.json is not read
    daemon = [
        *("dockerd", "--config-file", str(root / "daemon.json"), "--host", address(root), "--log-level", "warn"),
        *("--data-root", str(root / "data"), "--exec-root", str(root / "exec"), "--pidfile", str(root / "pid")),
    ]
    if own_network:
        # exec keeps one process: the pid file names dockerd itself. "$@" hands the words over as they are.
        daemon = ["unshare", "--net", "sh", "-c", 'busybox ip link set lo up && exec "$@"', "sh", *daemon]
    with (root / "log").open("wb") as log:
        process = subprocess.Popen(
            daemon,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env={**os.environ, "PATH": SYSTEM_PATH},
            start_new_session=True,
        )
    _await_answer(root, process)
    return address(root)


def stop(root: Path, *, remove: bool = False) -> None:
    """Stop the engine below ``root`` and its containers; with ``remove`` nothing of it stays."""
    for name in ("pid", "exec/containerd/containerd.pid"):  # containerd outlives a dockerd that was killed
        pid = _process(root, name)
        if pid is not None:
            _end(pid)
        (root / name).unlink(missing_ok=True)  # dockerd would believe a stale one
    _end_containers(root)
    if not remove or not root.exists():
        return
    # Innermost first, or the outer ones are busy.
    for mount in sorted(_mounts_below(root), key=len, reverse=True):
        subprocess.run(["umount", mount], check=False, capture_output=True)
    shutil.rmtree(root)


def address(root: Path) -> str:
    """The value of ``DOCKER_HOST`` for the engine below ``root``."""
    return f"unix://{root}/docker.sock"


def network_of(root: Path) -> Path:
    """The network namespace in which the engine below ``root`` runs, for ``nsenter --net=…``. It has to run."""
    return Path(f"/proc/{_process(root, 'pid')}/ns/net")


def answers(root: Path) -> bool:
    """Whether the engine below ``root`` answers a ping."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        try:
            connection.connect(str(root / "docker.sock"))
            connection.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            return b" 200 " in connection.recv(64)
        except OSError:
            return False


def _missing() -> list[str]:
    return [program for program in PACKAGES if shutil.which(program, path=SYSTEM_PATH) is None]


def _apt(*arguments: str) -> None:
    command = ["apt-get", "-qq", "-y", "-o", "Acquire::Retries=3", "-o", "DPkg::Lock::Timeout=120"]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for attempt in range(1, 4):
        result = subprocess.run(
            [*command, arguments[0], *(["--no-install-recommends"] if arguments[0] == "install" else []), *arguments[1:]],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode == 0:
            return
        time.sleep(2 * attempt)
    raise EngineProblem(f"apt-get {' '.join(arguments)} failed:\n{result.stderr.strip()}")


def _await_answer(root: Path, process: subprocess.Popen[bytes] | None) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if process is not None and process.poll() is not None:
            break
        if answers(root):
            return
        time.sleep(0.1)
    end = (root / "log").read_text(errors="replace").splitlines()[-15:]
    stop(root)
    raise EngineProblem("the engine did not start:\n" + "\n".join(end))


def _alive(root: Path) -> bool:
    return _process(root, "pid") is not None


def _process(root: Path, pid_file: str) -> int | None:
    """The process id in a pid file, if that process is really this engine's: ids are given out again after a crash."""
    with contextlib.suppress(OSError, ValueError):
        pid = int((root / pid_file).read_text())
        if str(root).encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
            return pid
    return None


def _end(pid: int) -> None:
    for number, seconds in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, 5.0)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            # A zombie (a child of a caller that does not wait) has no command line any more.
            if not _command_line(pid):
                return
            time.sleep(0.05)


def _end_containers(root: Path) -> None:
    """Containers outlive an engine that was killed: each hangs below a shim that was told this engine's address."""
    for entry in Path("/proc").glob("[0-9]*"):
        shim = int(entry.name)
        words = _command_line(shim).split(b"\0")
        if b"shim" in words[0] and str(root / "exec/containerd/containerd.sock").encode() in words:
            with contextlib.suppress(OSError):
                children = " ".join(path.read_text() for path in entry.glob("task/*/children")).split()
                for pid in [*map(int, children), shim]:
                    os.kill(pid, signal.SIGKILL)


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _mounts_below(root: Path) -> list[str]:
    places = (line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines())
    return [place for place in places if place.startswith(f"{root}/")]


if __name__ == "__main__":
    sys.exit(main())

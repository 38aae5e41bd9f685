"""Two Docker engines, each in a network namespace of its own, joined by a cable: two nodes on one machine.

    python3 -m scripts.docker_pair --root DIRECTORY

Prints one line of JSON once both engines answer: for each its ``host`` (``DOCKER_HOST``), its ``network`` (for
``nsenter --net=…``) and its ``address``, at which the other one reaches it. It stays until its standard input ends, so
that everything goes when the process that started it goes, however that happens: both engines with all that they run,
then whatever still runs in the two networks, then the directory.

Neither namespace can reach the machine or the world beyond it, and nothing of the machine's own network changes. The
engines are told apart by their directories; see ``docker_engine`` for what they share with others (nothing). Needs root.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

from scripts import docker_engine
from scripts.docker_engine import EngineProblem

# RFC 5737: addresses for documentation, which no real network has.
ADDRESSES = ("192.0.2.1", "192.0.2.2")
CABLE = "ovs0"


def main(arguments: list[str] | None = None) -> int:
    """Run until standard input ends; returns 0, or 1 after saying what is wrong."""
    parser = argparse.ArgumentParser(description="Two Docker engines in two networks, until standard input ends.")
    parser.add_argument("--root", type=Path, required=True, help="where everything lies; removed at the end")
    root: Path = parser.parse_args(arguments).root.resolve()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
    networks: list[int] = []
    try:
        if os.geteuid() != 0:
            raise EngineProblem("a Docker engine has to be started by root.")
        print(json.dumps(_start(root, networks)), flush=True)
        while sys.stdin.buffer.read(65536):
            pass
    except EngineProblem as problem:
        print(f"docker_pair: {problem}", file=sys.stderr)
        return 1
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)  # the end is not to be interrupted
        _end(root, networks)
    return 0


def _leave(_number: int, _frame: FrameType | None) -> None:
    sys.exit(0)


def _start(root: Path, networks: list[int]) -> list[dict[str, str]]:
    """Start and join both; ``networks`` gets a descriptor of each namespace, which keeps its number from being reused."""
    engines = []
    for number, address in enumerate(ADDRESSES, 1):
        place = root / str(number)
        host = docker_engine.start(place, own_network=True)
        network = docker_engine.network_of(place)
        networks.append(os.open(network, os.O_RDONLY | os.O_CLOEXEC))
        engines.append({"host": host, "network": str(network), "address": address})
    first, second = (engine["network"] for engine in engines)
    _in(first, "ip", "link", "add", CABLE, "type", "veth", "peer", "name", CABLE, "netns", second.split("/")[2])
    for engine in engines:
        _in(engine["network"], "ip", "address", "add", f"{engine['address']}/30", "dev", CABLE)
        _in(engine["network"], "ip", "link", "set", CABLE, "up")
    return engines


def _in(network: str, *command: str) -> None:
    # nsenter, not `ip netns exec`: that one would mount a /sys of its own, in which an engine finds no control groups.
    environment = {**os.environ, "PATH": docker_engine.SYSTEM_PATH}
    done = subprocess.run(
        ["nsenter", f"--net={network}", *command], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise EngineProblem(f"{' '.join(command)} failed: {done.stderr.strip()}")


def _end(root: Path, networks: list[int]) -> None:
    """Everything goes, also after a start that went half way."""
    for place in (root / "1", root / "2"):
        if place.exists():
            docker_engine.stop(place, remove=True)
    numbers = {os.fstat(descriptor).st_ino for descriptor in networks}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended by itself
            if (entry / "ns/net").stat().st_ino in numbers:
                os.kill(int(entry.name), signal.SIGKILL)
    for descriptor in networks:
        os.close(descriptor)
    shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())

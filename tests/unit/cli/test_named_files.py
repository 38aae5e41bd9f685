from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from overseer.cli.named_files import Include, named_files

FILE = b"""\
x-a: &a
  env_file: shared.env
include:
  - infra/compose.yaml
  - {path: [m/a.yaml, m/b.yaml], project_directory: m, env_file: [m/x.env, m/y.env]}
services:
  web:
    <<: *a
    extends: {file: base.yaml, service: old}
    label_file: labels
    volumes: [./data:/data, named:/x, /abs:/y, {type: bind, source: ./long, target: /l}, {type: volume, source: ./no, target: /n}]
  two:
    extends: web
    env_file: [two.env, {path: three.env, required: false}]
configs: {c: {file: ./c.conf}, d: {content: x}}
secrets: {s: {file: ./s.txt}, e: {external: true}}
"""


def test_everything_that_names_a_file() -> None:
    found = named_files(FILE)
    assert found.includes == [
        Include(("infra/compose.yaml",), "", ()),
        Include(("m/a.yaml", "m/b.yaml"), "m", ("m/x.env", "m/y.env")),
    ]
    assert found.extended == ["base.yaml"]
    assert sorted(found.texts) == ["labels", "shared.env", "three.env", "two.env"]
    assert sorted(found.contents) == ["./c.conf", "./data", "./long", "./s.txt"]


def test_of_a_broken_file_what_was_understood_counts() -> None:
    found = named_files(b"services:\n  web:\n    env_file: a.env\n    command: [x, ${SECRET:a}]\n    label_file: l\n  two: ]\n")
    assert found.texts == ["a.env", "l"]
    assert named_files(b"\xff").texts == []


def _merges(depth: int) -> str:
    levels = "".join(f"x-{n}: &m{n} {{<<: [{', '.join([f'*m{n - 1}'] * 9)}]}}\n" for n in range(1, depth))
    return f"x-0: &m0 {{env_file: a.env}}\n{levels}services: {{a: {{<<: *m{depth - 1}, image: x}}}}\n"


@pytest.mark.parametrize(
    "text",
    ["a: " + "[" * 100_000, "a: " + "[" * 20_000 + "]" * 20_000, _merges(40), "a: [" + "b," * 2_400_000 + "]"],
    ids=["endless flow", "deep flow", "merge bomb", "five megabytes"],
)
@pytest.mark.parametrize("command", ["lint", "render"])
def test_hostile_files_end_the_command_in_bounded_time_and_memory(tmp_path: Path, text: str, command: str) -> None:
    """In a process of its own with a limit on its memory: a parser that recurses would take the interpreter with it."""
    file, values = tmp_path / "compose.yaml", tmp_path / "values.json"
    file.write_text(text)
    values.write_text("{}")
    more = ["--values", str(values)] if command == "render" else []
    program = (
        "import resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))\n"
        "from overseer.cli.program import run\n"
        "sys.exit(run(sys.argv[1:]))\n"
    )
    began = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    done = subprocess.run(
        [sys.executable, "-c", program, "compose", command, str(file), *more], capture_output=True, check=False, timeout=300
    )
    assert done.returncode == (1 if command == "lint" else 0), done.stderr.decode()[-500:]
    if command == "render":  # without a reference it is Compose's business
        assert done.stdout == text.encode()
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - began < 60

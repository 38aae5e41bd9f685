"""Names and labels of a Swarm's secrets, and that values travel on standard input alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overseer.agent.engine import Engine
from overseer.agent.injection.docker_secrets import MAX_BYTES, SwarmSecret, create, prune
from overseer.compose.swarm import MAX_NAME
from overseer.core.errors import NodeProblem
from overseer.core.secret_value import SecretValue

CANARY = "CanaryOnStandardInput"
SECRET = SwarmSecret("shop", "shop", "prod", "db-password", 3, "0192-id")
NAMES = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", fullmatch=True)
# Writes down how it was called and what it read, and answers as its directory says.
DOCKER = """#!/bin/sh
here=${0%/*}
printf '%s\\n' "$*" >> "$here/calls"
case "$2" in
  create) cat > "$here/stdin"; env > "$here/environment"; exit 0;;
  inspect) [ -f "$here/labels" ] && cat "$here/labels" && exit 0; exit 1;;
  ls) cat "$here/listed";;
  rm) [ "$3" != used ];;
esac
"""


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    program = tmp_path / "docker"
    program.write_text(DOCKER)
    program.chmod(0o700)
    return Engine([str(program)], [], {"PATH": "/usr/bin:/bin"})


@given(NAMES, NAMES, st.integers(1, 2**31 - 1))
def test_a_name_fits_the_swarm_and_tells_secrets_apart(project: str, secret: str, version: int) -> None:
    one = SwarmSecret(project, "a", None, secret, version, "id-1")
    assert len(one.name) <= MAX_NAME
    assert one.name.isascii()
    assert all(letter.isalnum() or letter in "-_." for letter in one.name)
    assert f".v{version}." in one.name
    others = (replace(one, id="id-2"), replace(one, version=version + 1))
    assert len({one.name, *(other.name for other in others)}) == 3


def test_the_value_goes_to_standard_input_and_nowhere_else(engine: Engine, tmp_path: Path) -> None:
    create(engine, {SECRET: SecretValue(CANARY)})
    assert (tmp_path / "stdin").read_text() == CANARY
    calls = (tmp_path / "calls").read_text()
    assert CANARY not in calls + (tmp_path / "environment").read_text()
    made = calls.splitlines()[-1]
    assert made.endswith(f"{SECRET.name} -")
    for label in ("overseer.app=shop", "overseer.environment=prod", "overseer.secret=db-password", "overseer.version=3"):
        assert f"--label {label}" in made


def test_one_that_exists_is_used_only_if_it_is_ours(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "labels").write_text(json.dumps(SECRET.labels))
    create(engine, {SECRET: SecretValue(CANARY)})
    assert "create" not in (tmp_path / "calls").read_text()
    for labels in ("null", "{}", json.dumps(SECRET.labels | {"overseer.version": "4"})):
        (tmp_path / "labels").write_text(labels)
        with pytest.raises(NodeProblem, match="Overseer did not make"):
            create(engine, {SECRET: SecretValue(CANARY)})


@pytest.mark.parametrize("size", [0, MAX_BYTES + 1])
def test_a_value_that_the_swarm_would_not_take_is_told_before_anything_is_made(engine: Engine, tmp_path: Path, size: int) -> None:
    other = SwarmSecret("shop", "shop", None, "other", 1, "id")
    with pytest.raises(NodeProblem, match=f"1 to {MAX_BYTES} bytes"):
        create(engine, {other: SecretValue("fits"), SECRET: SecretValue(b"x" * size)})
    assert not (tmp_path / "calls").exists()


def test_pruning_keeps_what_is_wanted_and_tells_what_is_used(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "listed").write_text("kept\nused\nold\n")
    assert prune(engine, "shop", {"kept"}) == ["used"]
    calls = (tmp_path / "calls").read_text().splitlines()
    assert "label=overseer.project=shop" in calls[0]
    assert calls[1:] == ["secret rm used", "secret rm old"]

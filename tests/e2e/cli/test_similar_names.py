"""What was perhaps meant by a name that is not there: told out of what the caller may list, and nothing beyond it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.cli.conftest import Overseer

pytestmark = [pytest.mark.postgres]

APP = ("--app", "bakery")


@pytest.fixture(scope="module")
def bakery(overseer: Overseer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    for command in (("app", "bakery"), ("app", "brewery-hidden"), ("env", "bakery-prod"), ("node", "oven-one")):
        overseer(command[0], "create", command[1])
    overseer("secret", "set", "oven-password", *APP, "--stdin", stdin=b"cAnArY")
    overseer("secret", "set", "flour-key", "--app", "brewery-hidden", "--stdin", stdin=b"cAnArY")
    stack = tmp_path_factory.mktemp("bakery")
    (stack / "compose.yaml").write_text("services: {web: {image: x}}\n")
    return stack


@pytest.fixture(scope="module")
def baker(overseer: Overseer, bakery: Path) -> str:
    """The token of somebody who may see one of the apps."""
    overseer("service-account", "create", "baker")
    overseer("binding", "create", "baker", "viewer", *APP, "--env", "*", "--node", "*", "--name", "*")
    return overseer("token", "create", "baker").stdout.decode().strip()


def told(overseer: Overseer, *arguments: str, **variables: str) -> list[str]:
    done = overseer(*arguments, code=66, **variables)
    assert done.stdout == b""
    lines = done.stderr.decode().splitlines()
    [first] = [number for number, line in enumerate(lines) if line.startswith("overseer: error: ")]
    return lines[first + 1 :]


def test_a_mistyped_secret_is_told_from_the_scope_and_from_elsewhere(overseer: Overseer, bakery: Path) -> None:
    assert told(overseer, "secret", "get", "oven-pasword", *APP) == ['did you mean "oven-password"?']
    assert told(overseer, "secret", "get", "oven-password") == ["oven-password exists at app=bakery: name that scope exactly"]
    assert told(overseer, "secret", "info", "flour-kye", *APP) == ['did you mean "flour-key" at app=brewery-hidden?']
    assert told(overseer, "secret", "get", "nothing-like-it", *APP) == []
    # It is the version that is not there: the name is not at fault.
    assert told(overseer, "secret", "get", "oven-password", *APP, "--version", "9") == []


def test_nobody_is_told_of_what_they_may_not_list(overseer: Overseer, bakery: Path, baker: str) -> None:
    assert told(overseer, "secret", "info", "oven-pasword", *APP, OVERSEER_TOKEN=baker) == ['did you mean "oven-password"?']
    for name in ("flour-kye", "flour-key"):
        assert told(overseer, "secret", "info", name, *APP, OVERSEER_TOKEN=baker) == []
    hidden = told(overseer, "secret", "info", "flour-key", "--app", "brewery-hiden", OVERSEER_TOKEN=baker)
    assert hidden == ["there is no app brewery-hiden that you may see; make it: overseer app create brewery-hiden"]
    # What exists and is hidden is answered like what does not exist.
    real = told(overseer, "secret", "info", "flour-key", "--app", "brewery-hidden", OVERSEER_TOKEN=baker)
    assert [line.replace("brewery-hidden", "brewery-hiden") for line in real] == hidden


def test_a_mistyped_part_of_a_scope_is_told(overseer: Overseer, bakery: Path) -> None:
    deploy = ("deploy", str(bakery))
    node = ("--node", "oven-one")
    assert 'app bakry: did you mean "bakery"?' in told(overseer, *deploy, "--app", "bakry", *node)
    assert 'env bakery-prd: did you mean "bakery-prod"?' in told(overseer, *deploy, *APP, "--env", "bakery-prd", *node)
    assert 'node oven-on: did you mean "oven-one"?' in told(overseer, *deploy, *APP, "--node", "oven-on")
    assert not any("did you mean" in line for line in told(overseer, *deploy, *APP, "--node", "zzz"))
    assert told(overseer, "plan", str(bakery), "--app", "zzz", *node) == [
        "there is no app zzz that you may see; make it: overseer app create zzz"
    ]
    assert "overseer app create" in " ".join(told(overseer, *deploy, "--app", "zzz", *node))
    assert 'app bakry: did you mean "bakery"?' in told(overseer, "secret", "get", "oven-password", "--app", "bakry")


def test_what_a_command_is_about_is_told_like_an_option(overseer: Overseer, bakery: Path) -> None:
    assert told(overseer, "app", "show", "bakry") == ['app bakry: did you mean "bakery"?']
    assert told(overseer, "env", "delete", "bakery-prd", "--yes") == ['env bakery-prd: did you mean "bakery-prod"?']
    for command in (("drain",), ("delete", "--yes"), ("revoke", "--yes"), ("enrol-token",)):
        assert told(overseer, "node", command[0], "oven-on", *command[1:]) == ['node oven-on: did you mean "oven-one"?']


LISTS = (("secret", "list"), ("drift",), ("deployment", "list"), ("access", "review"), ("secret", "explain", "oven-password"))


@pytest.mark.parametrize("command", LISTS, ids=" ".join)
def test_an_empty_list_says_that_it_was_asked_of_an_app_that_is_not_there(
    command: tuple[str, ...], overseer: Overseer, bakery: Path
) -> None:
    if command[1:2] != ("explain",):  # which is refused
        said = overseer(*command, "--app", "bakry").stderr.decode().splitlines()
        assert said[1:] == ['app bakry: did you mean "bakery"?']
    there = overseer(*command, "--app", "bakery").stderr.decode()
    assert "did you mean" not in there
    assert "there is no app" not in there


def test_programs_get_the_answer_they_got(overseer: Overseer, bakery: Path) -> None:
    found = json.loads(overseer("secret", "info", "oven-password", *APP, "--json").stdout)
    assert found["name"] == "oven-password"
    assert overseer("secret", "info", "oven-pasword", *APP, "--json", code=66).stdout == b""

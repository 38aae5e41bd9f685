from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from overseer.cli.commands.run import target_names, variable_name
from overseer.core.errors import InvalidInput
from overseer.core.secret_value import SecretValue
from tests.unit.cli.conftest import Overseer
from tests.unit.client.scripted_server import Reply, problem, scripted_server

VALUE = SecretValue("v")


@pytest.mark.parametrize(
    ("name", "variable"),
    [("db-password", "DB_PASSWORD"), ("a.b-c_d", "A_B_C_D"), ("API_KEY", "API_KEY"), ("git-token", "GIT_TOKEN")],
)
def test_variables_come_from_names(name: str, variable: str) -> None:
    assert variable_name(name) == variable
    assert target_names({name: VALUE}, {}, files=False) == {variable: VALUE}


def test_every_clash_is_told_at_once_and_mapping_ends_it() -> None:
    values = {"a-b": SecretValue("1"), "a.b": SecretValue("2"), "a_b": SecretValue("3")}
    with pytest.raises(InvalidInput) as caught:
        target_names(values, {}, files=False)
    assert [problem.place for problem in caught.value.problems] == ["a.b", "a_b"]
    assert target_names(values, {"X": "a.b", "Y": "a_b"}, files=False) == {
        "A_B": values["a-b"],
        "X": values["a.b"],
        "Y": values["a_b"],
    }
    assert target_names(values, {}, files=True) == values
    with pytest.raises(InvalidInput):
        target_names(values, {"A_B": "a.b", "Y": "a_b"}, files=False)


@pytest.mark.parametrize(
    "name", ["path", "ld-preload", "LD_LIBRARY_PATH", "bash.env", "pythonpath", "node-options", "git-ssh-command", "overseer-url"]
)
def test_a_name_alone_does_not_steer_programs(name: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        target_names({name: VALUE}, {}, files=False)
    assert caught.value.problems[0].code == "steering_variable"
    target = variable_name(name)
    assert target_names({name: VALUE}, {target: name}, files=False) == {target: VALUE}
    assert target_names({name: VALUE}, {}, files=True) == {name: VALUE}


def _resolved(**values: str) -> Reply:
    items = [{"id": name, "name": name.replace("_", "-"), "version": 1, "value": value} for name, value in values.items()]
    return Reply(body={"values": items})


def _overseer(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A process of its own: the command takes over signals."""
    environment = {**os.environ, "OVERSEER_TOKEN": "ovs_test", "OVERSEER_URL": url}
    return subprocess.run(
        [sys.executable, "-m", "overseer.cli.main", "run", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        timeout=120,
    )


def test_the_command_gets_its_secrets_and_its_exit_code_is_ours() -> None:
    script = 'printf "%s|%s|%s" "$DB_PASSWORD" "$KEY" "${OVERSEER_TOKEN-unset}"; exit 41'
    with scripted_server(_resolved(db_password="pa$word", api_key="k")) as server:
        ended = _overseer(server.url, "--app", "shop", "--env", "demo", "--map", "KEY=api-key", "--", "sh", "-c", script)
    assert (ended.stdout, ended.stderr, ended.returncode) == ("pa$word|k|unset", "", 41)
    assert server.asked[0].json == {"names": None, "app": "shop", "environment": "demo", "node": None, "reason": ""}


def test_options_after_the_command_are_the_commands() -> None:
    with scripted_server(_resolved(a="1")) as server:
        ended = _overseer(server.url, "--only", "a", "echo", "--only", "-h")
    assert (ended.stdout, ended.returncode) == ("--only -h\n", 0)
    assert server.asked[0].json["names"] == ["a"]


def test_files_lie_in_a_private_directory_that_is_gone_afterwards() -> None:
    script = 'cat "$OVERSEER_SECRETS_DIR/db-password"; printf "|%s|%s" "${DB_PASSWORD-unset}" "$OVERSEER_SECRETS_DIR"'
    with scripted_server(_resolved(db_password="v\n")) as server:
        ended = _overseer(server.url, "--files", "--", "sh", "-c", script)
    if "OVERSEER_TMPFS_ALLOW" in ended.stderr:
        pytest.skip("memory may be swapped out here")
    value, variable, directory = ended.stdout.split("|")
    assert (value, variable) == ("v\n", "unset")
    assert directory
    assert not Path(directory).exists()


def test_a_command_that_is_not_there_ends_with_127() -> None:
    with scripted_server(_resolved()) as server:
        ended = _overseer(server.url, "--", "no-such-program-4711")
    assert ended.returncode == 127
    assert "no-such-program-4711: not found" in ended.stderr


def test_nothing_runs_when_a_secret_is_missing(overseer: Overseer, tmp_path: Path) -> None:
    with scripted_server(
        problem("unavailable", 404, "not available: db", problems=[{"place": "db", "rule": "nowhere", "code": "x"}])
    ) as server:
        ended = overseer("run", "--only", "db", "--", "touch", str(tmp_path / "ran"), url=server.url)
    assert ended.code == 66
    assert "db: nowhere" in ended.err
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("arguments", [(), ("--map", "A", "x"), ("--map", "=a", "x"), ("--map", "A=a", "--map", "A=b", "x")])
def test_usage_is_checked_before_anything_is_asked(overseer: Overseer, arguments: tuple[str, ...]) -> None:
    with scripted_server(_resolved()) as server:
        assert overseer("run", *arguments, url=server.url).code == 2
    assert server.asked == []

"""The hooks and the CI examples do what they say: their own commands are run, in a project, with the installed command."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.contract.test_documentation import problem_of
from tests.e2e.cli.conftest import Overseer

pytestmark = [pytest.mark.postgres]
ROOT = Path(__file__).resolve().parents[3]
GOOD = "services:\n  web:\n    image: x\n    environment:\n      - A=${SECRET:ci-secret}\n"
BAD = GOOD + "      - B_PASSWORD=hunter2hunter2\n"


def _load(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text("utf-8"))


def _github(job: str, step: str) -> str:
    steps = _load("examples/ci/github.yml")["jobs"][job]["steps"]
    return str(next(one["run"] for one in steps if one.get("name") == step))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "compose.yaml").write_text(GOOD)
    return tmp_path


@pytest.fixture(scope="session")
def ci_place(overseer: Overseer) -> dict[str, str]:
    """The app of the examples; variables as a pipeline has them, with the token of a viewer."""
    overseer("app", "create", "ci-shop")
    overseer("env", "create", "ci-prod")
    overseer("secret", "set", "ci-secret", "--app", "ci-shop", "--stdin", stdin=b"canary")
    overseer("service-account", "create", "ci-viewer")
    overseer("binding", "create", "ci-viewer", "viewer", "--app", "ci-shop", "--env", "*", "--node", "*", "--name", "*")
    token = overseer("token", "create", "ci-viewer").stdout.decode().strip()
    overseer("node", "create", "ci-node")
    return {"APP": "ci-shop", "ENVIRONMENT": "ci-prod", "NODE": "ci-node", "OVERSEER_TOKEN": token, "OVERSEER_TOKEN_PLAN": token}


def _shell(
    overseer: Overseer, script: str, directory: Path, variables: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """As a runner would: ``sh -e``, with the installed command on the path."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**overseer.environment, "PATH": path, "XDG_CONFIG_HOME": str(directory / "no-login"), **(variables or {})}
    return subprocess.run(
        ["sh", "-e", "-c", script], cwd=directory, env=environment, capture_output=True, text=True, check=False, timeout=120
    )


# -- pre-commit ---------------------------------------------------------------------------------------------------------------


def test_the_manifest_has_what_pre_commit_asks_for() -> None:
    hooks = _load(".pre-commit-hooks.yaml")
    assert [hook["id"] for hook in hooks] == ["overseer-compose-lint", "overseer-compose-fix"]
    for hook in hooks:
        assert {"id", "name", "entry", "language", "files"} <= set(hook)
        assert (hook["language"], hook["require_serial"], hook["types"]) == ("python", True, ["file"])
        words = shlex.split(hook["entry"])
        assert (words[0], problem_of([*words[1:], "compose.yaml", "shop/.env"])) == ("overseer", "")
    used = _load("examples/ci/pre-commit-config.yaml")["repos"][0]["hooks"]
    assert {hook["id"] for hook in used} == {hook["id"] for hook in hooks}


@pytest.mark.parametrize(
    ("path", "matches"),
    [
        ("compose.yaml", True), ("a/b/docker-compose.yml", True), ("compose.override.yml", True), ("x/compose-prod.yaml", True),
        ("docker-compose.prod.v2.yml", True), (".env", True), ("a/.env.local", True), ("config/app.env", True),
        ("mycompose.yaml", False), ("compose.yaml.bak", False), ("environment.py", False), ("a.yaml", False),
        ("decompose.yml", False),
    ],
)  # fmt: skip
def test_which_files_the_hooks_look_at(path: str, matches: bool) -> None:
    for hook in _load(".pre-commit-hooks.yaml"):
        assert (re.search(hook["files"], path) is not None) is matches


def test_the_hooks_run(overseer: Overseer, project: Path) -> None:
    lint, fix = (hook["entry"] for hook in _load(".pre-commit-hooks.yaml"))
    (project / "app.env").write_text("A=1\n")
    assert _shell(overseer, f"{lint} compose.yaml app.env", project).returncode == 0
    (project / "compose.yaml").write_text(BAD.replace("${SECRET:", "${secret: "))
    ended = _shell(overseer, f"{lint} compose.yaml app.env", project)
    assert (ended.returncode, "compose.yaml:6:9: error OVS001" in ended.stdout) == (1, True)
    assert _shell(overseer, f"{fix} compose.yaml app.env", project).returncode == 0
    assert (project / "compose.yaml").read_text() == BAD


# -- pipelines ----------------------------------------------------------------------------------------------------------------


def _scripts() -> list[tuple[str, str]]:
    github = _load("examples/ci/github.yml")["jobs"]
    found = [(f"github {name}", step["run"]) for name, job in github.items() for step in job["steps"] if "run" in step]
    gitlab = _load("examples/ci/gitlab.yml")
    return found + [(f"gitlab {name}", line) for name, job in gitlab.items() if "script" in job for line in job["script"]]


@pytest.mark.parametrize(("name", "script"), _scripts(), ids=[name for name, _ in _scripts()])
def test_every_command_of_the_examples_is_a_real_one(name: str, script: str) -> None:
    for line in script.splitlines():
        found = re.search(r"(?:^|\s)overseer (?P<words>[^>|]*)", line)
        if found is not None:
            assert problem_of(shlex.split(found["words"])) == "", name


@pytest.mark.parametrize(("text", "code"), [(GOOD, 0), (BAD, 1)])
def test_github_lints_and_always_has_its_report(overseer: Overseer, project: Path, text: str, code: int) -> None:
    (project / "compose.yaml").write_text(text)
    assert _shell(overseer, _github("lint", "Report for code scanning"), project).returncode == 0
    (run,) = json.loads((project / "overseer.sarif").read_text())["runs"]
    assert [one["level"] for one in run["results"]].count("error") == code
    assert _shell(overseer, _github("lint", "Fail where a finding is an error"), project).returncode == code


def test_github_diff_is_a_summary_and_fails_only_where_a_deployment_would(
    overseer: Overseer, project: Path, ci_place: dict[str, str]
) -> None:
    script = _github("diff", "Versions that would change")
    ended = _shell(overseer, script, project, {**ci_place, "GITHUB_STEP_SUMMARY": str(project / "summary")})
    assert ended.returncode == 0, ended.stderr
    assert "+ ci-secret -> 1 (web)" in (project / "summary").read_text()
    assert _shell(overseer, script, project, {**ci_place, "APP": ""}).returncode != 0
    assert _shell(overseer, script.replace("--node", "--nodes"), project, ci_place).returncode != 0
    (project / "compose.yaml").write_text(GOOD.replace("ci-secret", "ci_secret"))
    assert _shell(overseer, script, project, ci_place).returncode != 0


@pytest.mark.parametrize(("text", "code"), [(GOOD, 0), (BAD, 1)])
def test_gitlab_lints_and_always_has_its_report(overseer: Overseer, project: Path, text: str, code: int) -> None:
    (project / "compose.yaml").write_text(text)
    job = _load("examples/ci/gitlab.yml")["compose-lint"]
    ended = _shell(overseer, "\n".join(job["script"]), project)
    assert ended.returncode == code
    report = json.loads((project / job["artifacts"]["reports"]["codequality"]).read_text())
    assert [one["severity"] for one in report].count("critical") == code


def test_gitlab_diff_ends_with_the_code_that_is_allowed_to_fail(
    overseer: Overseer, project: Path, ci_place: dict[str, str]
) -> None:
    job = _load("examples/ci/gitlab.yml")["compose-diff"]
    assert job["allow_failure"]["exit_codes"] == [2]
    ended = _shell(overseer, "\n".join(job["script"]), project, ci_place)
    assert (ended.returncode, "+ ci-secret -> 1 (web)" in ended.stdout) == (2, True)

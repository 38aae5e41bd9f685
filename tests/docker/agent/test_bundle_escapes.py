"""A bundle that would make the agent's Compose read files of the node, and mounts that would reach another application."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from overseer.agent import preparation
from overseer.compose.placeholders import from_scan
from overseer.compose.references import find_references
from overseer.wire.agent import DeploymentReport
from tests.docker.agent.node import Node

pytestmark = pytest.mark.docker

SLEEP = "command: [sleep, '600']\n    stop_grace_period: 1s\n    init: true"
IMAGE = "overseer-example/shop:1"
ONE = f"services:\n  a:\n    image: {IMAGE}\n    {SLEEP}\n"
CONTENT = "victim-Secret!Value#42"


def deploy(node: Node, files: Mapping[str, str], compose_files: list[str]) -> DeploymentReport:
    work = node.prepare(files)
    payloads = node.server.payloads
    payloads[work.deployment_id] = msgspec.structs.replace(payloads[work.deployment_id], compose_files=compose_files)
    report = node.deployer.execute(work, node.server)
    assert report is not None
    return report


ESCAPES = {
    "absolute by a variable": ({"compose.yaml": ONE + "    env_file: ['${P}']\n", ".env": "P=@\n"}, "without variables"),
    "label_file by a variable": ({"compose.yaml": ONE + "    label_file: ['${P}']\n", ".env": "P=@\n"}, "without variables"),
    "remote by a variable": (
        {"compose.yaml": "include: ['${P}z.yaml']\n" + ONE, "z.yaml": "services: {}\n", ".env": "P=oci://127.0.0.1:9/\n"},
        "without variables",
    ),
    "above a directory": (
        {"a/b/c/compose.yaml": ONE + "    env_file: '../../../../other'\n", "other": "A=1\n"}, "leaves the project directory"
    ),
    "home below a directory": ({"a/compose.yaml": ONE + "    env_file: '~/other'\n", "a/~/other": "A=1\n"}, "leaves the project directory"),
    "by an alias": ({"compose.yaml": "x-p: &p @\n" + ONE + "    env_file: *p\n"}, "leaves the project directory"),
    "by base64": ({"compose.yaml": ONE + "    env_file: !!binary L2V0Yy9wYXNzd2Q=\n", "L2V0Yy9wYXNzd2Q=": ""}, "!!binary is refused"),
}  # fmt: skip


@pytest.mark.parametrize(("files", "rule"), ESCAPES.values(), ids=ESCAPES.keys())
def test_compose_is_led_to_no_file_of_the_node(node: Node, tmp_path: Path, files: dict[str, str], rule: str) -> None:
    other = tmp_path / "other"
    other.write_text(CONTENT + "\n")
    compose = next(path for path in files if path.endswith("compose.yaml"))
    report = deploy(node, {path: text.replace("@", str(other)) for path, text in files.items()}, [compose])
    assert report.state == "failed"
    assert rule in report.error
    assert CONTENT not in report.error + report.output


def test_relative_paths_begin_in_one_place_for_the_scan_and_for_compose(node: Node) -> None:
    files = {
        "deploy/compose.yaml": ONE + "    env_file: [app.env, ../shared.env]\n    environment: {C: '${C}'}\n",
        "deploy/app.env": "A=near\n",
        "shared.env": "B=above\n",
        "deploy/.env": "C=own\n",
        "app.env": "A=wrong\n",
        ".env": "C=wrong\n",
    }
    report = deploy(node, files, ["deploy/compose.yaml"])
    assert report.state == "succeeded", report.error + report.output
    found = node.environment("a")
    assert (found["A"], found["B"], found["C"]) == ("near", "above", "own")


def test_what_compose_says_of_a_file_is_not_reported(node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the scan had a hole: Compose does read the file and quotes it."""
    blind = lambda bundle, **_: from_scan(replace(find_references(bundle), problems=()))  # noqa: E731
    monkeypatch.setattr(preparation, "to_placeholders", blind)
    other = tmp_path / "other"
    other.write_text(CONTENT + "\n")
    report = deploy(node, {"compose.yaml": ONE + f"    env_file: {other}\n"}, [])
    assert report.state == "failed"
    assert "docker compose config refused the project (exit code" in report.error
    assert "Secret" not in report.error + report.output

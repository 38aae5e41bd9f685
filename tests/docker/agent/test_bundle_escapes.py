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
LEAVES = "leaves the project directory"
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
        {"a/b/c/compose.yaml": ONE + "    env_file: '../../../../other'\n", "other": "A=1\n"}, LEAVES
    ),
    "home below a directory": ({"a/compose.yaml": ONE + "    env_file: '~/other'\n", "a/~/other": "A=1\n"}, LEAVES),
    "by an alias": ({"compose.yaml": "x-p: &p @\n" + ONE + "    env_file: *p\n"}, LEAVES),
    "by base64": ({"compose.yaml": ONE + "    env_file: !!binary L2V0Yy94\n", "L2V0Yy94": ""}, "!!binary is refused"),
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


def _volume(kind: str, options: str, device: str) -> str:
    driver = f"{{type: {kind}, o: '{options}', device: '{device}'}}"
    return ONE + f"    volumes: ['vol:/x']\nvolumes:\n  vol: {{driver_opts: {driver}}}\n"


def _build(build: str) -> str:
    return f"services:\n  a:\n    {SLEEP}\n    build: {build}\n"


#: @ is where the other application's files are, without the first slash.
REACHES = {
    "a bind": (ONE + "    volumes: ['/@:/x:ro']\n", "reaches"),
    "a file of a secret": (ONE + "    secrets: [s]\nsecrets: {s: {file: '/@/pw'}}\n", "reaches"),
    "a file of a config": (ONE + "    configs: [s]\nconfigs: {s: {file: '/@/pw'}}\n", "reaches"),
    "mounts of a container": (ONE + "    volumes_from: ['container:victim-db-1:ro']\n", "outside of the project"),
    "processes of a container": (ONE + "    pid: 'container:victim-db-1'\n", "outside of the project"),
    "memory of a container": (ONE + "    ipc: 'container:victim-db-1'\n", "outside of the project"),
    "network of a container": (ONE + "    network_mode: 'container:victim-db-1'\n", "outside of the project"),
    "a volume": (_volume("none", "bind", "/@"), "reaches"),
    "a volume, relative": (_volume("none", "rbind", "@"), "options of a local volume"),
    "a volume, relative, read-only": (_volume("none", "bind,ro", "@"), "options of a local volume"),
    "a volume, tmpfs by name": (_volume("tmpfs", "bind", "/@"), "options of a local volume"),
    "a volume, nfs by name": (_volume("nfs", "addr=127.0.0.1,rbind", "/@"), "options of a local volume"),
    "a volume, overlay": (_volume("overlay", "lowerdir=/@:/usr/share", "overlay"), "options of a local volume"),
    "a build, absolute": (_build("{context: '/@', dockerfile_inline: FROM scratch}"), "a build reads"),
    "a build, relative": (_build("{context: '../../../@', dockerfile_inline: FROM scratch}"), "a build reads"),
    "a build's other context": (_build("{context: ctx, additional_contexts: {o: '/@'}}"), "a build reads"),
    "a build's layout": (_build("{context: ctx, additional_contexts: {o: 'oci-layout:///@'}}"), "a build reads"),
    "a build's cache": (_build("{context: ctx, cache_from: ['type=local,src=/@']}"), "a build reads"),
    "a build's Dockerfile": (_build("{context: ctx, dockerfile: '../../../@/pw'}"), "a build reads"),
    "a program of the node": (ONE + "  p:\n    provider: {type: '/bin/true'}\n", "a provider"),
}


@pytest.mark.parametrize(("compose", "rule"), REACHES.values(), ids=REACHES.keys())
def test_no_place_of_the_model_reaches_another_application(node: Node, compose: str, rule: str) -> None:
    victim = node.root / "apps" / "victim" / "services" / "db" / "run%2Fsecrets"
    victim.mkdir(parents=True)
    (victim / "pw").write_text(CONTENT)
    report = node.deploy({"compose.yaml": compose.replace("@", str(victim)[1:]), "ctx/Dockerfile": "FROM scratch\n"}, wait=10)
    assert report.state == "failed"
    assert rule in report.error
    assert not node.run("ps", "--all", "--quiet", "--filter", f"label=com.docker.compose.project={node.project}")


def test_the_projects_own_files_are_not_mounted_by_their_path(node: Node) -> None:
    """A container that could write among them would choose where the next deployment writes."""
    for name in ("services", "bundle", "held"):
        bind = f"{node.root}/apps/{node.project}/{name}"
        report = node.deploy({"compose.yaml": ONE + f"    volumes: ['{bind}:/s']\n"}, wait=10)
        assert "reaches the agent's" in report.error, name


def test_what_the_bundle_ships_is_mounted_read_only(node: Node) -> None:
    files = {
        "compose.yaml": ONE + "    volumes: ['./conf:/conf', 'plain:/p', 'scratch:/t']\n"
        "volumes:\n  plain: {}\n  scratch: {driver_opts: {type: tmpfs, device: tmpfs, o: 'size=1m,uid=1000'}}\n",
        "conf/a.conf": "shipped\n",
    }
    report = node.deploy(files)
    assert report.state == "succeeded", report.error + report.output
    assert node.inside("a", "cat", "/conf/a.conf") == b"shipped\n"
    node.inside("a", "sh", "-c", "echo x > /p/x && echo x > /t/x")
    assert node.inside("a", "sh", "-c", "(echo x > /conf/a.conf) 2>/dev/null || echo refused") == b"refused\n"

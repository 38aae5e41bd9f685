"""What the agent reads from inside containers, from hostile ones too, and what it believes from the server."""

from __future__ import annotations

import os
from datetime import timedelta

import pytest

from overseer.agent import container_contents
from overseer.agent.containers import containers_of
from overseer.core.secret_value import SecretValue
from overseer.crypto.signatures import SigningKey
from tests.docker.agent.node import Node

pytestmark = pytest.mark.docker

IMAGE = "overseer-example/shop:1"
FAST = "stop_grace_period: 1s\n    init: true"
SIMPLE = (
    f"services:\n  a:\n    image: {IMAGE}\n    command: [sleep, '600']\n    {FAST}\n"
    "    environment: {V: '${SECRET:v}'}\n"
)


def test_a_container_that_holds_something_else_is_told_apart(node: Node) -> None:
    compose = f"""
services:
  right:
    image: {IMAGE}
    command: [sleep, "600"]
    {FAST}
    environment: {{V: "${{SECRET:v}}"}}
  wrong:
    image: {IMAGE}
    command: [sh, -c, "export V=another; exec sleep 600"]
    stop_grace_period: 1s
    environment: {{V: "${{SECRET:v}}"}}
  hides:
    image: {IMAGE}
    command: [env, "-u", "V", "sleep", "600"]
    stop_grace_period: 1s
    environment: {{V: "${{SECRET:v}}"}}
"""
    report = node.deploy({"compose.yaml": compose}, {"v": "value"})
    assert report.state == "succeeded", report.error + report.output
    by_service = {one.service: one.fingerprint for one in report.fingerprints}
    assert node.matches(report, {"v": "value"}) == {"v": {True, False}}
    assert by_service["right"] == by_service["hides"]  # an entrypoint may drop it: what it was started with counts
    assert by_service["right"] != by_service["wrong"]
    assert "value" not in repr(report)


def test_files_are_read_in_the_containers_own_root(node: Node) -> None:
    compose = f"""
services:
  hostile:
    image: {IMAGE}
    command: [sh, -c, "echo inside > /etc/overseer-probe; ln -s ../../../../../../etc/overseer-probe /up; \
ln -s /proc/self/environ /magic; mkfifo /fifo; echo ready > /ready; exec sleep 600"]
    {FAST}
    healthcheck: {{test: [CMD, test, -f, /ready], interval: 1s, retries: 20}}
"""
    assert node.deploy({"compose.yaml": compose}).state == "succeeded"
    container = containers_of(node.deployer.engine, node.project)[0]
    engine = node.deployer.engine
    assert container_contents.file(engine, container, "/up") == SecretValue(b"inside\n")
    assert container_contents.file(engine, container, "/../../etc/overseer-probe") == SecretValue(b"inside\n")
    for path in ("/fifo", "/etc", "/nowhere"):
        assert container_contents.file(engine, container, path) is None, path
    # /proc inside is the container's own proc: a link to it names the reader, and is not followed into it.
    found = container_contents.file(engine, container, "/magic")
    assert found is None or os.environ.get("HOME", "/root").encode() not in found.reveal()


def test_without_process_numbers_docker_itself_is_asked(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container_contents, "_is_ours_to_read", lambda container: False)
    compose = SIMPLE + "    secrets: [v]\nsecrets: {v: {external: true}}\n"
    report = node.deploy({"compose.yaml": compose}, {"v": "value"})
    assert report.state == "succeeded", report.error + report.output
    assert node.matches(report, {"v": "value"}) == {"v": {True}}
    container = containers_of(node.deployer.engine, node.project)[0]
    assert container_contents.file(node.deployer.engine, container, "/run/secrets/v") == SecretValue("value")
    assert container_contents.file(node.deployer.engine, container, "/run") is None


def test_the_process_way_needs_no_docker_command(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root reads another user's processes")
    monkeypatch.setattr(container_contents, "_file_by_copy", lambda *_: None)
    compose = SIMPLE + "    secrets: [v]\nsecrets: {v: {external: true}}\n"
    assert node.deploy({"compose.yaml": compose}, {"v": "value"}).state == "succeeded"
    container = containers_of(node.deployer.engine, node.project)[0]
    assert container_contents.file(node.deployer.engine, container, "/run/secrets/v") == SecretValue("value")


@pytest.mark.parametrize("fault", ["other signer", "expired"])
def test_a_bundle_that_is_not_believed_changes_nothing(node: Node, fault: str) -> None:
    if fault == "other signer":
        node.server.signing = SigningKey.generate()
    else:
        node.server.lifetime = timedelta(seconds=-5)
    report = node.deploy({"compose.yaml": SIMPLE}, {"v": "value"})
    assert report.state == "failed"
    assert ("not signed" in report.error) if fault == "other signer" else ("clock" in report.error)
    assert node.files_left() == []
    assert containers_of(node.deployer.engine, node.project) == []


def test_the_nodes_own_list_of_apps(node: Node) -> None:
    node.deployer.apps = frozenset({"blog"})
    report = node.deploy({"compose.yaml": SIMPLE}, {"v": "value"})
    assert report.state == "failed"
    assert "OVERSEER_AGENT_APPS" in report.error
    assert containers_of(node.deployer.engine, node.project) == []


@pytest.mark.parametrize("name", ["DOCKER_HOST", "LD_PRELOAD", "COMPOSE_FILE", "PATH", "https_proxy"])
def test_variables_that_would_steer_compose_are_refused(node: Node, name: str) -> None:
    report = node.deploy({"compose.yaml": SIMPLE}, {"v": "value"}, variables={name: "x"})
    assert report.state == "failed"
    assert f"variables.{name}" in report.error


def test_compose_does_not_see_the_agents_environment(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OVERSEER_PROBE", "the agent's own")
    compose = SIMPLE.replace("'${SECRET:v}'", "'${SECRET:v}', P: '${OVERSEER_PROBE:-unset}'")
    assert node.deploy({"compose.yaml": compose}, {"v": "value"}).state == "succeeded"
    assert node.environment("a")["P"] == "unset"


def test_profiles_and_a_stray_compose_file_beside(node: Node) -> None:
    """What is deployed is the bundle: a compose file that lies where the agent works is not read."""
    (node.root / "compose.yaml").write_text("services: {evil: {image: nothing}}")
    compose = SIMPLE + f"  extra:\n    image: {IMAGE}\n    command: [sleep, '600']\n    {FAST}\n    profiles: [more]\n"
    assert node.deploy({"compose.yaml": compose}, {"v": "1"}, profiles=["more"]).state == "succeeded"
    assert {one.service for one in containers_of(node.deployer.engine, node.project)} == {"a", "extra"}
    assert node.deploy({"compose.yaml": compose}, {"v": "1"}).state == "succeeded"
    assert {one.service for one in containers_of(node.deployer.engine, node.project)} == {"a"}
    assert node.undeploy().state == "succeeded"
    assert containers_of(node.deployer.engine, node.project) == []

"""What happens to running containers and their files: change, failure, restart, the end."""

from __future__ import annotations

import base64
import shutil
import subprocess
import threading
import time
from pathlib import Path

import pytest

from overseer.agent import project_update
from overseer.agent.injection import files as injected_files
from overseer.agent.injection.files import SecretFile, publish
from overseer.agent.journal import Phase
from overseer.core.secret_value import SecretValue
from tests.docker.agent.node import Node

pytestmark = pytest.mark.docker

IMAGE = "overseer-example/shop:1"
SLEEP = "command: [sleep, '600']\n    stop_grace_period: 1s\n    init: true"


def consumers(extra: str = "") -> dict[str, str | bytes]:
    """One service for each way a change reaches a container."""
    return {
        "compose.yaml": f"""
services:
  directory:
    image: {IMAGE}
    {SLEEP}
    secrets: [pw]
  single:
    image: {IMAGE}
    {SLEEP}
    volumes: ["/etc/secrets/pw:/etc/app/pw:ro"]
  variable:
    image: {IMAGE}
    {SLEEP}
    environment: {{PW: "${{SECRET:pw}}"}}
  other:
    image: {IMAGE}
    {SLEEP}
{extra}
volumes: {{kept: {{}}}}
secrets: {{pw: {{external: true}}}}
"""
    }


def identity(node: Node, service: str) -> tuple[str, str]:
    described = node.inspect(service)
    return described["Id"], described["State"]["StartedAt"]


def test_a_new_value_reaches_every_kind_of_consumer(node: Node) -> None:
    assert node.deploy(consumers(), {"pw": "old"}).state == "succeeded"
    before = {service: identity(node, service) for service in ("directory", "single", "variable", "other")}
    report = node.deploy(consumers(), {"pw": "new"})
    assert report.state == "succeeded", report.error + report.output
    after = {service: identity(node, service) for service in before}
    assert node.inside("directory", "cat", "/run/secrets/pw") == b"new"
    assert node.inside("single", "cat", "/etc/app/pw") == b"new"
    assert node.environment("variable")["PW"] == "new"
    assert after["directory"] == before["directory"]
    assert after["other"] == before["other"]
    assert after["single"][0] == before["single"][0]
    assert after["single"][1] != before["single"][1]
    assert after["variable"][0] != before["variable"][0]
    assert node.matches(report, {"pw": "new"}) == {"pw": {True}}
    # Only one set of files is left, and the same deployment again changes nothing.
    assert len([path for path in node.files_left() if not Path(node.root / path).is_symlink()]) == 3  # and what is held
    assert node.deploy(consumers(), {"pw": "new"}).state == "succeeded"
    assert {service: identity(node, service) for service in after} == after


def test_no_read_is_torn_and_no_set_is_mixed(node: Node) -> None:
    assert node.deploy(consumers(), {"pw": "0"}).state == "succeeded"
    directory = next((node.root / "apps" / node.project / "services" / "directory").iterdir())
    publish(directory, {name: SecretFile(SecretValue("0" * 65536)) for name in ("pw", "user")})
    # Each round prints the different characters of one read, and those of two files read through one set.
    read = "cat /run/secrets/pw | tr -s 0-9; echo; (cd /run/secrets/..data && cat pw user | tr -s 0-9); echo"
    script = f"i=0; while [ $i -lt 300 ]; do {read}; i=$((i+1)); done"
    command = [*node.docker, "exec", node.container("directory"), "sh", "-c", script]
    number, changes = 0, []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as reader:
        assert reader.stdout is not None
        while reader.poll() is None:
            number += 1
            content = SecretValue(str(number % 10) * 65536)
            changes.append(publish(directory, {name: SecretFile(content) for name in ("pw", "user")}))
            time.sleep(0.002)
        lines = reader.stdout.read().decode().split("\n")[:-1]
    changes[-1].commit()
    assert number > 50
    assert len(lines) == 600
    assert {len(line) for line in lines} == {1}, set(lines)
    assert len(set(lines)) > 5
    assert len([path for path in directory.iterdir() if path.name.startswith("..set-")]) == 1


def test_without_its_files_a_container_does_not_start(node: Node) -> None:
    assert node.deploy(consumers(), {"pw": "v"}).state == "succeeded"
    application = node.root / "apps" / node.project
    shutil.rmtree(application)  # what a restart of the machine does to memory
    ids = [node.container(service) for service in ("directory", "single")]
    node.run("stop", "--time", "1", *ids)
    for one in ids:
        started = subprocess.run([*node.docker, "start", one], capture_output=True, check=False)
        assert started.returncode != 0
        assert b"bind source path does not exist" in started.stderr
    assert not application.exists()
    assert node.heal() == []
    report = node.deploy(consumers(), {"pw": "v"})
    assert report.state == "succeeded", report.error + report.output
    assert [node.container(service) for service in ("directory", "single")] == ids
    assert node.inside("single", "cat", "/etc/app/pw") == b"v"


def test_undeploy_wipes_and_keeps_volumes(node: Node) -> None:
    extra = f"  keeper:\n    image: {IMAGE}\n    {SLEEP}\n    volumes: [kept:/data]\n"
    assert node.deploy(consumers(extra), {"pw": "v"}).state == "succeeded"
    assert node.files_left()
    assert node.undeploy().state == "succeeded"
    assert node.files_left() == []
    assert not (node.root / "apps" / node.project).exists()
    chosen = f"label=com.docker.compose.project={node.project}"
    assert node.run("ps", "--all", "--quiet", "--filter", chosen) == b""
    assert node.run("network", "ls", "--quiet", "--filter", chosen) == b""
    assert node.run("volume", "ls", "--quiet", "--filter", chosen).split() != []
    assert node.deployer.journal.entries() == []
    assert node.undeploy().state == "succeeded"  # nothing there is as good


def test_nothing_of_files_reaches_the_engines_disk(node: Node) -> None:
    canary = "CanaryValue-8d1f0c7a92"
    compose = f"""
services:
  a:
    image: {IMAGE}
    {SLEEP}
    secrets: [one]
    volumes: ["/etc/secrets/canary:/srv/canary:ro"]
    configs: [{{source: made, target: /etc/made}}]
secrets: {{one: {{external: true, name: canary}}}}
configs: {{made: {{content: "x ${{SECRET:canary}}"}}}}
"""
    data_root = Path(node.run("info", "--format", "{{.DockerRootDir}}").decode().strip())
    if not data_root.is_dir():
        pytest.skip("the engine's data lies elsewhere")
    assert node.deploy({"compose.yaml": compose}, {"canary": canary}).state == "succeeded"
    assert node.inside("a", "cat", "/srv/canary") == canary.encode()
    assert _found(data_root, canary) == []
    assert node.undeploy().state == "succeeded"
    assert _found(data_root, canary) == []
    # The search finds what does persist, so its silence means something.
    plain = {"compose.yaml": f"services:\n  a:\n    image: {IMAGE}\n    {SLEEP}\n    environment: {{C: '${{SECRET:canary}}'}}\n"}
    assert node.deploy(plain, {"canary": canary}).state == "succeeded"
    assert _found(data_root, canary) != []


def _found(root: Path, canary: str) -> list[str]:
    """Files below ``root`` that hold the canary raw, in base64 (any alignment) or hex."""
    raw = canary.encode()
    cores = [base64.b64encode(bytes(shift) + raw)[4:-4] for shift in range(3)]
    needles = [raw, raw.hex().encode(), *cores]
    found = []
    for path in root.rglob("*"):
        if path.is_file() and not path.is_symlink() and path.stat().st_size < 64 << 20 and "/merged/" not in str(path):
            content = path.read_bytes()
            if any(needle in content for needle in needles):
                found.append(str(path))
    return found


@pytest.mark.parametrize("stage", ["config", "missing value", "NUL in a variable", "reference in a label"])
def test_a_deployment_that_fails_early_changes_nothing(node: Node, stage: str) -> None:
    assert node.deploy(consumers(), {"pw": "old"}).state == "succeeded"
    services = ("directory", "single", "variable", "other")
    before = {service: identity(node, service) for service in services}
    files = node.files_left()
    bad = consumers()
    values: dict[str, str | bytes] = {"pw": "SecretOfTheNewOne"}
    text = str(bad["compose.yaml"])
    if stage == "config":
        bad["compose.yaml"] = text.replace("image:", "imagee:", 1)
    elif stage == "missing value":
        values = {}
    elif stage == "NUL in a variable":
        values = {"pw": b"SecretOfTheNewOne\0"}
    else:
        bad["compose.yaml"] = text.replace("  other:\n", "  other:\n    labels: {l: '${SECRET:pw}'}\n")
    report = node.deploy(bad, values)
    assert report.state == "failed"
    assert report.error
    assert "SecretOfTheNewOne" not in report.error + report.output
    assert str(node.root) not in report.error
    assert {service: identity(node, service) for service in services} == before
    assert node.files_left() == files
    assert node.inside("directory", "cat", "/run/secrets/pw") == b"old"
    assert [entry.phase for entry in node.deployer.journal.entries()] == [Phase.RUNNING]


def test_after_an_unhealthy_deployment_the_former_one_is_back(node: Node) -> None:
    assert node.deploy(consumers(), {"pw": "old"}).state == "succeeded"
    before = {service: identity(node, service) for service in ("directory", "single", "other")}
    extra = f"  ill:\n    image: {IMAGE}\n    command: [sh, -c, 'cat /run/secrets/pw; echo; exit 3']\n    secrets: [pw]\n"
    report = node.deploy(consumers(extra), {"pw": "BrandNewValue"}, wait=10)
    assert report.state == "failed"
    assert "BrandNewValue" not in report.output + report.error
    assert "«redacted»" in report.output  # what the container said is there, without the value
    assert {service: identity(node, service) for service in before} == before
    assert node.inside("directory", "cat", "/run/secrets/pw") == b"old"
    assert node.inside("single", "cat", "/etc/app/pw") == b"old"
    assert node.environment("variable")["PW"] == "old"  # made anew with what it had
    assert "the former deployment was restored (containers made anew: variable)" in report.error
    assert {one.service for one in report.services} == {"directory", "single", "variable", "other"}  # the ill one is gone
    assert node.deployer.journal.entries()[0].phase is Phase.RUNNING
    report = node.deploy(consumers(), {"pw": "third"})
    assert report.state == "succeeded", report.error
    assert node.inside("directory", "cat", "/run/secrets/pw") == b"third"


def test_a_first_deployment_that_fails_leaves_nothing(node: Node) -> None:
    extra = f"  ill:\n    image: {IMAGE}\n    command: [sh, -c, 'exit 3']\n    secrets: [pw]\n"
    report = node.deploy(consumers(extra), {"pw": "value-of-the-first"}, wait=10)
    assert report.state == "failed"
    assert node.files_left() == []
    assert node.run("ps", "--all", "--quiet", "--filter", f"label=com.docker.compose.project={node.project}") == b""
    assert node.deployer.journal.entries() == []


@pytest.mark.parametrize("step", ["writing", "looking"])
def test_a_failure_that_nobody_foresaw_ends_in_a_true_state(node: Node, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OverflowError("SECRET-LEFT is too large")

    target = (injected_files.os, "fchmod") if step == "writing" else (project_update, "settle")
    secrets = "    secrets: [pw]\nsecrets: {pw: {external: true}}\n"
    simple = {"compose.yaml": f"services:\n  a:\n    image: {IMAGE}\n    {SLEEP}\n{secrets}"}
    with monkeypatch.context() as patch:
        patch.setattr(*target, fail)
        report = node.deploy(simple, {"pw": "SECRET-LEFT"}, wait=10)
    assert report.state == "failed"
    assert "OverflowError" in report.error
    assert "SECRET-LEFT" not in report.error
    assert node.deployer.journal.entries() == []
    assert node.files_left() == []
    assert node.deploy(simple, {"pw": "old"}).state == "succeeded"
    with monkeypatch.context() as patch:
        patch.setattr(*target, fail)
        assert node.deploy(simple, {"pw": "SECRET-LEFT"}, wait=10).state == "failed"
    assert [entry.phase for entry in node.deployer.journal.entries()] == [Phase.RUNNING]
    assert node.inside("a", "cat", "/run/secrets/pw") == b"old"
    left = [path for path in node.root.rglob("*") if path.is_file() and b"SECRET-LEFT" in path.read_bytes()]
    assert left == []


def test_a_job_that_ends_well_is_well(node: Node) -> None:
    health = "healthcheck: {test: [CMD, test, -f, /tmp/up], interval: 1s, retries: 20}"
    compose = f"""
services:
  job: {{image: {IMAGE}, command: ["true"]}}
  slow:
    image: {IMAGE}
    command: [sh, -c, "sleep 3; mkdir -p /tmp; touch /tmp/up; sleep 600"]
    stop_grace_period: 1s
    init: true
    {health}
"""
    report = node.deploy({"compose.yaml": compose})
    assert report.state == "succeeded", report.error + report.output
    assert {one.service: (one.state, one.health) for one in report.services} == {
        "job": ("exited", ""), "slow": ("running", "healthy"),
    }  # fmt: skip


def test_output_of_compose_with_a_malformed_value_is_redacted(node: Node) -> None:
    value = "not-an-address$and 'quotes'\nsecond-line-of-it"
    compose = f"services:\n  a:\n    image: {IMAGE}\n    {SLEEP}\n    extra_hosts: ['h:${{SECRET:ip}}']\n"
    report = node.deploy({"compose.yaml": compose}, {"ip": value}, allow_persisting=True)
    assert report.state == "failed"
    said = report.error + report.output
    assert "«redacted»" in said
    for piece in ("not-an-address", "quotes", "second-line"):
        assert piece not in said


def test_an_interrupted_deployment_is_done_again(node: Node) -> None:
    health = "healthcheck: {test: [CMD, test, -f, /run/secrets/pw], interval: 30s, retries: 3, start_period: 0s}"
    compose = str(consumers()["compose.yaml"]).replace("    secrets: [pw]\n", f"    secrets: [pw]\n    {health}\n", 1)
    work = node.prepare({"compose.yaml": compose}, {"pw": "v"}, wait=60)
    done: list[object] = []
    thread = threading.Thread(target=lambda: done.append(node.deployer.execute(work, node.server)))
    thread.start()
    deadline = time.monotonic() + 120
    while b"directory" not in node.run("ps", "--format", "{{.Names}}", "--filter", f"name={node.project}"):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    node.deployer.engine.interrupt()
    thread.join(20)
    assert done == [None]  # nothing to report: it is not failed, it is not done
    assert [entry.phase for entry in node.deployer.journal.entries()] == [Phase.APPLYING]
    (node.root / "work").mkdir(exist_ok=True)
    (node.root / "work" / "left").write_text("x")
    again = Node.make(node.docker, node.deployer.engine.compose, node.project, node.directory, node.root)
    assert len(again.heal()) == 1
    assert not (node.root / "work").exists()
    report = again.deploy(consumers(), {"pw": "v"}, deployment_id=work.deployment_id)
    assert report.state == "succeeded", report.error + report.output
    assert again.inside("directory", "cat", "/run/secrets/pw") == b"v"


def test_files_that_no_container_uses_are_wiped_at_start(node: Node) -> None:
    assert node.deploy(consumers(), {"pw": "v"}).state == "succeeded"
    stray = node.root / "apps" / "gone-project" / "services"
    stray.mkdir(parents=True)
    (stray / "x").write_text("left")
    files = [name for name in node.files_left() if "gone-project" not in name]
    assert node.heal() == ["project gone-project: wiped files that no container uses"]
    assert node.files_left() == files

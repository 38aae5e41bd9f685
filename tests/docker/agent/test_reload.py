"""A new value reaches containers that run, each in its own way, and leaves them again where it does harm."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from overseer.wire.agent import DeploymentReport
from tests.docker.agent.node import Node

pytestmark = pytest.mark.docker

IMAGE = "overseer-example/shop:1"
FAST = f"image: {IMAGE}\n    stop_grace_period: 1s"
HEALTH = "healthcheck: {{test: {test}, interval: 500ms, timeout: 5s, retries: 2}}"
#: Reads its file when it starts and when SIGHUP tells it to, as a server does.
REREADS = 'trap "cat /run/secrets/pw > /tmp/seen" HUP; cat /run/secrets/pw > /tmp/seen; while :; do sleep 0.1; done'
WELL = HEALTH.format(test="[CMD, 'true']")

CONSUMERS = f"""
services:
  told:
    {FAST}
    command: [sh, -c, '{REREADS}']
    labels: {{overseer.reload: "signal:SIGHUP"}}
    secrets: [pw]
    {WELL}
  runs:
    {FAST}
    init: true
    command: [sleep, "600"]
    x-overseer: {{reload: {{exec: [sh, -c, "cp /run/secrets/pw /tmp/seen; printf '$$HOME' > /tmp/words"]}}}}
    secrets: [pw]
  restarted:
    {FAST}
    init: true
    command: [sleep, "600"]
    labels: ["overseer.reload=restart"]
    secrets: [pw]
  quiet:
    {FAST}
    init: true
    command: [sleep, "600"]
    x-overseer: {{reload: none}}
    secrets: [pw]
  elsewhere:
    {FAST}
    init: true
    command: [sleep, "600"]
    labels: {{overseer.reload: 'exec:["touch", "/tmp/told"]'}}
    secrets: [unchanged]
  variable-a:
    {FAST}
    init: true
    command: [sleep, "600"]
    environment: {{PW: "${{SECRET:pw}}"}}
    depends_on: [variable-b]
    {WELL}
  variable-b:
    {FAST}
    init: true
    command: [sleep, "600"]
    environment: {{PW: "x-${{SECRET:pw}}"}}
    {WELL}
secrets: {{pw: {{external: true}}, unchanged: {{external: true}}}}
"""


def identity(node: Node, service: str) -> tuple[str, str]:
    described = node.inspect(service)
    return described["Id"], described["State"]["StartedAt"]


@contextmanager
def recorded_events(node: Node) -> Iterator[list[tuple[str, str]]]:
    """What happens to the project's containers, in order: service and action. The engine itself keeps only the last 256 events,
    of all projects."""
    told: list[tuple[str, str]] = []
    chosen = ["--since", f"{time.time():.3f}", "--filter", f"label=com.docker.compose.project={node.project}"]
    shape = '{{index .Actor.Attributes "com.docker.compose.service"}}/{{.Action}}'
    command = [*node.docker, "events", *chosen, "--format", shape]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as listener:
        try:
            yield told
            # An event of our own is the last: whatever came before it has been read by then.
            node.run("rename", node.container("told"), f"{node.project}-renamed")
            for line in listener.stdout or ():
                service, _, action = line.strip().partition("/")
                if (service, action) == ("told", "rename"):
                    break
                told.append((service, action))
        finally:
            listener.kill()


def test_every_consumer_gets_the_new_value_in_its_own_way(node: Node) -> None:
    values: dict[str, str | bytes] = {"pw": "old", "unchanged": "same"}
    report = node.deploy({"compose.yaml": CONSUMERS}, values)
    assert report.state == "succeeded", report.error + report.output
    services = ["told", "runs", "restarted", "quiet", "elsewhere", "variable-a", "variable-b"]
    before = {service: identity(node, service) for service in services}
    values["pw"] = "brand-new"
    with recorded_events(node) as told:
        report = node.deploy({"compose.yaml": CONSUMERS}, values)
    assert report.state == "succeeded", report.error + report.output
    after = {service: identity(node, service) for service in services}
    untouched = {service for service in services if after[service] == before[service]}
    assert untouched == {"told", "runs", "quiet", "elsewhere"}
    assert after["restarted"][0] == before["restarted"][0]
    assert node.inside("told", "cat", "/tmp/seen") == b"brand-new"
    assert node.inside("runs", "cat", "/tmp/seen") == b"brand-new"
    assert node.inside("runs", "cat", "/tmp/words") == b"$HOME"  # dollars as in the file: this is no shell of ours
    assert node.inside("quiet", "cat", "/run/secrets/pw") == b"brand-new"
    assert node.inside("elsewhere", "ls", "/tmp") == b""  # nothing of it changed: it is not told
    assert node.environment("variable-a")["PW"] == "brand-new"
    # One at a time, after what it depends on: the second is made only when the first is healthy.
    assert told.index(("variable-b", "health_status: healthy")) < told.index(("variable-a", "create"))
    assert node.matches(report, values) == {"pw": {True}, "unchanged": {True}}
    assert "brand-new" not in report.output


ILL = f"""
services:
  ill:
    {FAST}
    {{ill}}
    secrets: [pw]
  told:
    {FAST}
    command: [sh, -c, '{REREADS}']
    labels: {{{{overseer.reload: "signal:SIGHUP"}}}}
    secrets: [pw]
  single:
    {FAST}
    init: true
    command: [sleep, "600"]
    volumes: ["/etc/secrets/pw:/etc/app/pw:ro"]
  variable:
    {FAST}
    init: true
    command: [sleep, "600"]
    environment: {{{{PW: "${{{{SECRET:pw}}}}"}}}}
secrets: {{{{pw: {{{{external: true}}}}}}}}
"""
SICK = 'test "$$(cat /run/secrets/pw)" = old-value'


SLEEP = "init: true\n    command: [sleep, '600']\n    "
LIVES = SLEEP + "restart: always\n    "
SIGHUP = "labels: {overseer.reload: 'signal:SIGHUP'}"
FAILING = "labels: {overseer.reload: 'exec:[\"sh\", \"-c\", \"cat /run/secrets/pw; exit 7\"]'}"


@pytest.mark.parametrize(
    ("ill", "error"),
    [
        (SLEEP + SIGHUP, "SIGHUP ended ill"),
        (LIVES + SIGHUP, "SIGHUP ended ill"),
        (SLEEP + FAILING, "the reload command of ill failed with exit code 7"),
        (SLEEP + HEALTH.format(test=["CMD", "sh", "-c", SICK]), "ill is unhealthy|not healthy: ill"),
    ],
    ids=["a signal that nobody handles", "a signal that Docker restarts after", "a command that fails", "health"],
)
def test_a_value_that_does_harm_is_taken_back(node: Node, ill: str, error: str) -> None:
    # "told" and "single" come after "ill" by name, "variable" was made anew before anybody was told.
    compose = {"compose.yaml": ILL.format(ill=ill)}
    report = node.deploy(compose, {"pw": "old-value"})
    assert report.state == "succeeded", report.error + report.output
    before = {service: identity(node, service) for service in ("ill", "told", "single", "variable")}
    report = node.deploy(compose, {"pw": "Harmful-Value"}, wait=15)
    assert report.state == "failed"
    assert re.search(error, report.error), report.error
    assert "the former deployment was restored (containers made anew: variable)" in report.error, report.error
    assert "Harmful-Value" not in report.error + report.output
    assert "old-value" not in report.error + report.output
    for service, path in (("ill", "/run/secrets/pw"), ("single", "/etc/app/pw"), ("told", "/tmp/seen")):
        assert node.inside(service, "cat", path) == b"old-value"
    assert node.environment("variable")["PW"] == "old-value"
    assert {service: identity(node, service)[0] for service in ("ill", "told", "single")} == {
        service: before[service][0] for service in ("ill", "told", "single")
    }
    assert identity(node, "told") == before["told"]
    assert [one.state for one in report.services] == ["running"] * 4
    # What came back is what is held: the same values again change nothing.
    kept = {service: identity(node, service) for service in before}
    assert node.deploy(compose, {"pw": "old-value"}).state == "succeeded"
    assert {service: identity(node, service) for service in before} == kept


def test_those_who_were_told_before_the_failure_are_told_again(node: Node) -> None:
    sick = HEALTH.format(test=["CMD", "sh", "-c", SICK])
    compose = f"""
services:
  a-told:
    {FAST}
    command: [sh, -c, '{REREADS}; exit 1']
    labels: {{overseer.reload: "signal:SIGHUP"}}
    secrets: [pw]
  b-single:
    {FAST}
    init: true
    command: [sh, -c, "cat /etc/app/pw >> /tmp/seen; exec sleep 600"]
    volumes: ["/etc/secrets/pw:/etc/app/pw:ro"]
  c-ill:
    {FAST}
    init: true
    command: [sleep, "600"]
    secrets: [pw]
    {sick}
secrets: {{pw: {{external: true}}}}
"""
    assert node.deploy({"compose.yaml": compose}, {"pw": "old-value"}).state == "succeeded"
    before = {service: identity(node, service) for service in ("a-told", "b-single", "c-ill")}
    report = node.deploy({"compose.yaml": compose}, {"pw": "new-value"}, wait=15)
    assert report.state == "failed"
    assert "the former deployment was restored" in report.error
    assert node.inside("a-told", "cat", "/tmp/seen") == b"old-value"
    assert node.inside("b-single", "cat", "/tmp/seen") == b"old-valuenew-valueold-value"
    after = {service: identity(node, service) for service in before}
    assert after["a-told"] == before["a-told"]
    assert after["b-single"][0] == before["b-single"][0]
    assert after["c-ill"] == before["c-ill"]


def test_services_that_share_a_namespace_are_made_anew_together(node: Node) -> None:
    compose = f"""
services:
  owner:
    {FAST}
    init: true
    command: [sleep, "600"]
    environment: {{PW: "${{SECRET:pw}}"}}
  guest:
    {FAST}
    init: true
    command: [sh, -c, "hostname; exec sleep 600"]
    network_mode: "service:owner"
    environment: {{PW: "${{SECRET:pw}}"}}
  third:
    {FAST}
    init: true
    command: [sleep, "600"]
    environment: {{PW: "${{SECRET:pw}}"}}
"""
    assert node.deploy({"compose.yaml": compose}, {"pw": "old"}).state == "succeeded"
    report = node.deploy({"compose.yaml": compose}, {"pw": "new"})
    assert report.state == "succeeded", report.error + report.output
    assert [node.environment(service)["PW"] for service in ("owner", "guest", "third")] == ["new"] * 3
    assert node.inspect("guest")["HostConfig"]["NetworkMode"] == f"container:{node.container('owner')}"


@pytest.mark.parametrize(
    ("setting", "code"),
    [
        ("labels: {overseer.reload: 'signal:SIGKILL'}", "reload is none, restart"),
        ("x-overseer: {reload: sometimes}", "reload is none, restart"),
        ("x-overseer: {relaod: none}", "holds reload and nothing else"),
        ("x-overseer: {reload: {exec: [echo, '${SECRET:pw}']}}", "a reload setting cannot hold a secret"),
    ],
)
def test_a_wrong_setting_is_refused_before_anything_changes(node: Node, setting: str, code: str) -> None:
    compose = f"services:\n  a:\n    {FAST}\n    {setting}\n    secrets: [pw]\nsecrets: {{pw: {{external: true}}}}\n"
    report: DeploymentReport = node.deploy({"compose.yaml": compose}, {"pw": "v"}, allow_persisting=True)
    assert report.state == "failed"
    assert code in report.error
    assert node.files_left() == []

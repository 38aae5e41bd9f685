"""Every form of injection of this version, in real containers: exact bytes, owners and modes, and nothing else."""

from __future__ import annotations

import pytest

from tests.docker.agent.node import Node

pytestmark = pytest.mark.docker

SLEEP = "command: [sleep, '600']\n    stop_grace_period: 1s\n    init: true"
IMAGE = "overseer-example/shop:1"

TEXTS = {
    "dollar": "pa$word",
    "dollars": "a$$b",
    "home": "${HOME}",
    "reference": "${SECRET:dollar}",
    "newlines": "line one\nline two\n\n  indented\ttab\r\n",
    "empty": "",
    "yaml": ": # - *x &y !z @ % { [ ' \" \\ `",
    "bool": "yes",
    "number": "0o17",
    "unicode": "grüße \u0085 \u2028 \ufeff 🙂",
    "pem": "-----BEGIN X-----\nAAAA+/==\n-----END X-----\n",
    "equals": "a=b=c",
}


def test_environment_holds_exactly_the_value(node: Node) -> None:
    lines = "".join(f"      - V_{name}=${{SECRET:{name}}}\n" for name in TEXTS)
    mapping = "".join(f"      V_{name}: ${{SECRET:{name}}}\n" for name in TEXTS)
    compose = f"services:\n  list:\n    image: {IMAGE}\n    {SLEEP}\n    environment:\n{lines}"
    compose += f"  map:\n    image: {IMAGE}\n    {SLEEP}\n    environment:\n{mapping}      URL: db://u:${{SECRET:dollar}}@h/${{X:-x}}\n"
    report = node.deploy({"compose.yaml": compose}, TEXTS)
    assert report.state == "succeeded", report.error + report.output
    for service in ("list", "map"):
        found = node.environment(service)
        assert {name: found[f"V_{name}"] for name in TEXTS} == TEXTS
    assert node.environment("map")["URL"] == "db://u:pa$word@h/x"
    # Every reference is proven in both services, without the values.
    assert node.matches(report, TEXTS) == {name: {True} for name in TEXTS}


def test_env_file_and_compose_variables(node: Node) -> None:
    compose = f"services:\n  a:\n    image: {IMAGE}\n    {SLEEP}\n    env_file: [app.env]\n"
    compose += "    environment:\n      FROM: ${WHERE}-${MORE}\n"
    files = {"compose.yaml": compose, "app.env": "TOKEN=${SECRET:token}\nPLAIN=p\n", ".env": "WHERE=dotenv\nMORE=m\n"}
    report = node.deploy(files, {"token": "s3$cr3t"}, variables={"MORE": "variable"})
    assert report.state == "succeeded", report.error + report.output
    found = node.environment("a")
    assert (found["TOKEN"], found["PLAIN"], found["FROM"]) == ("s3$cr3t", "p", "dotenv-variable")


def test_files_for_root_other_users_and_read_only_services(node: Node) -> None:
    binary = bytes(range(256)) * 5
    compose = f"""
services:
  plain:
    image: {IMAGE}
    {SLEEP}
    secrets: [one, {{source: two, target: renamed}}]
  user:
    image: {IMAGE}
    {SLEEP}
    user: "1000:1000"
    read_only: true
    secrets: [one, {{source: two, target: /etc/app/key, uid: "1000", gid: "1001", mode: 0400}}]
    volumes:
      - /etc/secrets/three:/run/secrets/three:ro
      - /etc/secrets/three:/srv/three
secrets:
  one: {{external: true, name: first}}
  two: {{external: true}}
"""
    values: dict[str, str | bytes] = {"first": binary, "two": "second\n", "three": ""}
    report = node.deploy({"compose.yaml": compose}, values)
    assert report.state == "succeeded", report.error + report.output
    assert node.inside("plain", "cat", "/run/secrets/one") == binary
    assert node.inside("plain", "cat", "/run/secrets/renamed") == b"second\n"
    assert node.inside("user", "cat", "/run/secrets/one", user="1000:1000") == binary
    assert node.inside("user", "cat", "/etc/app/key", user="1000:1000") == b"second\n"
    assert node.inside("user", "cat", "/run/secrets/three", "/srv/three", user="1000:1000") == b""
    assert node.inside("user", "stat", "-L", "-c", "%a %u %g", "/etc/app/key").split() == [b"400", b"1000", b"1001"]
    assert node.inside("user", "stat", "-L", "-c", "%a %u %g", "/run/secrets/one").split() == [b"444", b"0", b"0"]
    assert node.matches(report, values) == {"first": {True}, "two": {True}, "three": {True}}
    # A service sees its own files only, and no container can change them.
    assert node.inside("plain", "ls", "/run/secrets").split() == [b"one", b"renamed"]
    mounts = node.inspect("plain")["Mounts"]
    assert [mount["RW"] for mount in mounts] == [False]


def test_two_applications_cannot_read_each_other(node: Node) -> None:
    compose = f"services:\n  a:\n    image: {IMAGE}\n    {SLEEP}\n    volumes: ['/etc/secrets/key:/run/secrets/key:ro']\n"
    assert node.deploy({"compose.yaml": compose}, {"key": "mine"}).state == "succeeded"
    other = {"compose.yaml": f"services:\n  a:\n    image: {IMAGE}\n    {SLEEP}\n    volumes: ['{node.root}/apps:/stolen:ro']\n"}
    theirs = Node.make(node.docker, node.deployer.engine.compose, node.project + "b", node.directory, node.root)
    report = theirs.deploy(other)
    assert report.state == "failed"
    assert "another application's files" in report.error
    for source in ("/", "/dev", f"{node.root}/../root", str(node.directory)):
        theirs.deployer.protected = (node.directory,)
        report = theirs.deploy({"compose.yaml": other["compose.yaml"].replace(f"{node.root}/apps", source)})
        assert report.state == "failed", source


def test_shipped_files_and_configs_with_references(node: Node) -> None:
    compose = f"""
services:
  a:
    image: {IMAGE}
    {SLEEP}
    user: "1000"
    volumes: ["./conf:/etc/conf:ro", "./run.sh:/run.sh:ro"]
    configs: [{{source: made, target: /etc/made.ini}}]
configs:
  made:
    content: |
      password = ${{SECRET:pw}}
      cost = 5$$
"""
    files = {"compose.yaml": compose, "conf/a.conf": "a\n", "conf/deep/b.conf": "b\n", "run.sh": "#!/bin/sh\necho ran\n"}
    report = node.deploy(files, {"pw": "x$y"})
    assert report.state == "succeeded", report.error + report.output
    assert node.inside("a", "cat", "/etc/conf/a.conf", "/etc/conf/deep/b.conf") == b"a\nb\n"
    assert node.inside("a", "/run.sh") == b"ran\n"
    assert node.inside("a", "cat", "/etc/made.ini") == b"password = x$y\ncost = 5$\n"
    assert node.matches(report, {"pw": "x$y"}) == {"pw": {True}}
    # A changed directory is filled anew, never replaced: the running container sees the new file.
    before = node.inspect("a")["State"]["StartedAt"]
    files["conf/a.conf"] = "changed\n"
    del files["conf/deep/b.conf"]
    assert node.deploy(files, {"pw": "x$y"}).state == "succeeded"
    assert node.inside("a", "cat", "/etc/conf/a.conf") == b"changed\n"
    assert node.inside("a", "ls", "/etc/conf") == b"a.conf\n"
    assert node.inspect("a")["State"]["StartedAt"] == before
    missing = {"compose.yaml": f"services:\n  a:\n    image: {IMAGE}\n    volumes: ['./data:/data']\n"}
    report = node.deploy(missing)
    assert report.state == "failed"
    assert "./data is not in the bundle" in report.error

"""What adoption wrote, deployed by the agent on a real engine: the container finds in the file what stood in its environment."""

from __future__ import annotations

import subprocess

import pytest

from overseer.cli.model_proof import prove_unchanged
from overseer.compose.adoption import adopt
from overseer.compose.bundle import Bundle
from tests.docker.agent.node import Node

pytestmark = pytest.mark.docker

IMAGE = "postgres:overseer-adopted"
VALUE = "pa$word with 'quotes' \"and\" #"


def test_a_variable_that_became_a_file_arrives_as_a_file(node: Node) -> None:
    subprocess.run([*node.docker, "tag", "overseer-example/shop:1", IMAGE], check=True, capture_output=True)
    try:
        written = VALUE.replace("$", "$$").replace('"', '\\"')
        compose = f"""services:
  db:
    image: {IMAGE}
    command: [sleep, '600']
    stop_grace_period: 1s
    init: true
    environment:
      POSTGRES_PASSWORD: "{written}"
      OTHER_SECRET: stays
"""
        bundle = Bundle({"compose.yaml": compose.encode()})
        found = adopt(bundle, as_files=True)
        after = found.files["compose.yaml"].decode()
        prove_unchanged(bundle, Bundle({"compose.yaml": after.encode()}), found.secrets(), found.forms)
        report = node.deploy({"compose.yaml": after}, {name: value.reveal().decode() for name, value in found.secrets().items()})
        assert report.state == "succeeded", report.error + report.output
        environment = node.environment("db")
        assert environment["POSTGRES_PASSWORD_FILE"] == "/run/secrets/postgres-password"
        assert "POSTGRES_PASSWORD" not in environment
        assert environment["OTHER_SECRET"] == "stays"
        assert node.inside("db", "cat", environment["POSTGRES_PASSWORD_FILE"]).decode() == VALUE
    finally:
        node.undeploy()
        subprocess.run([*node.docker, "rmi", IMAGE], check=False, capture_output=True)

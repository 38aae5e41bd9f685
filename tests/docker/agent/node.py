"""A node whose server is a double: it keeps values in memory and seals real bundles to the node's real keys."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgspec

from overseer.agent.deployments import Deployer
from overseer.agent.engine import Engine
from overseer.agent.identity import FORMAT, Identity, NodeRecord
from overseer.agent.journal import Journal
from overseer.agent.leftovers import heal
from overseer.core.secret_value import SecretValue
from overseer.crypto.fingerprints import fingerprint
from overseer.crypto.keys import HmacKey
from overseer.crypto.node_keys import NodeKeys
from overseer.crypto.sealed_bundle import BundleContext, BundleRequest, seal_bundle
from overseer.crypto.signatures import SigningKey
from overseer.wire.agent import (
    PAYLOAD_FORMAT,
    DeploymentReport,
    PayloadFile,
    PayloadValue,
    ReleaseAnswer,
    ReleasePayload,
    ReleaseRequest,
    Work,
)


@dataclass
class Server:
    """Answers releases; ``tamper`` may change the request that is sealed."""

    signing: SigningKey
    node: NodeKeys
    instance_id: UUID
    node_id: UUID
    payloads: dict[str, ReleasePayload] = field(default_factory=dict)
    lifetime: timedelta = timedelta(minutes=2)

    def post(self, path: str, body: msgspec.Struct, returns: Any, timeout: float = 30.0) -> Any:
        assert isinstance(body, ReleaseRequest)
        deployment_id = path.split("/")[-2]
        request = BundleRequest(self.instance_id, self.node_id, UUID(deployment_id), base64.b64decode(body.nonce))
        expires_at = datetime.now(UTC) + self.lifetime
        plaintext = SecretValue(msgspec.msgpack.encode(self.payloads[deployment_id]))
        sealed = seal_bundle(plaintext, BundleContext(request, expires_at), self.node.public.sealing, self.signing)
        return ReleaseAnswer(sealed=base64.b64encode(sealed).decode(), expires_at=expires_at)


@dataclass
class Node:
    """An agent's deployer on the real engine, with what a test needs around it."""

    docker: list[str]
    project: str
    directory: Path
    root: Path
    server: Server
    deployer: Deployer

    @classmethod
    def make(cls, docker: list[str], compose: list[str], project: str, directory: Path, root: Path) -> Node:
        directory.mkdir(mode=0o700, exist_ok=True)
        root.mkdir(mode=0o700, exist_ok=True)
        signing, keys, instance, node_id = SigningKey.generate(), NodeKeys.generate(), uuid4(), uuid4()
        record = NodeRecord(
            format=FORMAT, url="http://127.0.0.1:1", node="n1", node_id=node_id, instance_id=instance, key_id="k",
            verify_key=signing.public, token_hash=bytes(32), ca_file=False,
        )  # fmt: skip
        engine = Engine.find(docker[0], compose[0] if len(compose) == 1 else None, os.environ.get("DOCKER_HOST"))
        deployer = Deployer(engine, root, Identity(record, keys, None), Journal(directory))
        # The pauses for readers between link and file are long for slow machines; here nobody reads.
        deployer.sleep = lambda seconds: time.sleep(min(seconds, 0.4))
        return cls(docker, project, directory, root, Server(signing, keys, instance, node_id), deployer)

    def deploy(
        self,
        files: Mapping[str, str | bytes],
        values: Mapping[str, str | bytes] = {},
        *,
        wait: int = 30,
        deployment_id: str | None = None,
        **options: Any,
    ) -> DeploymentReport:
        """Deploy ``files`` (``compose.yaml`` among them) with the values by reference."""
        work = self.prepare(files, values, wait=wait, deployment_id=deployment_id, **options)
        report = self.deployer.execute(work, self.server)
        assert report is not None
        return report

    def prepare(
        self,
        files: Mapping[str, str | bytes],
        values: Mapping[str, str | bytes] = {},
        *,
        wait: int = 30,
        deployment_id: str | None = None,
        variables: Mapping[str, str] = {},
        profiles: list[str] | None = None,
        allow_persisting: bool = False,
    ) -> Work:
        """The same without doing it."""
        identifier = deployment_id or str(uuid4())
        self.server.payloads[identifier] = ReleasePayload(
            format=PAYLOAD_FORMAT,
            files=[PayloadFile(path=path, content=_bytes(text)) for path, text in files.items()],
            compose_files=[],
            profiles=profiles or [],
            variables=dict(variables),
            values=[
                PayloadValue(reference=name, name=name, version=1, value=_bytes(value)) for name, value in values.items()
            ],
            fingerprint_key=bytes(range(32)),
            allow_persisting=allow_persisting,
        )
        return self.work("deploy", identifier, wait)

    def undeploy(self) -> DeploymentReport:
        report = self.deployer.execute(self.work("undeploy", str(uuid4()), 30), self.server)
        assert report is not None
        return report

    def work(self, action: str, identifier: str, wait: int) -> Work:
        return Work(
            deployment_id=identifier, action=action, app="shop", environment="prod", project=self.project,
            wait_timeout=wait, attempt=1,
        )  # fmt: skip

    def heal(self) -> list[str]:
        return heal(self.deployer.engine, self.root, self.deployer.journal)

    # -- looking around -------------------------------------------------------------------------------------------------------

    def run(self, *arguments: str) -> bytes:
        return subprocess.run([*self.docker, *arguments], check=True, capture_output=True, timeout=180).stdout

    def container(self, service: str) -> str:
        chosen = [f"label=com.docker.compose.project={self.project}", f"label=com.docker.compose.service={service}"]
        listed = self.run("ps", "--all", "--quiet", "--no-trunc", "--filter", chosen[0], "--filter", chosen[1]).split()
        assert len(listed) == 1, listed
        return listed[0].decode()

    def inside(self, service: str, *command: str, user: str | None = None) -> bytes:
        """Run a command in the container of ``service``."""
        as_user = ["--user", user] if user else []
        return self.run("exec", *as_user, self.container(service), *command)

    def environment(self, service: str) -> dict[str, str]:
        """The exact environment of the container's first process, as NUL-separated text from inside."""
        raw = self.inside(service, "cat", "/proc/1/environ").decode()
        return dict(entry.split("=", 1) for entry in raw.split("\0") if entry)

    def inspect(self, service: str) -> dict[str, Any]:
        described: list[dict[str, Any]] = json.loads(self.run("inspect", self.container(service)))
        return described[0]

    def matches(self, report: DeploymentReport, values: Mapping[str, str | bytes]) -> dict[str, set[bool]]:
        """What the server would conclude from a report's fingerprints."""
        key = HmacKey(bytes(range(32)))
        found: dict[str, set[bool]] = {}
        for one in report.fingerprints:
            right = fingerprint(key, one.reference, SecretValue(_bytes(values[one.reference])))
            found.setdefault(one.reference, set()).add(base64.b64decode(one.fingerprint) == right)
        return found

    def files_left(self) -> list[str]:
        """What lies below the memory root that is a file or link."""
        return sorted(str(path.relative_to(self.root)) for path in self.root.rglob("*") if not path.is_dir() or path.is_symlink())


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text

"""AWS KMS and IAM as a process of its own on loopback: moto's server, which encrypts, checks contexts and enforces policies."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import botocore.session
import httpx
import pytest

from tests.ports import free_port

REGION = "eu-central-1"
READY_SECONDS = 120.0


@dataclass
class KmsServer:
    """``url`` is its endpoint."""

    url: str

    def client(self, service: str) -> Any:
        """A client with the credentials of AWS's root user there."""
        session = botocore.session.Session()
        session.set_credentials("root-of-the-account", "not-a-secret")
        return session.create_client(service, region_name=REGION, endpoint_url=self.url)

    def key(self) -> str:
        """A new symmetric key; its ARN."""
        return str(self.client("kms").create_key()["KeyMetadata"]["Arn"])

    def spec(self, key: str) -> str:
        """The setting OVERSEER_SEAL for it."""
        return f"awskms:{key}?region={REGION}&endpoint={self.url}"

    def user(self, *actions: str) -> dict[str, str]:
        """The AWS variables of a new user who may do these actions on every resource, and nothing else."""
        iam, name = self.client("iam"), f"user-{time.monotonic_ns()}"
        iam.create_user(UserName=name)
        statement = [{"Effect": "Allow", "Action": list(actions), "Resource": "*"}] if actions else []
        document = json.dumps({"Version": "2012-10-17", "Statement": statement})
        if actions:
            iam.put_user_policy(UserName=name, PolicyName="all", PolicyDocument=document)
        made = iam.create_access_key(UserName=name)["AccessKey"]
        return {"AWS_ACCESS_KEY_ID": made["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": made["SecretAccessKey"]}

    @contextmanager
    def enforcing(self) -> Iterator[None]:
        """Policies count: without this everybody may do everything."""
        httpx.post(f"{self.url}/moto-api/reset-auth", content=b"0", timeout=60).raise_for_status()
        try:
            yield
        finally:
            httpx.post(f"{self.url}/moto-api/reset-auth", content=b"Infinity", timeout=60).raise_for_status()


@contextmanager
def kms_server() -> Iterator[KmsServer]:
    """A new one, stopped at the end."""
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + READY_SECONDS
        while True:
            try:
                httpx.get(f"{url}/moto-api/data.json", timeout=30)
                break
            except httpx.TransportError:
                if process.poll() is not None or time.monotonic() > deadline:
                    pytest.fail(f"moto's server did not start (exit code {process.poll()})")
                time.sleep(0.05)
        yield KmsServer(url)
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def refusing_server(status: int, body: bytes) -> Iterator[str]:
    """An endpoint that answers everything with this refusal; its URL."""

    class Refusal(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.send_response(status)
            self.send_header("content-type", "application/x-amz-json-1.1")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            """Nothing: pytest's output is for tests."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Refusal) as server:
        serving = threading.Thread(target=server.serve_forever, daemon=True)
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            serving.join()

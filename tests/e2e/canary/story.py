"""What happens to the canaries: every way in, every way out, and everything that can go wrong on the way.

Each step also checks that it did what it is there for: a failure that was not forced would prove nothing.
"""

from __future__ import annotations

import base64
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from overseer.agent.identity import load_identity
from overseer.agent.session import Session
from overseer.crypto.age_keys import Identity
from tests.e2e.canary.markers import Canaries
from tests.e2e.canary.refusals import refusals
from tests.e2e.canary.search import Search
from tests.e2e.canary.system import System, docker

IMAGE = "overseer-example/shop:1"
SCOPE = ("--app", "shop", "--env", "prod")
#: Set by form: what a service marked ``persists`` has in its environment, and what it has not.
IN_ENVIRONMENT, IN_ENV_FILE = "in the environment", "in an env_file"
PERSISTING = frozenset({IN_ENVIRONMENT, IN_ENV_FILE})
SLEEP = "command: [sleep, '600']\n    stop_grace_period: 1s\n    init: true"
COMPOSE = f"""
services:
  open:
    image: {IMAGE}
    {SLEEP}
    environment: {{PASSWORD: "${{SECRET:in-environment}}"}}
    env_file: [settings.env]
  closed:
    image: {IMAGE}
    {SLEEP}
    secrets: [external, {{source: data, target: data.bin}}]
    volumes: ["/etc/secrets/as-file:/srv/as-file:ro"]
    configs: [{{source: made, target: /etc/made}}]
    healthcheck: {{test: [CMD, test, -s, /run/secrets/external], interval: 1s, retries: 20}}
secrets: {{external: {{external: true, name: as-secret}}, data: {{external: true}}}}
configs: {{made: {{content: "x ${{SECRET:in-config}}"}}}}
"""
SETTINGS = "FROM_FILE=${SECRET:in-env-file}\n"
#: A second version of the row of another secret, damaged: a bit of its ciphertext is another one.
FLIP = """
INSERT INTO secret (id, scope_id, name, latest_version, active_version)
SELECT '{new}', scope_id, 'flipped', 1, 1 FROM secret WHERE id = '{old}';
INSERT INTO secret_version (secret_id, version, id, format, kek_term, wrapped_dek, ciphertext)
SELECT '{new}', 1, gen_random_uuid(), format, kek_term, wrapped_dek, set_byte(ciphertext, 20, get_byte(ciphertext, 20) # 1)
FROM secret_version WHERE secret_id = '{old}'
"""
WRITE_SECONDS = 90.0


@dataclass
class Story:
    """Runs the steps in order; ``container`` is the one whose service the plan marks ``persists``."""

    system: System
    canaries: Canaries
    search: Search
    docker: Sequence[str]
    scratch: Path  # on tmpfs: what the command line reads from files
    project: Path
    container: str = ""
    ids: dict[str, str] = field(default_factory=dict)
    burst: list[int] = field(default_factory=list)

    def set_up(self) -> None:
        """The server, people's tokens, a node and its agent."""
        self.system.cli("server", "init")
        self.search.add_token("owner's token", self.system.use_owner_token())
        self.system.start("server", "server", "run")
        self.system.await_health()
        for kind, name in (("apps", "shop"), ("apps", "broken"), ("environments", "prod"), ("nodes", "local")):
            assert self.system.http("POST", f"/api/{kind}", {"name": name}).status_code == 201
        made = self.system.http("POST", "/api/enrolment-tokens", {"node": "local"}, shows=True).json()["token"]
        self.search.add_token("enrolment token", made.partition(".")[0])
        self.system.cli("agent", "join", "--stdin", "--url", self.system.url, stdin=made.encode())
        self.system.start("agent", "agent", "run")
        made = self.system.http("POST", "/api/tokens", {"principal": "me"}, shows=True).json()["token"]
        self.search.add_token("token made by the API", made)
        identity = load_identity(self.system.home / "agent")
        assert identity is not None
        session = Session(identity)
        session.authenticate()
        assert session._http.token is not None
        self.search.add_token("node token", session._http.token.reveal().decode())
        session.close()

    # -- ways in --------------------------------------------------------------------------------------------------------------

    def put_in(self) -> None:
        """API text, API bytes, standard input, file; as a first value, a new version and a rotation."""
        text, data = self.canaries.text, self.canaries.data
        for name, canary in {
            "as-secret": text("as a Docker secret"),
            "as-file": text("as a file"),
            "in-config": text("in a config"),
            "in-environment": text(IN_ENVIRONMENT),
            "in-env-file": self.canaries.word(IN_ENV_FILE),
            "malformed": text("malformed for Compose", lines=False),
        }.items():
            self._create(name, {"value": canary})
        self._create("data", {"value_base64": base64.b64encode(data("bytes")).decode()})
        self._create("nul", {"value": f"{text('NUL in a variable')}\0"})
        self._create("in-use", {"value": text("version 1")}, global_=True)
        one = f"/api/secrets/{self.ids['in-use']}"
        assert self.system.http("PUT", one, {"value": text("version 2")}).status_code == 200
        assert self.system.http("POST", f"{one}/rotate", {"value": text("rotated")}).status_code == 200
        assert self.system.http("POST", f"{one}/activate", {"version": 1}).status_code == 200
        self.system.cli("secret", "set", "from-stdin", *SCOPE, "--stdin", stdin=text("standard input").encode())
        (self.scratch / "value").write_bytes(data("a file of the command line"))
        self.system.cli("secret", "set", "from-file", *SCOPE, "--file", str(self.scratch / "value"))
        self.system.cli("secret", "rotate", "from-file", *SCOPE, "--stdin", stdin=data("rotated by the command line"))
        dotenv = f'IMPORTED={self.canaries.word("imported")}\n'.encode()
        for more in (["--dry-run"], [], ["--only", "IMPORTED"]):
            self.system.cli("secret", "import", "-", "--format", "dotenv", *SCOPE, *more, stdin=dotenv)
        broken = f'BROKEN="{self.canaries.word("in a broken file")}'.encode()
        self.system.cli("secret", "import", "-", "--format", "dotenv", *SCOPE, stdin=broken, expect=65)
        # A value where none belongs: the refusal must not repeat it. (It is in argv by the caller's own hand, so on stdin here.)
        self.system.cli("secret", "set", "bad name", *SCOPE, "--stdin", stdin=text("for a bad name").encode(), expect=65)
        self.system.cli("secret", "set", "too-long", "--stdin", stdin=text("too long").encode() * 30_000, expect=65)

    def _create(self, name: str, value: dict[str, str], *, global_: bool = False) -> None:
        scope = {} if global_ else {"app": "shop", "environment": "prod"}
        answer = self.system.http("POST", "/api/secrets", {"name": name, **value, **scope})
        assert answer.status_code == 201, answer.status_code
        self.ids[name] = answer.json()["id"]

    # -- ways out -------------------------------------------------------------------------------------------------------------

    def take_out(self) -> None:
        """Reveal, resolve, the command line, and a process with variables and with files."""
        revealed = self.system.http("POST", f"/api/secrets/{self.ids['as-secret']}/value", {"reason": "canary"}, shows=True)
        assert revealed.json()["value"] == self.canaries.text("as a Docker secret")
        assert self.system.http("GET", "/api/secrets?limit=500").status_code == 200
        resolved = self.system.http("POST", "/api/resolve", {"names": ["data"], "app": "shop", "environment": "prod"}, shows=True)
        assert base64.b64decode(resolved.json()["values"][0]["value_base64"]) == self.canaries.data("bytes")
        assert self.system.cli("secret", "get", "from-stdin", *SCOPE, shows=True) == self.canaries.text("standard input").encode()
        self.system.cli("secret", "list", *SCOPE)
        self.system.cli("secret", "history", "from-file", *SCOPE)
        self.system.cli("secret", "explain", "in-use", *SCOPE)
        self.system.cli("secret", "export", *SCOPE, "--name", "imported", "--recipient", str(Identity.generate().recipient))
        self.system.cli("import", "list")
        program = [sys.executable, "-I", "-c"]
        read = "import os, sys; sys.stdout.buffer.write(os.environb[b'AS_SECRET'])"
        got = self.system.cli("run", *SCOPE, "--only", "as-secret", "--", *program, read, shows=True)
        assert got == self.canaries.text("as a Docker secret").encode()
        read = "import os, sys; d = os.environ['OVERSEER_SECRETS_DIR']; sys.stdout.buffer.write(open(d + '/data', 'rb').read())"
        got = self.system.cli("run", *SCOPE, "--only", "data,as-file", "--files", "--", *program, read, shows=True)
        assert got == self.canaries.data("bytes")
        self.system.cli("run", *SCOPE, "--only", "nul", "--", "true", expect=65)
        self.system.cli("run", *SCOPE, "--only", "as-secret", "--", "/no/such/program", expect=127)
        self.system.cli("key", "rotate", "--no-wait")
        self.system.cli("key", "verify")
        self.system.cli("key", "status")

    def deploy(self) -> None:
        """All forms at once, into real containers, and a look from inside."""
        (self.project / "compose.yaml").write_text(COMPOSE)
        (self.project / "settings.env").write_text(SETTINGS)
        self.system.cli("deploy", str(self.project), *SCOPE, "--node", "local")
        references = self.system.http("GET", "/api/deployments").json()["items"][0]["references"]
        persists = {one["reference"]: one["persists"] for one in references}
        assert persists.pop("in-environment") is persists.pop("in-env-file") is True
        assert persists == dict.fromkeys(("as-secret", "as-file", "data", "in-config"), False)
        assert all(one["matches"] for one in references)
        # People write plain text into such files, so a bundle's content is a secret, too.
        comment = f"# {self.canaries.word('a comment of the bundle')}\n"
        self._deployed([*_file(comment + COMPOSE), {"path": "settings.env", "content": SETTINGS}], "shop", "succeeded")
        self.container = self._container("open")
        inside = docker(self.docker, "exec", self._container("closed"), "cat", "/srv/as-file", "/etc/made")
        assert inside == f"{self.canaries.text('as a file')}x {self.canaries.text('in a config')}"

    def _deployed(self, files: list[dict[str, str]], app: str, state: str, **more: Any) -> dict[str, Any]:
        """Store a bundle, deploy it, wait for the end."""
        digest = self.system.http("POST", f"/api/apps/{app}/bundles", {"files": files}).json()["digest"]
        request = {"app": app, "node": "local", "environment": "prod", "bundle": digest, "wait_timeout": 120} | more
        made = self.system.http("POST", "/api/deployments", request)
        assert made.status_code == 201, made.text
        return self._ended(made.json()["id"], state)

    def _ended(self, deployment: str, state: str) -> dict[str, Any]:
        deadline = time.monotonic() + 180
        while time.monotonic() < deadline:
            view: dict[str, Any] = self.system.http("GET", f"/api/deployments/{deployment}").json()
            if view["finished_at"]:
                assert view["state"] == state, (view["state"], view["error"])
                return view
            time.sleep(0.1)
        raise AssertionError(f"the deployment did not end: {view['state']}")

    def _container(self, service: str, project: str = "shop-prod") -> str:
        chosen = [f"label=com.docker.compose.project={project}", f"label=com.docker.compose.service={service}"]
        return docker(self.docker, "ps", "--quiet", "--no-trunc", "--filter", chosen[0], "--filter", chosen[1])

    # -- what goes wrong ------------------------------------------------------------------------------------------------------

    def be_refused(self) -> None:
        """Every request of ``refusals``; each gets one of its statuses."""
        wrong = {}
        for one in refusals(self.canaries, self.ids["in-use"]):
            answer = self.system.http(one.method, one.path, one.body, headers=dict(one.headers), token=one.token)
            if answer.status_code not in one.statuses:
                wrong[one.purpose] = answer.status_code
        assert wrong == {}

    def fail_to_deploy(self) -> None:
        """A value that Compose takes for malformed and repeats, NUL in a variable, a reference in a typed field."""
        for name in ("malformed", "nul"):
            value = self.system.http("POST", f"/api/secrets/{self.ids[name]}/value", {}, shows=True).json()
            value = {key: text for key, text in value.items() if key.startswith("value")}
            assert self.system.http("POST", "/api/secrets", {"name": name, **value, "app": "broken"}).status_code == 201
        service = f"services:\n  a:\n    image: {IMAGE}\n    {SLEEP}\n"
        said = self._deployed(
            _file(service + "    extra_hosts: ['h:${SECRET:malformed}']\n"), "broken", "failed", allow_persisting=True
        )
        assert "«redacted»" in said["error"] + said["output"]
        said = self._deployed(_file(service + "    environment: {V: '${SECRET:nul}'}\n"), "broken", "failed")
        assert "NUL" in said["error"], said["error"]
        bundle = {"files": _file(service + "    cpus: ${SECRET:malformed}\n")}
        digest = self.system.http("POST", "/api/apps/broken/bundles", bundle).json().get("digest")
        request = {"app": "broken", "node": "local", "environment": "prod", "bundle": digest}
        assert self.system.http("POST", "/api/deployments", request).status_code == 422

    def break_the_store(self) -> None:
        """A flipped byte, the database killed under writes, a worker that crashes where a core dump would be made."""
        flipped = str(uuid4())
        self.system.sql(FLIP.format(new=flipped, old=self.ids["in-config"]))
        answer = self.system.http("POST", f"/api/secrets/{flipped}/value", {})
        assert (answer.status_code, answer.json()["code"]) == (500, "decryption_failed")
        assert flipped in answer.text
        writers = [threading.Thread(target=self._write, args=(number,)) for number in range(3)]
        for writer in writers:
            writer.start()
        while 201 not in self.burst and any(writer.is_alive() for writer in writers):
            time.sleep(0.05)
        self.system.kill_database()
        for writer in writers:
            writer.join()
        assert {201, 503} <= set(self.burst), self.burst
        self.system.await_health()
        (worker,) = self.system.workers()
        os.kill(worker, signal.SIGSEGV)
        deadline = time.monotonic() + 120
        while "a worker ended" not in (self.system.home / "log" / "server.log").read_text():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        self.system.await_health()

    def _write(self, writer: int) -> None:
        ends = time.monotonic() + WRITE_SECONDS
        number = 0
        while not {201, 503} <= set(self.burst) and time.monotonic() < ends:
            number += 1
            body = {"name": f"burst-{writer}-{number}", "value": self.canaries.text(f"while the database dies {writer}")}
            try:
                self.burst.append(self.system.http("POST", "/api/secrets", body).status_code)
            except httpx.TransportError:
                self.burst.append(0)

    def kill_the_agent(self) -> None:
        """In the middle of a deployment; its next life does it again."""
        health = "healthcheck: {test: [CMD, test, -f, /tmp/up], interval: 1s, retries: 30}"
        slow = f"services:\n  a:\n    image: {IMAGE}\n    command: [sh, -c, 'sleep 3; touch /tmp/up; sleep 600']\n    "
        slow += f"stop_grace_period: 1s\n    init: true\n    {health}\n    secrets: [malformed]\n"
        slow += "secrets: {malformed: {external: true}}\n"
        digest = self.system.http("POST", "/api/apps/broken/bundles", {"files": _file(slow)}).json()["digest"]
        request = {"app": "broken", "node": "local", "environment": "prod", "bundle": digest, "wait_timeout": 120}
        made = self.system.http("POST", "/api/deployments", request).json()["id"]
        deadline = time.monotonic() + 90
        while not self._container("a", "broken-prod"):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        self.system.stop("agent", signal.SIGKILL)
        self.system.start("agent", "agent", "run")
        self._ended(made, "succeeded")

    def try_a_passphrase(self, other: System) -> None:
        """A second server whose seal is a passphrase: a right one and wrong ones."""
        right, wrong = self.canaries.text("the passphrase", lines=False), self.canaries.text("a wrong passphrase", lines=False)
        other.cli("server", "init", "--stdin", stdin=right.encode())
        self.search.add_token("owner's token", other.use_owner_token())
        other.start("server", "server", "run")
        other.await_health("/health/live")
        assert other.http("POST", "/api/seal/unseal", {"passphrase": wrong}).status_code == 403
        other.cli("seal", "unseal", "--stdin", stdin=wrong.encode(), expect=77)
        other.cli("seal", "unseal", "--stdin", stdin=right.encode())
        other.await_health()
        value = self.canaries.text("in the second server")
        assert other.http("POST", "/api/secrets", {"name": "n", "value": value}).status_code == 201

    # -- reading what is left -------------------------------------------------------------------------------------------------

    def look_around(self) -> None:
        """Every list and page that may be read."""
        audit = self.system.http("GET", "/api/audit?limit=500")
        assert len(audit.json()["items"]) > 50
        for path in ("/api/openapi.json", "/api/docs", "/api/me", "/api/tokens", "/api/nodes", "/api/keys", "/health/ready",
                     "/api/apps/shop/bundles", "/api/deployments", "/api/seal", "/api/secrets?limit=500",
                     "/metrics"):  # fmt: skip
            assert self.system.http("GET", path).status_code == 200, path
        self.system.cli("audit", "list")
        self.system.cli("agent", "status")

    def undeploy(self) -> None:
        for app in ("shop", "broken"):
            self.system.cli("undeploy", "--app", app, "--env", "prod", "--node", "local")

    def remove_containers(self) -> None:
        """What a story that failed half-way left in the engine."""
        for project in ("shop-prod", "broken-prod"):
            chosen = f"label=com.docker.compose.project={project}"
            if left := docker(self.docker, "ps", "--all", "--quiet", "--filter", chosen).split():
                docker(self.docker, "rm", "--force", "--volumes", *left)


def _file(compose: str) -> list[dict[str, str]]:
    return [{"path": "compose.yaml", "content": compose}]

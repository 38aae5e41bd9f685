"""``compose render`` and ``compose diff`` against a real server, and the four cases of the page about what can be wrong."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import yaml

from overseer.agent.enrolment import join
from overseer.agent.identity import load_identity
from overseer.agent.session import Session
from overseer.core.secret_value import SecretValue
from overseer.server.storage.embedded import EmbeddedPostgres
from overseer.wire.agent import DeploymentReport, ReleaseAnswer, ReleaseRequest
from overseer.wire.deployments import DeploymentView
from tests.e2e.cli.conftest import Overseer

pytestmark = [pytest.mark.postgres]
PLACE = ["--app", "stack", "--env", "stage"]
PAGE = Path(__file__).resolve().parents[3] / "docs" / "how-to" / "troubleshoot.md"
COMPOSE = """\
# kept
services:
  web:
    image: x
    environment:
      - A=${SECRET:db-password}   # kept too
      - B=${SECRET:db-password@1}
      - C=${SECRET:json#user}
      - D=${SECRET:optional:-fallback}
"""


def _json(done: Any) -> Any:
    return json.loads(done.stdout)


def _environment(text: bytes) -> dict[str, str]:
    return dict(one.split("=", 1) for one in yaml.safe_load(text)["services"]["web"]["environment"])


@pytest.fixture(scope="session")
def stack(overseer: Overseer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The app with its secrets, and its project."""
    overseer("app", "create", "stack")
    overseer("env", "create", "stage")
    overseer("env", "create", "elsewhere")
    for value in (b"canary-one", b"canary-$two"):
        overseer("secret", "set", "db-password", *PLACE, "--stdin", stdin=value)
    overseer("secret", "set", "json", *PLACE, "--stdin", stdin=b'{"user": "canary-me"}')
    overseer("secret", "set", "far-away", "--app", "stack", "--env", "elsewhere", "--stdin", stdin=b"canary-far")
    directory = tmp_path_factory.mktemp("stack")
    (directory / "compose.yaml").write_text(COMPOSE)
    return directory


@pytest.fixture
def stranger(overseer: Overseer, stack: Path) -> Iterator[Any]:
    """Make callers with one role over the app: ``stranger("viewer")`` is their token."""
    made = []

    def create(role: str | None) -> str:
        name = f"sa-{os.urandom(4).hex()}"
        made.append(_json(overseer("service-account", "create", name, "--json"))["id"])
        if role is not None:
            overseer("binding", "create", name, role, "--app", "stack", "--env", "*", "--node", "*", "--name", "*")
        return overseer("token", "create", name).stdout.decode().strip()

    yield create
    assert made


@pytest.fixture(scope="session")
def node(overseer: Overseer, stack: Path) -> Iterator[Session]:
    """The agent's side of the node ``stage-1``, by hand: what it is told is reported as done."""
    overseer("node", "create", "stage-1")
    token = overseer("node", "enrol-token", "stage-1").stdout.decode().strip()
    with tempfile.TemporaryDirectory() as home:
        join(SecretValue(token), overseer.url, Path(home))
        identity = load_identity(Path(home))
        assert identity is not None
        session = Session(identity)
        yield session
        session.close()


def _deploy(overseer: Overseer, node: Session, stack: Path, state: str = "succeeded", *, undeploy: bool = False) -> str:
    command = ["undeploy"] if undeploy else ["deploy", str(stack)]
    view = _json(overseer(*command, *PLACE, "--node", "stage-1", "--detach", "--json"))
    path = f"/api/agent/deployments/{view['id']}"
    if not undeploy:
        node.post(f"{path}/release", ReleaseRequest(nonce=base64.b64encode(os.urandom(32)).decode()), ReleaseAnswer)
    node.post(f"{path}/report", DeploymentReport(state="applying"), DeploymentView)
    node.post(f"{path}/report", DeploymentReport(state=state), DeploymentView)
    return str(view["id"])


def _rows(overseer: Overseer, action: str) -> list[dict[str, Any]]:
    return list(_json(overseer("audit", "list", "--action", action, "--app", "stack", "--limit", "200", "--json")))


# -- render -------------------------------------------------------------------------------------------------------------------


def test_masked_it_names_versions_and_fetches_no_value(overseer: Overseer, stack: Path) -> None:
    before = [len(_rows(overseer, action)) for action in ("secret:resolve", "secret:reveal")]
    done = overseer("compose", "render", str(stack / "compose.yaml"), *PLACE)
    assert _environment(done.stdout) == {
        "A": "masked:db-password@2",
        "B": "masked:db-password@1",
        "C": "masked:json@1/user",
        "D": "fallback",
    }
    assert done.stdout.startswith(b"# kept\n")
    assert b"   # kept too\n" in done.stdout
    assert b"canary" not in done.stdout + done.stderr
    assert [len(_rows(overseer, action)) for action in ("secret:resolve", "secret:reveal")] == before
    assert _json(overseer("compose", "render", str(stack / "compose.yaml"), *PLACE, "--json"))["masked"] is True


def test_revealed_it_is_exact_and_audited(overseer: Overseer, stack: Path) -> None:
    done = overseer("compose", "render", str(stack / "compose.yaml"), *PLACE, "--reveal", "--reason", "render-test")
    expected = {"A": "canary-$$two", "B": "canary-one", "C": "canary-me", "D": "fallback"}
    assert _environment(done.stdout) == expected
    resolved = {row["resource_name"] for row in _rows(overseer, "secret:resolve") if row["reason"] == "render-test"}
    assert resolved >= {"db-password", "json"}
    assert [row["reason"] for row in _rows(overseer, "secret:reveal")][:1] == ["render-test"]
    (stack / "app.env").write_text("# kept\nX=${SECRET:db-password}\n")
    env = overseer("compose", "render", str(stack / "app.env"), *PLACE, "--reveal")
    assert env.stdout == b'# kept\nX="canary-$$two"\n'


def test_masked_needs_list_and_revealed_needs_reveal(overseer: Overseer, stack: Path, stranger: Any) -> None:
    file, token = str(stack / "compose.yaml"), stranger("viewer")
    assert b"masked:db-password@2" in overseer("compose", "render", file, *PLACE, OVERSEER_TOKEN=token).stdout
    done = overseer("compose", "render", file, *PLACE, "--reveal", code=65, OVERSEER_TOKEN=token)
    assert done.stdout == b""
    lines = done.stderr.decode().splitlines()
    assert f'{file}:6:11: secret "db-password": you lack secret:reveal for the secret that applies at this place' in lines
    assert any(line.startswith(f"{file}:8:11: ") and "you lack secret:reveal" in line for line in lines)
    done = overseer("compose", "render", file, *PLACE, code=None, OVERSEER_TOKEN=stranger(None))
    assert (done.returncode in {66, 77}, done.stdout) == (True, b"")


def test_every_unavailable_reference_is_told_with_what_was_perhaps_meant(overseer: Overseer, stack: Path) -> None:
    file = stack / "wrong.yaml"
    file.write_text(
        "services:\n  web:\n    image: x\n    environment:\n      A: ${SECRET:db_password}\n      B: ${SECRET:far-away}\n"
        "      C: ${SECRET:db-password@9}\n      D: ${SECRET:json#gone}\n      E: ${SECRET:zzz}\n      F: ${SECRET:db-password}\n"
    )
    said = {
        "5:10": f'secret "db_password" not available for {_scope()}; did you mean "db-password"?',
        "6:10": f'secret "far-away" not available for {_scope()}; it exists for app=stack env=elsewhere: '
        "set it for this scope, or deploy there",
        "7:10": 'secret "db-password" has no version 9; the newest is 2',
        "9:10": f'secret "zzz" not available for {_scope()}; create it or check its name, its scope and your right to use it',
    }
    done = overseer("compose", "render", str(file), *PLACE, code=65)
    assert (done.stdout, done.stderr.decode().splitlines()[1:]) == (
        b"",
        [f"{file}:{place}: {rule}" for place, rule in said.items()],
    )
    done = overseer("compose", "render", str(file), *PLACE, "--reveal", code=65)
    lines = done.stderr.decode().splitlines()[1:]
    assert (done.stdout, lines) == (b"", [f"{file}:{place}: {rule}" for place, rule in said.items()])
    file.write_text(file.read_text().replace("db_password", "db-password").replace("far-away", "json").replace("zzz", "json"))
    done = overseer("compose", "render", str(file), *PLACE, "--reveal", code=65)
    assert [line.split(": ")[0] for line in done.stderr.decode().splitlines()[1:]] == [f"{file}:7:10", f"{file}:8:10"]
    assert "has no field gone" in done.stderr.decode()
    assert "canary" not in done.stderr.decode()


def _scope() -> str:
    return "app=stack env=stage"


def test_a_place_that_does_not_exist_is_told(overseer: Overseer, stack: Path) -> None:
    done = overseer("compose", "render", str(stack / "compose.yaml"), "--app", "stackk", code=66)
    assert (done.stdout, b"this app does not exist" in done.stderr) == (b"", True)


# -- diff ---------------------------------------------------------------------------------------------------------------------


def test_diff_shows_versions_that_would_change_and_its_code_says_so(overseer: Overseer, stack: Path, node: Session) -> None:
    where = [str(stack), *PLACE]
    done = overseer("compose", "diff", *where, code=2)
    assert done.stdout.decode().splitlines()[0] == "any node: nothing deployed yet"
    assert "  + db-password -> 2 (web)" in done.stdout.decode().splitlines()
    deployment = _deploy(overseer, node, stack)
    done = overseer("compose", "diff", *where)
    assert done.stdout.decode().splitlines() == [f"stage-1: deployment {deployment}", "  3 unchanged"]
    for environment in ([], ["--env", "elsewhere"]):
        other = overseer("compose", "diff", str(stack), "--app", "stack", *environment, "--node", "stage-1", code=65)
        assert other.stdout.decode().splitlines()[0] == "stage-1: nothing deployed yet"

    overseer("secret", "set", "db-password", *PLACE, "--stdin", "--immediate", stdin=b"canary-three")
    (stack / "compose.yaml").write_text(COMPOSE.replace("json#user", "optional2:-x").replace("db-password@1", "json"))
    try:
        done = overseer("compose", "diff", *where, "--node", "stage-1", code=2)
        assert done.stdout.decode().splitlines() == [
            f"stage-1: deployment {deployment}",
            "  ~ db-password 2 -> 3 (web)",
            "  - db-password@1 1 -> (web)",
            "  + json -> 1 (web)",
            "  - json#user 1 -> (web)",
            "  1 added, 1 changed, 2 removed",
        ]
        answer = _json(overseer("compose", "diff", *where, "--json", code=2))
        assert (answer[0]["node"], answer[0]["deployment"]) == ("stage-1", deployment)
        assert answer[0]["changes"][0] == {
            "reference": "db-password", "change": "changed", "before": 2, "after": 3, "services": ["web"],
            "places": ["compose.yaml:6:11"],
        }  # fmt: skip
        assert b"canary" not in done.stdout + done.stderr

        (stack / "compose.yaml").write_text(COMPOSE.replace("json#user", "db_password"))
        done = overseer("compose", "diff", *where, "--node", "stage-1", code=65)
        assert "  ! db_password is not available (web)" in done.stdout.decode().splitlines()
        assert f'{stack}/compose.yaml:8:11: secret "db_password" not available for {_scope()} node=stage-1; did you mean ' in (
            done.stderr.decode()
        )
        (stack / "compose.yaml").write_text(COMPOSE.replace("json#user", " x"))
        assert overseer("compose", "diff", *where, code=65).stdout == b""
    finally:
        (stack / "compose.yaml").write_text(COMPOSE)

    _deploy(overseer, node, stack, "failed")
    assert b"a later deployment failed" in overseer("compose", "diff", *where, code=2).stdout
    _deploy(overseer, node, stack, undeploy=True)
    assert b"any node: nothing deployed yet" in overseer("compose", "diff", *where, code=2).stdout


# -- the four cases of the page about finding out what is wrong ------------------------------------------------------------------


def documented(message: str) -> None:
    """The page shows this message: every run of words between names, places and numbers stands there."""
    page = " ".join(PAGE.read_text("utf-8").split())
    assert message in page, message


def test_secret_not_found(overseer: Overseer, stack: Path, node: Session) -> None:
    (stack / "lost").mkdir()
    (stack / "lost" / "compose.yaml").write_text(COMPOSE.replace("SECRET:db-password}", "SECRET:db-pasword}"))
    done = overseer("deploy", str(stack / "lost"), *PLACE, "--node", "stage-1", code=65).stderr.decode()
    assert re.search(
        r'^compose\.yaml:6:11: secret "db-pasword" does not exist for app=stack env=stage node=stage-1; make it: '
        r'overseer secret set db-pasword --app …; did you mean "db-password"\?$', done, re.MULTILINE,
    )  # fmt: skip
    documented("the bundle cannot be deployed there; nothing was changed")
    documented('did you mean "db-password"?')
    found = _json(overseer("secret", "explain", "db-password", *PLACE, "--json"))
    assert found["winner"]["name"] == "db-password"
    documented("overseer secret explain db-password")


def test_injection_failed(overseer: Overseer, stack: Path, node: Session) -> None:
    (stack / "bad").mkdir()
    (stack / "bad" / "compose.yaml").write_text(
        "services:\n  web:\n    image: x\n    ports: ['${SECRET:db-password}']\n    labels: {a: '${SECRET:db-password}'}\n"
        "    environment:\n      - A=${SECRET: db-password}\n    command: [a, ${SECRET:db-password}]\n"
    )
    done = overseer("deploy", str(stack / "bad"), *PLACE, "--node", "stage-1", code=65).stderr.decode()
    told = {line.split(": ")[0]: line.partition(": ")[2] for line in done.splitlines() if line.startswith("compose.yaml:")}
    assert list(told) == ["compose.yaml:4:14", "compose.yaml:5:18", "compose.yaml:7:11", "compose.yaml:8:18"]
    documented("write a reference as ${SECRET:name}")
    documented("put the reference in quotes")
    documented("Compose expects a number, a switch or another typed value here")
    documented("labels and annotations are kept in metadata that everybody who can list containers reads")
    assert "write a reference as ${SECRET:name}" in told["compose.yaml:7:11"]
    assert "put the reference in quotes" in told["compose.yaml:8:18"]
    # The linter finds the same before anything is sent.
    assert b"compose.yaml:8:18: error OVS009" in overseer("compose", "lint", str(stack / "bad"), code=1).stdout


def test_one_round_tells_what_the_text_shows_and_what_the_server_knows(
    overseer: Overseer, stack: Path, node: Session, stranger: Any
) -> None:
    """A reference that is written wrong does not hide a secret that is missing, nor the other way round; nothing is stored."""
    (stack / "both").mkdir()
    file = stack / "both" / "compose.yaml"
    file.write_text(
        "services:\n  web:\n    image: x\n    labels: {a: '${SECRET:db-password}'}\n    environment:\n"
        "      - A=${SECRET:nowhere}\n      - B=${SECRET:db-password@9}\n      - C=${SECRET: db-password}\n"
        "      - D=${SECRET:json#gone}\n      - E=${SECRET:json#user}\n"
    )
    where = [*PLACE, "--node", "stage-1"]

    def told(*arguments: str, **options: Any) -> list[str]:
        said = overseer(*arguments, code=65, **options).stderr.decode()
        lines = (line.removeprefix(f"{stack}/both/") for line in said.splitlines())
        return [line for line in lines if line.startswith("compose.yaml:")]

    deploying = told("deploy", str(stack / "both"), *where)
    assert [line.split(": ")[0].partition(":")[2] for line in deploying] == ["4:18", "6:11", "7:11", "8:11", "9:11"]
    assert 'secret "nowhere" does not exist for app=stack env=stage node=stage-1' in deploying[1]
    assert "no version 9" in deploying[2]
    assert "has no field gone" in deploying[4]
    assert told("deploy", str(stack / "both"), *where, "--allow-persisting") == deploying[1:]
    assert told("plan", str(stack / "both"), *where) == deploying[:4]  # what a plan does not open has no fields
    assert [line.split(": ")[0] for line in told("compose", "diff", str(stack / "both"), *where)] == [
        line.split(": ")[0] for line in deploying[:4]
    ]
    # Who may not deploy learns no more than by listing; who may list nothing learns nothing of what exists.
    viewer = told("deploy", str(stack / "both"), *where, OVERSEER_TOKEN=stranger("viewer"))
    assert viewer == [deploying[0], deploying[3]]
    linted = overseer("compose", "lint", str(file), *where, code=1).stdout.decode().splitlines()
    lines = [line.split(" ")[:3] for line in linted if " error " in line]
    assert [(place.split(":")[-3], rule) for place, _, rule in lines] == [
        ("4", "OVS002"), ("6", "OVS013"), ("7", "OVS013"), ("8", "OVS009"),
    ]  # fmt: skip
    assert overseer("compose", "lint", str(file), "--node", "stage-1", code=2).stdout == b""


def test_a_secret_that_is_missing_on_several_nodes_is_told_once(overseer: Overseer, stack: Path, node: Session) -> None:
    overseer("node", "create", "stage-2")
    (stack / "several").mkdir()
    (stack / "several" / "compose.yaml").write_text(
        "services: {web: {image: x, environment: {A: '${SECRET:nowhere}', B: '${SECRET:on-two}'}}}\n"
    )
    overseer("secret", "set", "on-two", *PLACE, "--node", "stage-2", "--stdin", stdin=b"canary")
    both = [*PLACE, "--node", "stage-1", "--node", "stage-2"]
    done = overseer("deploy", str(stack / "several"), *both, code=65).stderr.decode().splitlines()
    assert "the bundle cannot be deployed on stage-1, stage-2; nothing was changed" in done[-3]
    assert done[-2].startswith('compose.yaml:1:46: secret "nowhere" does not exist for app=stack env=stage node=stage-1')
    assert done[-2].endswith("(the same on stage-2)")
    assert 'secret "on-two" does not exist for app=stack env=stage node=stage-1' in done[-1]
    assert "the same" not in done[-1]


def test_access_denied(overseer: Overseer, stack: Path, stranger: Any) -> None:
    done = overseer("secret", "get", "db-password", *PLACE, code=77, OVERSEER_TOKEN=stranger("viewer")).stderr.decode()
    assert done == "overseer: error: you lack secret:reveal for this secret; ask an owner for a role that holds it\n"
    documented(done.partition("error: ")[2].strip())
    denied = _json(overseer("audit", "list", "--outcome", "denied", "--resource", "db-password", "--json"))
    assert denied[0]["action"] == "secret:reveal"
    documented("overseer audit list --outcome denied")


def test_decryption_error(overseer: Overseer, stack: Path) -> None:
    overseer("secret", "set", "damaged", *PLACE, "--stdin", stdin=b"canary")
    secret_id = _json(overseer("secret", "explain", "damaged", *PLACE, "--json"))["winner"]["id"]
    asyncio.run(_damage(EmbeddedPostgres(overseer.data_dir).start(), secret_id))
    done = overseer("secret", "get", "damaged", *PLACE, code=70)
    message = done.stderr.decode().splitlines()[0]
    assert message.startswith(f"overseer: error: secret {secret_id}, version id ")
    documented(message.split(": ", 3)[3])
    assert b"canary" not in done.stdout + done.stderr
    failed = _json(overseer("audit", "list", "--outcome", "failed", "--resource", "damaged", "--json"))
    assert failed[0]["code"] == "decryption_failed"
    # One damaged row takes nothing else with it.
    assert overseer("secret", "get", "json", *PLACE).stdout == b'{"user": "canary-me"}'
    overseer("secret", "delete", "damaged", *PLACE, "--yes")


async def _damage(url: str, secret_id: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        flip = "UPDATE secret_version SET ciphertext = set_byte(ciphertext, 0, get_byte(ciphertext, 0) # 1) WHERE secret_id = $1"
        assert await connection.execute(flip, secret_id) == "UPDATE 1"
    finally:
        await connection.close()

"""The example that ``overseer quickstart`` deploys: ``examples/shop`` of the repository, and the proof that its secrets arrive.

The proof never shows a value. With Docker the agent compares keyed fingerprints from inside the containers; without Docker a
process computes an HMAC of each value it got under a random key, and it is compared with that of the value in the store.
"""

from __future__ import annotations

import hashlib
import hmac
import importlib.util
import secrets
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Final

import overseer
from overseer.cli.commands.deploy import GRACE_SECONDS, read_bundle
from overseer.cli.commands.run import variable_name
from overseer.cli.deployment_text import require_success
from overseer.client.api import Client
from overseer.core.errors import AlreadyExists, ConfigurationProblem, NodeProblem, Unavailable
from overseer.core.scopes import Scope
from overseer.core.secret_value import SecretValue
from overseer.wire.deployments import DeploymentCreate, DeploymentView

APP: Final = "shop"
ENVIRONMENT: Final = "demo"
NODE: Final = "local"
SCOPE: Final = Scope(APP, ENVIRONMENT)
GENERATORS: Final = {"db-password": "password", "api-key": "token"}
WAIT_SECONDS: Final = 60
#: How the example's forms are called in its README.
_FORMS: Final = {"inline": "environment", "external": "docker secret"}
_KEY_VARIABLE: Final = "QUICKSTART_FINGERPRINT_KEY"

#: What the process target runs: it names each secret with the HMAC of what it got. Nothing of Overseer is in it.
_PROBE: Final = f"""
import hashlib, hmac, os, sys
key, directory = bytes.fromhex(os.environ["{_KEY_VARIABLE}"]), os.environ.get("OVERSEER_SECRETS_DIR")
for name in sys.argv[1:]:
    value = open(os.path.join(directory, name), "rb").read() if directory else os.environb[os.fsencode(name)]
    print(name, hmac.new(key, value, hashlib.sha256).hexdigest())
"""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One reference, where it was read, in which form, and whether the value there is the one in the store."""

    reference: str
    where: str
    form: str
    version: int
    arrived: bool


def example_directory() -> Path:
    """``examples/shop`` of the clone that this program runs from."""
    directory = Path(overseer.__file__).resolve().parents[2] / "examples" / "shop"
    if not (directory / "compose.yaml").is_file():
        raise ConfigurationProblem("the example is part of the repository, not of the package: run 'make run' in a clone of it")
    return directory


def ensure_image(directory: Path, docker: list[str]) -> str | None:
    """Make the example's image where the engine lacks it. Why that cannot be done, or None."""
    images = _load(directory / "images.py")
    try:
        images.ensure_image(docker)
    except images.ImageUnavailable as reason:
        return str(reason)
    return None


def ensure_secrets(client: Client) -> int:
    """The example's app, environment and secrets, made where they are missing; how many secrets are new."""
    for create, name in ((client.apps.create, APP), (client.environments.create, ENVIRONMENT)):
        try:
            create(name, "the example")
        except AlreadyExists:
            continue
    made = 0
    for name, generator in GENERATORS.items():
        try:
            client.secrets.find(name, SCOPE)
        except Unavailable:
            client.secrets.create(name, generate=generator, scope=SCOPE, description="of the example")
            made += 1
    return made


def deploy(client: Client, directory: Path) -> DeploymentView:
    """Deploy the example through the API and the agent; :class:`NodeProblem` where it does not succeed."""
    bundle = client.deployments.create_bundle(APP, read_bundle(directory))
    request = DeploymentCreate(app=APP, node=NODE, environment=ENVIRONMENT, bundle=bundle.digest, wait_timeout=WAIT_SECONDS)
    view = client.deployments.wait(client.deployments.create(request).id, WAIT_SECONDS + GRACE_SECONDS)
    require_success(view)
    return view


def undeploy(client: Client) -> None:
    """Stop the example's containers and wipe its files."""
    request = DeploymentCreate(app=APP, node=NODE, environment=ENVIRONMENT, action="undeploy", wait_timeout=WAIT_SECONDS)
    require_success(client.deployments.wait(client.deployments.create(request).id, WAIT_SECONDS + GRACE_SECONDS))


def arrivals_in_containers(view: DeploymentView) -> list[Arrival]:
    """What the agent saw inside the containers, by fingerprint; not seen is not arrived."""
    found = []
    for reference in view.references:
        services, forms = ", ".join(reference.services), ", ".join(_FORMS.get(kind, kind) for kind in reference.kinds)
        found.append(Arrival(reference.reference, services, forms, reference.version, reference.matches is True))
    return found


def arrivals_in_process(client: Client, token: SecretValue, environment: Mapping[str, str]) -> list[Arrival]:
    """The same by ``overseer run`` in ``environment``: once as environment variables, once as files in memory."""
    credentials = {"OVERSEER_URL": client.url, "OVERSEER_TOKEN": token.reveal().decode("ascii")}
    revealed = client.secrets.resolve(list(GENERATORS), SCOPE, reason="quickstart proof")
    found = []
    for form in ("environment", "file"):
        key = secrets.token_bytes(32)
        names = {name: variable_name(name) if form == "environment" else name for name in revealed}
        run_environment = {**environment, **credentials, _KEY_VARIABLE: key.hex()}
        seen = _probe(run_environment, list(names.values()), files=form == "file")
        for name, item in revealed.items():
            expected = hmac.new(key, item.value.reveal(), hashlib.sha256).hexdigest()
            arrived = hmac.compare_digest(seen.get(names[name], ""), expected)
            found.append(Arrival(name, "a process", form, item.version, arrived))
    return found


def _probe(environment: Mapping[str, str], names: list[str], *, files: bool) -> Mapping[str, str]:
    command = [sys.executable, "-P", "-m", "overseer.cli.main", "run", "--app", APP, "--env", ENVIRONMENT]
    command += ["--only", ",".join(GENERATORS), "--reason", "quickstart proof", *(["--files"] if files else [])]
    done = subprocess.run(
        [*command, "--", sys.executable, "-I", "-c", _PROBE, *names],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        check=False,
        timeout=60,
    )
    if done.returncode != 0:
        raise NodeProblem(f"'overseer run' ended with {done.returncode}")
    return dict(line.split(" ", 1) for line in done.stdout.decode("ascii").splitlines())


def _load(path: Path) -> ModuleType:
    """A module of the example, which is no part of the package."""
    spec = importlib.util.spec_from_file_location("overseer_example_images", path)
    if spec is None or spec.loader is None:
        raise ConfigurationProblem(f"{path} is no Python module")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

"""From ``activate`` until the new value is inside 200 services on ten nodes, through a real server.

The ten agents are threads of this process that speak the real API with keys of their own: they wait for work, get the sealed
payload, open it with their key, check the server's signature and report the fingerprint of what they found for each of their
twenty services. What a node does between opening and reporting (files, containers) is not in it: ``deploy`` measures that.

The time ends when the last report was taken and the new version is the active one. The row of the plain deployment is the same
work for the same agents without a rollout's canary: what it costs at least.
"""

from __future__ import annotations

import base64
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from benchmarks.deploy import compose_file
from benchmarks.installation import Installation, installation
from benchmarks.nodes import enrol, store_bundle
from overseer.agent.identity import Identity, load_identity
from overseer.agent.release import fetch_payload
from overseer.agent.session import Session
from overseer.core.secret_value import SecretValue
from overseer.crypto.fingerprints import fingerprint
from overseer.crypto.keys import HmacKey
from overseer.wire.agent import DeploymentReport, FingerprintReport, PollAnswer, PollRequest, ReleasePayload
from overseer.wire.deployments import DeploymentView, ServiceState

ROUNDS, NODES, SERVICES = 5, 10, 20
BOUND_SECONDS: Final = 5.0
_DEADLINE_SECONDS: Final = 60.0


class _Agent:
    """One node's agent. ``held`` is the version of the secret that its last report was about."""

    def __init__(self, identity: Identity) -> None:
        self.identity, self.held = identity, 0
        self._stopping = threading.Event()

    def run(self) -> None:
        """Until :meth:`stop`."""
        session = Session(self.identity)
        try:
            while not self._stopping.is_set():
                for work in session.post("/api/agent/poll", PollRequest(wait_seconds=2), PollAnswer).work:
                    self._do(session, work.deployment_id)
        finally:
            session.close()

    def stop(self) -> None:
        """Begin no other poll."""
        self._stopping.set()

    def _do(self, session: Session, deployment: str) -> None:
        path = f"/api/agent/deployments/{deployment}/report"
        session.post(path, DeploymentReport(state="applying"), DeploymentView)
        payload = fetch_payload(session, self.identity, deployment)
        session.post(path, _success(payload), DeploymentView)
        self.held = payload.values[0].version


def _success(payload: ReleasePayload) -> DeploymentReport:
    """What an agent says whose containers all hold the values of ``payload``."""
    key = HmacKey(payload.fingerprint_key)
    services = [f"service-{number}" for number in range(SERVICES)]
    found = [
        FingerprintReport(
            reference=one.reference,
            service=service,
            fingerprint=base64.b64encode(fingerprint(key, one.reference, SecretValue(one.value))).decode("ascii"),
        )
        for one in payload.values
        for service in services
    ]
    states = [
        ServiceState(service=one, container_id=f"{number:064x}", state="running", health="")
        for number, one in enumerate(services)
    ]
    return DeploymentReport(state="succeeded", services=states, fingerprints=found)


def measure(rounds: int = ROUNDS) -> list[dict[str, Any]]:
    """Rows ``{name, value, unit, floor, ratio, aim}``; the times are medians (and the slowest) in seconds."""
    with installation() as made, tempfile.TemporaryDirectory() as place, _agents(made, Path(place)) as agents:
        secret = made.call("POST", "/api/secrets", {"name": "key", "generate": "hex:16"})["id"]
        bundle = store_bundle(made, "bench", compose_file(SERVICES, "{external: true}"))
        plain = [_deploy(made, bundle) for _ in range(rounds + 1)][1:]  # the first fills caches
        made.call("PUT", f"/api/secrets/{secret}", {"generate": "hex:16", "activate": False})
        times = [_activate(made, secret, 2 - number % 2, agents) for number in range(rounds + 1)][1:]
    middle, floor = statistics.median(times), statistics.median(plain)
    what = f"activate to inside {NODES * SERVICES} services on {NODES} agents"
    return [
        _row(f"{what}, slowest / bound of {BOUND_SECONDS:g} s", max(times), BOUND_SECONDS, 1.0),
        _row(f"{what} / plain deployment", middle, floor, None),
    ]


@contextmanager
def _agents(made: Installation, place: Path) -> Iterator[list[_Agent]]:
    agents = []
    for number in range(NODES):
        enrol(made, f"node-{number}", place / str(number))
        identity = load_identity(place / str(number))
        assert identity is not None
        agents.append(_Agent(identity))
    with ThreadPoolExecutor(NODES) as pool:
        running = [pool.submit(agent.run) for agent in agents]
        try:
            yield agents
        finally:
            for agent in agents:
                agent.stop()
        for one in running:
            one.result()


def _deploy(made: Installation, bundle: str) -> float:
    """Seconds of one deployment of all nodes at once."""
    body = {"app": "bench", "bundle": bundle, "nodes": [f"node-{number}" for number in range(NODES)], "parallel": NODES}
    began = time.perf_counter()
    group = made.call("POST", "/api/deployments", body)["group"]
    while (view := made.call("GET", f"/api/deployment-groups/{group}"))["state"] == "running":
        _check(began)
        time.sleep(0.02)
    _prove(view["state"], view["deployments"])
    return time.perf_counter() - began


def _activate(made: Installation, secret: str, version: int, agents: list[_Agent]) -> float:
    """Seconds from the call until ``version`` is active and every agent has it."""
    began = time.perf_counter()
    rollout = made.call("POST", f"/api/secrets/{secret}/activate", {"version": version})["rollout"]
    while (view := made.call("GET", f"/api/rollouts/{rollout}"))["state"] == "running":
        _check(began)
        time.sleep(0.02)
    while view["state"] == "succeeded" and {agent.held for agent in agents} != {version}:
        _check(began)  # the last agent has yet to hear that its report was taken
        time.sleep(0.002)
    spent = time.perf_counter() - began
    if {agent.held for agent in agents} != {version} or made.call("GET", f"/api/secrets/{secret}")["active_version"] != version:
        raise RuntimeError(f"the rollout {view['state']}, but version {version} is not everywhere")
    steps = [step["deployment_id"] for node in view["nodes"] for step in node["steps"]]
    _prove(view["state"], [made.call("GET", f"/api/deployments/{one}") for one in steps])
    return spent


def _prove(state: str, deployments: list[dict[str, Any]]) -> None:
    """RuntimeError unless the server itself found on every node the fingerprint that it expected."""
    matches = [reference["matches"] for one in deployments for reference in one["references"]]
    if state != "succeeded" or matches != [True] * NODES:
        raise RuntimeError(f"{state}: {matches}")


def _check(began: float) -> None:
    if time.perf_counter() - began > _DEADLINE_SECONDS:
        raise RuntimeError(f"not done after {_DEADLINE_SECONDS:.0f} s")


def _row(name: str, value: float, floor: float, aim: float | None) -> dict[str, Any]:
    rounded = {"value": round(value, 2), "floor": round(floor, 2), "ratio": round(value / floor, 2)}
    return {"name": name, **rounded, "unit": "s", "aim": aim}

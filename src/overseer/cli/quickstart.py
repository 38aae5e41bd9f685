"""``overseer quickstart``: a whole Overseer on this machine, the example in it, and the proof that its secrets arrive.

Everything that it starts it stops, in the reverse order, whatever happens: the example's containers, the agent, the server and
with it the embedded database. What stays is the data directory, which the next run finds. It tells what it does, and says plainly
where there is no Docker engine, or where it had to accept that memory may be swapped out.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Final

from overseer.agent.engine import Engine
from overseer.agent.enrolment import join
from overseer.agent.identity import load_identity
from overseer.agent.injection.memory_root import Allow, open_root
from overseer.agent.settings import AgentSettings
from overseer.cli import example
from overseer.cli.child_processes import ChildProcess
from overseer.cli.output import paint, print_line, print_table, report, say
from overseer.cli.progress import step
from overseer.cli.server_setup import keep_invitation, owner_token_path, renew_token, set_up
from overseer.client.addresses import DEFAULT_URL
from overseer.client.api import Client
from overseer.core.errors import (
    AlreadyExists,
    ConfigurationProblem,
    NodeProblem,
    OverseerError,
    Unauthenticated,
    Unreachable,
)
from overseer.core.secret_value import SecretValue
from overseer.server.settings import load_settings

START_SECONDS: Final = 60.0
SERVER_STOP_SECONDS: Final = 40.0
AGENT_STOP_SECONDS: Final = 30.0


class Quickstart:
    """One run. ``data_dir`` None is the setting's value or its default."""

    def __init__(self, data_dir: Path | None) -> None:
        self._environment = {key: text for key, text in os.environ.items() if key not in ("OVERSEER_TOKEN", "OVERSEER_URL")}
        if data_dir is not None:
            self._environment["OVERSEER_DATA_DIR"] = str(data_dir.absolute())
        self._settings = load_settings(self._environment)
        self._environment["OVERSEER_DATA_DIR"] = str(self._settings.data_dir)
        self._agent_settings = AgentSettings.load(self._environment)
        self._children: list[ChildProcess] = []
        self._began = time.monotonic()

    def run(self, *, once: bool) -> None:
        """All steps; returns after Ctrl-C or SIGTERM, or ``once`` after the proof. Raises what a step raised, all stopped."""
        directory = example.example_directory()
        if self._settings.port == 0 or self._settings.seal == "passphrase":
            raise ConfigurationProblem("quickstart needs a fixed port in OVERSEER_LISTEN, and a seal that opens by itself")
        say(paint("Overseer quickstart", "bold", sys.stderr))
        with _terminable(), ExitStack() as started:
            started.callback(lambda: say(f"stopped; data and logs stay in {self._settings.data_dir}"))
            token = self._start_server(started)
            with Client(self._settings.url, token) as client:
                engine = self._start_agent(started, client)
                arrivals = self._prove(started, client, engine, directory, token)
                self._tell(arrivals, self._invitation(client), staying=not once)
                if not once:
                    self._stay()

    # -- the parts --------------------------------------------------------------------------------------------------------

    def _start_server(self, started: ExitStack) -> SecretValue:
        """Set up and serve; the owner's token."""
        self._refuse_taken_port()
        with step("database, keys and owner") as current:
            done = set_up(self._settings)
            current.note = "new" if done.created else "found from before"
        if done.created:
            for line in done.recovery_kit.splitlines():
                say(paint(f"    {line}", "dim", sys.stderr))
        with step("server") as current:
            server = self._child(started, "server", ["server", "run"], SERVER_STOP_SECONDS)
            self._await_ready(server)
            current.note = self._settings.url
        return self._owner_token()

    def _start_agent(self, started: ExitStack, client: Client) -> Engine | None:
        """The node and its agent; the Docker engine where one answers."""
        with step("node and agent") as current:
            with suppress(AlreadyExists):
                client.nodes.create(example.NODE, "this machine")
            current.note = f"node {example.NODE}"
            self._enrol(client)
            self._environment["OVERSEER_TMPFS_ALLOW"] = self._memory_allowance().value
            try:
                engine = Engine.find(
                    self._agent_settings.docker,
                    self._agent_settings.compose,
                    self._agent_settings.docker_host,
                    self._agent_settings.docker_config,
                )
            except ConfigurationProblem as reason:
                current.note += ", enrolled; its agent is not started without Docker"
                self._without_docker = reason.message
                return None
            agent = self._child(started, "agent", ["agent", "run"], AGENT_STOP_SECONDS)
            self._await_agent(agent, client)
        self._without_docker = "no Docker engine answers" if os.geteuid() == 0 else "no Docker engine answers to this user"
        return engine if engine.answers() else None

    def _prove(
        self, started: ExitStack, client: Client, engine: Engine | None, directory: Path, token: SecretValue
    ) -> list[example.Arrival]:
        with step("secrets of the example") as current:
            made = example.ensure_secrets(client)
            total = len(example.GENERATORS)
            current.note = f"app {example.APP}, environment {example.ENVIRONMENT}: {total} secrets, {made} new"
        if engine is not None:
            with step("image of the example") as current:
                reason = example.ensure_image(directory, engine.docker)
                current.note = "not to be had" if reason else ""
            if reason is None:
                with step("deployment with Docker") as current:
                    started.callback(self._undeploy, client)
                    view = example.deploy(client, directory)
                    current.note = f"{len(view.services)} containers of project {view.project}"
                return example.arrivals_in_containers(view)
            self._without_docker = f"the example's image cannot be made: {reason}"
        say(f"    {self._without_docker}: proving the same with a process, by 'overseer run'")
        with step("process with the secrets"):
            return example.arrivals_in_process(client, token, self._environment)

    def _undeploy(self, client: Client) -> None:
        try:
            with step("stopping the example's containers"):
                example.undeploy(client)
        except OverseerError as error:
            report(error)

    def _stay(self) -> None:
        try:
            say("\nRunning; Ctrl-C stops what was started here. Containers that you deployed yourself keep running.")
            while True:
                for child in self._children:
                    child.require_running()
                time.sleep(0.5)
        except KeyboardInterrupt:
            say("")

    # -- smaller things ---------------------------------------------------------------------------------------------------

    def _refuse_taken_port(self) -> None:
        family = socket.AF_INET6 if ":" in self._settings.host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((self._settings.host, self._settings.port))
            except OSError as error:
                where, why = f"{self._settings.host}:{self._settings.port}", (error.strerror or "").lower()
                raise ConfigurationProblem(
                    f"cannot listen on {where} ({why}): another program, maybe another quickstart, is there; stop it, or choose "
                    "another port, as in OVERSEER_LISTEN=127.0.0.1:8421"
                ) from None

    def _child(self, started: ExitStack, name: str, arguments: list[str], stop_seconds: float) -> ChildProcess:
        child = ChildProcess(name, arguments, self._environment, self._settings.data_dir / "log" / f"{name}.log")
        started.callback(self._stop, child, stop_seconds)
        self._children.append(child)
        return child

    def _stop(self, child: ChildProcess, seconds: float) -> None:
        with step(f"stopping the {child.name}") as current:
            if not child.stop(seconds):
                current.note = "it had to be ended"

    def _await_ready(self, server: ChildProcess) -> None:
        deadline = time.monotonic() + START_SECONDS
        with Client(self._settings.url, need_token=False, timeout=5.0) as client:
            while True:
                server.require_running()
                with suppress(Unreachable):
                    if client.health().status == "ok":
                        return
                if time.monotonic() > deadline:
                    raise ConfigurationProblem(f"the server is not ready after {START_SECONDS:.0f} s; see {server.log}")
                time.sleep(0.1)

    def _await_agent(self, agent: ChildProcess, client: Client) -> None:
        """Until the agent has polled, which the server notes."""
        before = client.nodes.get(example.NODE).last_seen_at
        deadline = time.monotonic() + START_SECONDS
        while client.nodes.get(example.NODE).last_seen_at == before:
            agent.require_running()
            if time.monotonic() > deadline:
                raise ConfigurationProblem(f"the agent did not reach the server in {START_SECONDS:.0f} s; see {agent.log}")
            time.sleep(0.2)

    def _owner_token(self) -> SecretValue:
        """The token in the data directory; a new one where the file is gone or its token is dead."""
        path = owner_token_path(self._settings)
        for renewed in (False, True):
            if renewed:
                renew_token(self._settings)
                say(f"    the owner's token was gone or dead; a new one is in {path}")
            try:
                token = SecretValue(path.read_bytes().strip())
                with Client(self._settings.url, token) as client:
                    client.me()
                return token
            except (FileNotFoundError, Unauthenticated):
                continue
        raise ConfigurationProblem(f"the owner's token in {path} does not work")

    def _invitation(self, client: Client) -> Path | None:
        """Where the invitation lies with which the owner sets a password for the web pages; None where there is one."""
        owner = client.me()
        if client.users.get(owner.id).has_password:
            return None
        return keep_invitation(self._settings, SecretValue(client.users.reset(owner.id).invitation))

    def _enrol(self, client: Client) -> None:
        directory = self._agent_settings.directory
        known = load_identity(directory)
        if known is not None:
            if known.record.url != str(client.http.address):
                raise ConfigurationProblem(
                    f"the agent in {directory} was enrolled at {known.record.url}: set OVERSEER_LISTEN as it was then, or remove "
                    "that directory to enrol it anew"
                )
            return
        token = SecretValue(client.nodes.enrolment_token(example.NODE).token)
        ca_file = self._environment.get("OVERSEER_CA_FILE")
        join(token, self._settings.url, directory, Path(ca_file) if ca_file else None)

    def _memory_allowance(self) -> Allow:
        """What the agent has to accept of this machine's memory; never a disk."""
        wanted, allow = self._agent_settings.tmpfs_root, self._agent_settings.tmpfs_allow
        try:
            open_root(wanted, allow, self._environment).release()
        except ConfigurationProblem:
            if allow is not Allow.NONE:
                raise
            open_root(wanted, Allow.SWAP, self._environment).release()
            say("    swap is on here, so the example's values may be swapped out: see OVERSEER_TMPFS_ALLOW")
            return Allow.SWAP
        return allow

    def _tell(self, arrivals: list[example.Arrival], invitation: Path | None, *, staying: bool) -> None:
        say("")
        print_table(
            ("REFERENCE", "READ IN", "FORM", "VERSION", "FINGERPRINT"),
            [(a.reference, a.where, a.form, str(a.version), "matches" if a.arrived else "DOES NOT MATCH") for a in arrivals],
        )
        sys.stdout.flush()
        if not arrivals or not all(arrival.arrived for arrival in arrivals):
            raise NodeProblem("not every secret arrived where it should")
        token = owner_token_path(self._settings)
        seconds = time.monotonic() - self._began
        say(f"\nEvery secret arrived, as its fingerprint shows; no value was printed. {seconds:.0f} s after the start.\n")
        rows = [
            ("web pages", self._settings.url + (f"/invitation with what is in {invitation}" if invitation else "")),
            ("owner's token", f"{token} (0600)"),
            ("data, logs", str(self._settings.data_dir)),
        ]
        if staying:
            command = "overseer" if shutil.which("overseer") else sys.argv[0]
            where = "" if self._settings.url == DEFAULT_URL else f"{self._settings.url} "
            rows += [
                ("try", f"{command} login {where}--token-file {token}"),
                ("", f"{command} secret list --app {example.APP}"),
                ("", f"{command} audit list"),
            ]
        for label, text in rows:
            print_line(f"{paint(label.ljust(13), 'dim', sys.stdout)}  {text}")
        sys.stdout.flush()


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends like Ctrl-C; the first of either begins the stopping, a second one does not disturb it."""
    stopping = False

    def end(_number: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        if stopping:
            say("  stopping already …")
            return
        stopping = True
        raise KeyboardInterrupt

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

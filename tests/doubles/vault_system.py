"""What an operator asks of the Vault double over HTTP: mounts, auth methods, policies, tokens, leases, namespaces, the seal.

:class:`DoubleVault` serves a double with all of this, under the hands of the administrator that a real server has as well.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.doubles.vault_approle import AppRole
from tests.doubles.vault_kv import Jwt, Kv1, Kv2
from tests.doubles.vault_server import Answer, AuthMethod, Engine, Refusal, VaultRequest, VaultServer, served
from tests.doubles.vault_transit import TransitEngine
from tests.vault_administration import VaultAdministrator

_METHODS: dict[str, Callable[[], AuthMethod]] = {"approle": AppRole, "jwt": Jwt}


class System:
    """The engine at ``sys/``."""

    def __init__(self, server: VaultServer) -> None:
        self._server = server

    def creates(self, request: VaultRequest) -> bool:
        """Nothing here asks for ``create``; root may do all of it."""
        del request
        return False

    def handle(self, request: VaultRequest) -> Answer:
        kind, _, name = request.path.partition("/")
        if request.operation == "delete":
            self._take(kind, name.removeprefix("acl/"))
        elif kind == "mounts":
            self._server.mounts[name] = _engine(request)
        elif kind == "auth":
            self._server.auth[name] = _METHODS[request.body["type"]]()
        elif kind == "policies":
            rules = json.loads(request.body["policy"])["path"]
            self._server.policies[name.removeprefix("acl/")] = {
                path: frozenset(rule["capabilities"]) for path, rule in rules.items()
            }
        elif kind == "leases":
            self._revoke(name.removeprefix("revoke-prefix/"))
        else:
            raise Refusal(404, f'unsupported path "{request.path}"')
        return Answer()

    def _take(self, kind: str, name: str) -> None:
        held = {"mounts": self._server.mounts, "auth": self._server.auth, "policies": self._server.policies}
        held[kind].pop(name, None)  # type: ignore[attr-defined]  # three dicts by name

    def _revoke(self, prefix: str) -> None:
        for text, token in list(self._server.tokens.items()):
            if token.path.startswith(prefix):
                del self._server.tokens[text]


def _engine(request: VaultRequest) -> Engine:
    kind, version = request.body["type"], request.body.get("options", {}).get("version", "1")
    if kind == "transit":
        return TransitEngine()
    return Kv2() if version == "2" else Kv1()


class DoubleVault(VaultAdministrator):
    """The double, as its operator has it; ``server`` is its state, for what no operator of a real one could do."""

    def __init__(self, server: VaultServer, url: str) -> None:
        super().__init__(url, root_token=server.root_token)
        self.server = server
        self.share = server.share

    def enter(self, name: str) -> None:
        """The one namespace that the double has."""
        self.server.namespace = self.namespace = f"{name}-1"

    def seal(self) -> None:
        """Seal it, whatever its namespace: no other has anything in this double."""
        self.server.sealed = True

    def jwt_role(self, name: str, *policies: str, seconds: int = 3600) -> str:
        """The double verifies no signature: it knows which token is signed."""
        self.enable("jwt")
        method = self.server.auth["jwt"]
        assert isinstance(method, Jwt)
        method.roles[name], method.tokens[f"signed.for.{name}"] = policies, name
        self.server.lease = seconds
        return f"signed.for.{name}"

    def asked(self) -> list[str]:
        """The paths of what it answered since the last look."""
        paths = [path.removeprefix("/v1/") for _, path, _ in self.server.requests]
        self.server.requests.clear()
        return paths


@contextmanager
def double_vault() -> Iterator[DoubleVault]:
    """A new double on loopback, without mounts."""
    server = VaultServer()
    server.mounts["sys"] = System(server)
    with served(server) as url:
        vault = DoubleVault(server, url)
        try:
            yield vault
        finally:
            vault.close()

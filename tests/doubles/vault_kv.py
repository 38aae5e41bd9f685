"""The KV engines of the Vault double, version 1 and 2, and the auth methods JWT and TLS certificates.

KV 2 as published: ``data/``, ``metadata/``, ``delete/``, ``undelete/``, ``destroy/``; a deleted or destroyed version answers 404
*with* its metadata; a read of a path without ``data/`` answers 404 with a warning.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.doubles.vault_server import Answer, Refusal, VaultRequest, VaultServer

WRONG_PATH = (
    "Invalid path for a versioned K/V secrets engine. See the API docs for the appropriate API endpoints to use. "
    "If using the OpenBao CLI, use 'bao kv get' for this operation."
)


@dataclass
class Version:
    """One version of a secret."""

    data: dict[str, Any] | None
    created: str = field(default_factory=lambda: datetime.now(UTC).isoformat())
    deleted: str = ""
    destroyed: bool = False

    def metadata(self, number: int) -> dict[str, Any]:
        return {
            "created_time": self.created,
            "custom_metadata": None,
            "deletion_time": self.deleted,
            "destroyed": self.destroyed,
            "version": number,
        }


class Kv1:
    """Values by path."""

    type = "kv"
    options = {"version": "1"}

    def __init__(self) -> None:
        self.values: dict[str, dict[str, Any]] = {}

    def creates(self, request: VaultRequest) -> bool:
        return request.path not in self.values

    def handle(self, request: VaultRequest) -> Answer:
        if request.operation == "list":
            return Answer({"keys": _keys(self.values, request.path)})
        if request.operation == "update":
            self.values[request.path] = request.body
            return Answer()
        if request.path not in self.values:
            raise Refusal(404)
        if request.operation == "delete":
            del self.values[request.path]
            return Answer()
        return Answer(self.values[request.path], lease=2764800)


class Kv2:
    """Versions by path."""

    type = "kv"
    options = {"version": "2"}

    def __init__(self) -> None:
        self.versions: dict[str, list[Version]] = {}

    def put(self, path: str, **data: Any) -> None:
        """A new version, as somebody else writes it."""
        self.versions.setdefault(path, []).append(Version(data))

    def creates(self, request: VaultRequest) -> bool:
        return request.path.partition("/")[2] not in self.versions

    def handle(self, request: VaultRequest) -> Answer:
        below, _, path = request.path.partition("/")
        if below == "metadata" and request.operation == "list":
            return Answer({"keys": _keys(self.versions, path)})
        if below == "data":
            return self._data(request, path)
        if below in ("delete", "undelete", "destroy") and request.operation == "update":
            for number in request.body["versions"]:
                self._mark(self.versions[path][number - 1], below)
            return Answer()
        if below == "metadata" and request.operation == "read" and path in self.versions:
            found = self.versions[path]
            return Answer(
                {"current_version": len(found), "versions": {str(n + 1): v.metadata(n + 1) for n, v in enumerate(found)}}
            )
        if below == "metadata" and request.operation == "delete":
            self.versions.pop(path, None)
            return Answer()
        return Answer(warnings=[WRONG_PATH], status=404)

    def _data(self, request: VaultRequest, path: str) -> Answer:
        found = self.versions.get(path, [])
        if request.operation == "update":
            self.put(path, **request.body["data"])
            return Answer(self.versions[path][-1].metadata(len(self.versions[path])))
        if request.operation == "delete" and found:
            self._mark(found[-1], "delete")
            return Answer()
        number = int(request.query.get("version", "0")) or len(found)
        if not 1 <= number <= len(found):
            raise Refusal(404)
        version = found[number - 1]
        gone = bool(version.deleted) or version.destroyed
        data = {"data": None if gone else version.data, "metadata": version.metadata(number)}
        return Answer(data, status=404 if gone else 200)

    def _mark(self, version: Version, how: str) -> None:
        if how == "destroy":
            version.destroyed, version.data = True, None
        else:
            version.deleted = datetime.now(UTC).isoformat() if how == "delete" else ""


@dataclass
class Jwt:
    """The auth method JWT: roles, and the tokens that an issuer would have signed for them."""

    roles: dict[str, tuple[str, ...]] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)

    def handle(self, server: VaultServer, request: VaultRequest) -> Answer:
        role = request.body.get("role", "")
        if role not in self.roles:
            raise Refusal(400, f'role "{role}" could not be found')
        if self.tokens.get(request.body.get("jwt", "")) != role:
            why = "no known key successfully validated the token signature"
            raise Refusal(400, f"error validating token: error verifying token signature: {why}")
        return server.login("auth/jwt/login", self.roles[role], {"role": role})


@dataclass
class Cert:
    """The auth method of TLS certificates: whoever got here has shown one of the CA."""

    policies: tuple[str, ...]
    name: str = "overseer"

    def handle(self, server: VaultServer, request: VaultRequest) -> Answer:
        if request.body.get("name", self.name) != self.name:
            raise Refusal(400, "failed to match all constraints for this login certificate")
        return server.login("auth/cert/login", self.policies, {"cert_name": self.name})


def _keys(paths: Any, folder: str) -> list[str]:
    prefix = f"{folder.strip('/')}/" if folder.strip("/") else ""
    below = [path[len(prefix) :] for path in paths if path.startswith(prefix)]
    found = sorted({name.partition("/")[0] + "/" * ("/" in name) for name in below})
    if not found:
        raise Refusal(404)
    return found

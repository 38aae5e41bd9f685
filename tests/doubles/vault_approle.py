"""The AppRole auth method of the Vault double: roles with a role id, secret ids that can be used a number of times."""

from __future__ import annotations

import secrets
import uuid
from dataclasses import dataclass, field

from tests.doubles.vault_server import Answer, Refusal, VaultRequest, VaultServer


@dataclass
class Role:
    """``secret_ids`` maps each to the uses that it has left (0: any number); ``uses`` is what new ones get, ``lease`` seconds."""

    policies: tuple[str, ...]
    role_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    secret_ids: dict[str, int] = field(default_factory=dict)
    uses: int = 0
    lease: int = 0

    def secret_id(self, uses: int = 0) -> str:
        """A new one."""
        made = str(uuid.uuid4())
        self.secret_ids[made] = uses
        return made


class AppRole:
    """Login, and what an administrator does with roles."""

    def __init__(self) -> None:
        self.roles: dict[str, Role] = {}

    def handle(self, server: VaultServer, request: VaultRequest) -> Answer:
        if request.path == "login" and request.operation == "update":
            return self._login(server, request)
        kind, _, rest = request.path.partition("/")
        name, _, action = rest.partition("/")
        if kind != "role":
            raise Refusal(404, f'unsupported path "{request.path}"')
        if request.operation == "update" and not action:
            policies = request.body.get("token_policies", [])
            given = policies.split(",") if isinstance(policies, str) else policies
            lease = int(str(request.body.get("token_ttl", "0")).removesuffix("s"))
            self.roles[name] = Role(tuple(given), uses=int(request.body.get("secret_id_num_uses", 0)), lease=lease)
            return Answer()
        role = self.roles.get(name)
        if role is None:
            raise Refusal(404)
        if action == "role-id" and request.operation == "read":
            return Answer({"role_id": role.role_id})
        if action == "secret-id" and request.operation == "update":
            accessor = secrets.token_hex(8)
            made = {"secret_id": role.secret_id(role.uses), "secret_id_accessor": accessor}
            return Answer({**made, "secret_id_num_uses": role.uses, "secret_id_ttl": 0})
        raise Refusal(404, f'unsupported path "{request.path}"')

    def _login(self, server: VaultServer, request: VaultRequest) -> Answer:
        role_id, secret_id = request.body.get("role_id", ""), request.body.get("secret_id", "")
        if not role_id:
            raise Refusal(500, "missing role_id")  # so OpenBao has it
        name, role = next(((name, one) for name, one in self.roles.items() if one.role_id == role_id), ("", None))
        if not secret_id:
            raise Refusal(400, "missing secret_id")
        if role is None or secret_id not in role.secret_ids:
            raise Refusal(400, "invalid role or secret ID")
        left = role.secret_ids[secret_id]
        if left == 1:
            del role.secret_ids[secret_id]
        elif left:
            role.secret_ids[secret_id] = left - 1
        return server.login("auth/approle/login", role.policies, {"role_name": name}, role.lease)

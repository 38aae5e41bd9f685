"""A Vault that a test sets up as its operator would, over the HTTP API: the same calls for the double and for a real OpenBao.

Guarantees: what was mounted, allowed and enabled here is gone after :meth:`VaultAdministrator.tidy`, so that tests share a server
and find it empty. It sees what it is told to do and nothing else; what a client was answered is the test's to judge.
"""

from __future__ import annotations

import itertools
import json
import ssl
import time
from pathlib import Path
from typing import Any

import httpx
from joserfc import jwt
from joserfc.jwk import ECKey

READY_SECONDS = 60.0
_NUMBERS = itertools.count(1)
_ISSUER = ECKey.generate_key("P-256")


class VaultAdministrator:
    """``url``, ``ca_pem`` ('' for plain http), ``namespace`` and ``root_token`` are what a client needs; ``share`` unseals it."""

    def __init__(self, url: str, ca_file: Path | None = None, root_token: str = "") -> None:
        self.url = url
        self.ca_file = ca_file
        self.ca_pem = ca_file.read_text() if ca_file else ""
        self.root_token = root_token
        self.share = ""
        self.namespace = ""
        self._made: list[str] = []
        self._rules: dict[str, dict[str, dict[str, list[str]]]] = {}
        self._versions: dict[str, int] = {}
        verify: ssl.SSLContext | bool = ssl.create_default_context(cafile=ca_file) if ca_file else False
        self._client = httpx.Client(base_url=f"{url}/v1/", verify=verify, timeout=30, trust_env=False)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def ask(
        self, method: str, path: str, body: Any = None, *, token: str | None = None, namespace: str | None = None
    ) -> httpx.Response:
        """One request, as root where no token is named ('' sends none); the answer as it came."""
        headers = {"X-Vault-Request": "true"}
        if shown := self.root_token if token is None else token:
            headers["X-Vault-Token"] = shown
        if inside := self.namespace if namespace is None else namespace:
            headers["X-Vault-Namespace"] = inside
        return self._client.request(method, path, json=body, headers=headers)

    def call(self, method: str, path: str, body: Any = None, *, token: str | None = None, namespace: str | None = None) -> Any:
        """The JSON of an answer that is no refusal ({} of an empty one)."""
        answer = self.ask(method, path, body, token=token, namespace=namespace)
        assert answer.status_code in (200, 204), (method, path, answer.status_code, answer.text)
        return answer.json() if answer.content else {}

    def enter(self, name: str) -> None:
        """Make a :attr:`namespace` that begins so; everything from here on is done inside it.

        Each has a name of its own: a namespace that was deleted goes in its own time.
        """
        namespace = f"{name}-{next(_NUMBERS)}"
        self.call("POST", f"sys/namespaces/{namespace}", {}, namespace="")
        self.namespace = namespace

    def mount(self, path: str, kind: str = "transit", **options: str) -> None:
        """A secrets engine."""
        self.call("POST", f"sys/mounts/{path}", {"type": kind, "options": options})
        self._made.append(f"sys/mounts/{path}")

    def kv(self, path: str, version: int = 2) -> None:
        """A KV engine that is ready: a new one of version 2 says 400 for a moment, while it makes itself ready."""
        self.mount(path, "kv", version=str(version))
        self._versions[path] = version
        deadline = time.monotonic() + READY_SECONDS
        while version == 2 and self.ask("GET", f"{path}/data/x").status_code != 404:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def put(self, mount: str, path: str, **data: Any) -> None:
        """A secret, or a new version of it."""
        two = self._versions[mount] == 2
        self.call("POST", f"{mount}/data/{path}" if two else f"{mount}/{path}", {"data": data} if two else data)

    def mark(self, mount: str, path: str, how: str, version: int) -> None:
        """``delete``, ``undelete`` or ``destroy`` a version."""
        self.call("PUT", f"{mount}/{how}/{path}", {"versions": [version]})

    def allow(self, policy: str, path: str, *capabilities: str) -> None:
        """Add a rule to a policy."""
        rules = self._rules.setdefault(policy, {})
        rules[path] = {"capabilities": list(capabilities)}
        self.call("POST", f"sys/policies/acl/{policy}", {"policy": json.dumps({"path": rules})})
        self._made.append(f"sys/policies/acl/{policy}")

    def deny(self, policy: str) -> None:
        """Take every rule of a policy."""
        self._rules[policy] = {}
        self.call("POST", f"sys/policies/acl/{policy}", {"policy": json.dumps({"path": {}})})

    def token(self, *policies: str, seconds: int = 3600) -> str:
        """A renewable token with a lease."""
        made = self.call("POST", "auth/token/create", {"policies": list(policies), "ttl": f"{seconds}s"})
        return str(made["auth"]["client_token"])

    def enable(self, kind: str) -> None:
        """An auth method at its own name, once."""
        if f"sys/auth/{kind}" not in self._made:
            self.call("POST", f"sys/auth/{kind}", {"type": kind})
            self._made.append(f"sys/auth/{kind}")

    def approle(self, name: str, *policies: str, seconds: int = 3600, uses: int = 0) -> tuple[str, str]:
        """Role id and secret id of a role whose tokens live so long; ``uses`` of the secret id, 0 for any number."""
        self.enable("approle")
        body = {"token_policies": list(policies), "token_ttl": f"{seconds}s", "secret_id_num_uses": uses}
        self.call("POST", f"auth/approle/role/{name}", body)
        role_id = self.call("GET", f"auth/approle/role/{name}/role-id")["data"]["role_id"]
        return role_id, self.secret_id(name)

    def secret_id(self, name: str) -> str:
        """One more of a role."""
        return str(self.call("POST", f"auth/approle/role/{name}/secret-id", {})["data"]["secret_id"])

    def jwt_role(self, name: str, *policies: str, seconds: int = 3600) -> str:
        """A role of the auth method JWT, and a token of its issuer for it."""
        self.enable("jwt")
        public = _ISSUER.as_pem(private=False).decode()
        self.call("POST", "auth/jwt/config", {"jwt_validation_pubkeys": [public]})
        lives = {"token_policies": list(policies), "token_ttl": f"{seconds}s"}
        role = {"role_type": "jwt", "user_claim": "sub", "bound_audiences": ["vault"], "bound_subject": name, **lives}
        self.call("POST", f"auth/jwt/role/{name}", role)
        claims = {"sub": name, "aud": "vault", "exp": int(time.time()) + 3600, "iat": int(time.time())}
        return str(jwt.encode({"alg": "ES256"}, claims, _ISSUER))

    def forget(self) -> None:
        """Revoke every token but root's."""
        for made in ("auth/token/create", *(f"{one.removeprefix('sys/')}/login" for one in self._made if "sys/auth/" in one)):
            self.call("PUT", f"sys/leases/revoke-prefix/{made}", {"sync": True})

    def seal(self) -> None:
        """Seal it: it answers 503 until it is unsealed."""
        self.call("PUT", "sys/seal", {}, namespace="")

    def unseal(self, key: str) -> None:
        """Unseal it, and wait until it is active."""
        self.call("PUT", "sys/unseal", {"key": key}, token="", namespace="")
        deadline = time.monotonic() + READY_SECONDS
        while self.ask("GET", "sys/health", token="", namespace="").status_code != 200:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def tidy(self) -> None:
        """Take back all that was made here."""
        for path in dict.fromkeys(self._made):
            self.call("DELETE", path)
        if self.namespace:
            self.call("DELETE", f"sys/namespaces/{self.namespace}", namespace="")
        self._made.clear()
        self._rules.clear()
        self.namespace = ""

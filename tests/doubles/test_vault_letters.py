"""The Vault double against a real OpenBao, answer by answer: the same requests get the same status, members and refusals."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.doubles.vault_system import DoubleVault
from tests.openbao_server import OpenBao
from tests.vault_administration import VaultAdministrator

#: Members whose texts are the server's own choice at every run; that they are there, and of which type, is compared.
CHOSEN = re.compile(
    r"request_id|accessor|.*token|.*_time|.*_time_utc|id|entity_id|cluster_.*|.*version|uuid|role_id|secret_id.*|ciphertext|"
    r"running_.*|ttl|commit_date|storage_type|keys"
)
SECONDS_OF_2001 = 1_000_000_000
Request = tuple[str, str, Any]


def told(vault: VaultAdministrator, request: Request, token: str) -> tuple[int, Any]:
    method, path, body = request
    answer = vault.ask(method, path, body, token=token)
    return answer.status_code, shape(answer.json()) if answer.content else None


def shape(found: Any, name: str = "") -> Any:
    """The answer with what is left to chance replaced by its type."""
    if name != "options" and isinstance(found, dict):
        return {key: shape(value, key) for key, value in found.items()}
    if isinstance(found, list) and name not in ("keys", "errors"):
        return [shape(one, name) for one in found]
    if isinstance(found, int) and found > SECONDS_OF_2001:
        return "a time"
    if name and CHOSEN.fullmatch(name) and not isinstance(found, list) and found is not None:
        return type(found).__name__ if found != "" else ""
    return found


KV: list[Request] = [
    ("GET", "secret/data/none", None),
    ("LIST", "secret/metadata/", None),
    ("POST", "secret/data/a/b", {"data": {"x": "1", "n": 1.5}}),
    ("POST", "secret/data/a/b", {"data": {"x": "2"}}),
    ("GET", "secret/data/a/b", None),
    ("GET", "secret/data/a/b?version=1", None),
    ("GET", "secret/data/a/b?version=9", None),
    ("GET", "secret/a/b", None),
    ("GET", "secret/data/a", None),
    ("LIST", "secret/metadata", None),
    ("LIST", "secret/metadata/a", None),
    ("GET", "secret/metadata/a?list=true", None),
    ("LIST", "secret/metadata/none", None),
    ("DELETE", "secret/data/a/b", None),
    ("GET", "secret/data/a/b", None),
    ("PUT", "secret/undelete/a/b", {"versions": [2]}),
    ("GET", "secret/data/a/b", None),
    ("PUT", "secret/delete/a/b", {"versions": [1]}),
    ("GET", "secret/data/a/b?version=1", None),
    ("PUT", "secret/destroy/a/b", {"versions": [2]}),
    ("GET", "secret/data/a/b", None),
    ("GET", "one/none", None),
    ("POST", "one/a/b", {"x": "1"}),
    ("GET", "one/a/b", None),
    ("LIST", "one/a", None),
    ("LIST", "one/none", None),
    ("DELETE", "one/a/b", None),
    ("GET", "one/a/b", None),
    ("GET", "nowhere/a", None),
    ("GET", "sys/internal/ui/mounts/secret", None),
    ("GET", "sys/internal/ui/mounts/one", None),
    ("GET", "sys/internal/ui/mounts/nowhere", None),
    ("GET", "sys/health", None),
    ("GET", "sys/seal-status", None),
]
TRANSIT: list[Request] = [
    ("LIST", "transit/keys", None),
    ("POST", "transit/keys/k", {}),
    ("POST", "transit/keys/d", {"derived": True}),
    ("LIST", "transit/keys", None),
    ("GET", "transit/keys/none", None),
    ("POST", "transit/encrypt/k", {"plaintext": "AAAA"}),
    ("POST", "transit/encrypt/d", {"plaintext": "AAAA"}),
    ("POST", "transit/encrypt/d", {"plaintext": "AAAA", "context": "AAAA"}),
    ("POST", "transit/encrypt/k", {}),
    ("POST", "transit/encrypt/k", {"plaintext": "A!A"}),
    ("POST", "transit/decrypt/k", {}),
    ("POST", "transit/decrypt/k", {"ciphertext": "x"}),
    ("POST", "transit/decrypt/k", {"ciphertext": "vault:v1:AAAA"}),
    ("POST", "transit/decrypt/k", {"ciphertext": "vault:vx:AAAA"}),
    ("POST", "transit/decrypt/k", {"ciphertext": "vault:v1:" + "A" * 64}),
    ("POST", "transit/decrypt/k", {"ciphertext": "vault:v9:" + "A" * 64}),
    ("POST", "transit/decrypt/none", {"ciphertext": "vault:v1:" + "A" * 64}),
    ("POST", "transit/keys/k/rotate", {}),
    ("GET", "transit/keys/k", None),
    ("POST", "transit/encrypt/k", {"plaintext": "AAAA"}),
    ("POST", "transit/keys/k/config", {"min_decryption_version": 2}),
    ("POST", "transit/decrypt/k", {"ciphertext": "vault:v1:" + "A" * 64}),
    ("POST", "transit/keys/none/rotate", {}),
    ("POST", "transit/keys/none/config", {"deletion_allowed": True}),
    ("DELETE", "transit/keys/none", None),
    ("DELETE", "transit/keys/k", None),
    ("POST", "transit/keys/k/config", {"deletion_allowed": True}),
    ("DELETE", "transit/keys/k", None),
]


@pytest.fixture
def both(double: DoubleVault, openbao: OpenBao) -> list[VaultAdministrator]:
    for vault in (double, openbao):
        vault.kv("secret")
        vault.kv("one", 1)
        vault.mount("transit")
        vault.allow("reader", "secret/data/open/*", "read")
        vault.allow("reader", "secret/data/open/listed", "list")
        vault.allow("reader", "transit/encrypt/*", "update")
        vault.put("secret", "open/a", x="1")
        vault.put("secret", "open/listed", x="1")
    return [double, openbao]


def alike(both: list[VaultAdministrator], requests: list[Request], tokens: list[str] | None = None) -> None:
    shown = tokens or [vault.root_token for vault in both]
    for request in requests:
        double, real = (told(vault, request, token) for vault, token in zip(both, shown, strict=True))
        assert double == real, request


def test_kv_answers(both: list[VaultAdministrator]) -> None:
    for vault in both:
        vault.call("DELETE", "secret/metadata/open/a")
        vault.call("DELETE", "secret/metadata/open/listed")
    alike(both, KV)


def test_transit_answers(both: list[VaultAdministrator]) -> None:
    alike(both, TRANSIT)


def test_what_a_policy_refuses(both: list[VaultAdministrator]) -> None:
    tokens = [vault.token("reader") for vault in both]
    paths = ("secret/data/open/a", "secret/data/open/none", "secret/data/open/listed", "secret/data/closed", "one/a", "nowhere/a")
    more = ("sys/internal/ui/mounts/secret", "sys/internal/ui/mounts/one", "sys/internal/ui/mounts/nowhere", "auth/token/none")
    requests: list[Request] = [("GET", path, None) for path in (*paths, *more, "auth/token/lookup-self", "sys/mounts")]
    requests.append(("LIST", "secret/metadata/open", None))
    requests.append(("POST", "secret/data/open/a", {"data": {"x": "2"}}))
    requests.append(("POST", "transit/encrypt/none", {"plaintext": "AAAA"}))
    requests.append(("POST", "auth/token/renew-self", {}))
    alike(both, requests, tokens)
    for nobody in ("", "hvs.unknown"):
        alike(both, [*requests[:3], ("GET", "auth/token/lookup-self", None)], [nobody, nobody])
    alike(both, [("POST", "auth/token/revoke-self", None), ("GET", "auth/token/lookup-self", None)], tokens)
    alike(both, [("GET", "auth/token/lookup-self", None), ("POST", "auth/token/renew-self", {})])


def test_logins(both: list[VaultAdministrator]) -> None:
    roles = [vault.approle("overseer", "reader", seconds=300, uses=1) for vault in both]
    signed = [vault.jwt_role("overseer", "reader", seconds=300) for vault in both]

    def login(path: str, *bodies: Any) -> list[tuple[int, Any]]:
        return [told(vault, ("POST", path, body), "") for vault, body in zip(both, bodies, strict=True)]

    bodies = [{"role_id": role_id, "secret_id": secret_id} for role_id, secret_id in roles]
    for path, double, real in (
        ("auth/approle/login", bodies[0], bodies[1]),
        ("auth/approle/login", bodies[0], bodies[1]),  # its one use is over
        ("auth/approle/login", {**bodies[0], "secret_id": "x"}, {**bodies[1], "secret_id": "x"}),
        ("auth/approle/login", {"role_id": bodies[0]["role_id"]}, {"role_id": bodies[1]["role_id"]}),
        ("auth/approle/login", {"role_id": "x", "secret_id": "y"}, {"role_id": "x", "secret_id": "y"}),
        ("auth/approle/login", {"secret_id": "y"}, {"secret_id": "y"}),
        ("auth/elsewhere/login", {"role_id": "x"}, {"role_id": "x"}),
        ("auth/jwt/login", {"role": "overseer", "jwt": signed[0]}, {"role": "overseer", "jwt": signed[1]}),
        ("auth/jwt/login", {"role": "none", "jwt": signed[0]}, {"role": "none", "jwt": signed[1]}),
    ):
        answers = login(path, double, real)
        assert answers[0] == answers[1], path
    forged = signed[1][:-8] + "AAAAAAAA"
    [double, real] = login("auth/jwt/login", {"role": "overseer", "jwt": "forged"}, {"role": "overseer", "jwt": forged})
    assert double == real


def test_sealed_and_in_no_namespace(both: list[VaultAdministrator]) -> None:
    for vault in both:
        vault.seal()
    try:
        alike(both, [("GET", path, None) for path in ("secret/data/open/a", "sys/health", "sys/seal-status")])
        alike(both, [("POST", "auth/approle/login", {})], ["", ""])
    finally:
        for vault in both:
            vault.unseal(vault.share)
    alike(both, [("GET", "secret/data/none", None)])
    for path in ("secret/data/open/a", "auth/token/lookup-self"):
        answers = [vault.ask("GET", path, namespace="nowhere") for vault in both]
        assert (answers[0].status_code, answers[0].json()) == (answers[1].status_code, answers[1].json())

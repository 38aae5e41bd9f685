"""The transit engine of the Vault double: AES-256-GCM under versioned keys, derived by HKDF where a key is made so.

Ciphertexts are ``vault:vN:`` and base64 of nonce, ciphertext and tag, as Vault's are; the texts of its refusals are Vault's.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import time
from dataclasses import dataclass, field
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tests.doubles.vault_server import Answer, Refusal, VaultRequest

NO_CONTEXT = (
    "missing 'context' for key derivation; the key was created using a derived key, which means additional, per-request "
    "information must be included in order to perform operations with the key"
)
TOO_OLD = "ciphertext or signature version is disallowed by policy (too old)"


@dataclass
class TransitKey:
    """A named key: its versions, the first is 1."""

    derived: bool = False
    versions: list[bytes] = field(default_factory=lambda: [os.urandom(32)])
    min_decryption_version: int = 1
    deletion_allowed: bool = False

    def cipher(self, version: int, context: bytes) -> AESGCM:
        """The key of a version; of a derived one, that of the context."""
        key = self.versions[version - 1]
        if not self.derived:
            return AESGCM(key)  # a context is not looked at then
        if not context:
            raise Refusal(400, NO_CONTEXT)
        return AESGCM(HKDF(algorithm=SHA256(), length=32, salt=None, info=context).derive(key))


class TransitEngine:
    """Keys, encrypt, decrypt, rewrap, rotate, config."""

    def __init__(self) -> None:
        self.keys: dict[str, TransitKey] = {}

    def creates(self, request: VaultRequest) -> bool:
        """Encrypting under an unknown name makes the key (an upsert), if the policy allows ``create``."""
        verb, _, name = request.path.partition("/")
        return verb in ("encrypt", "keys") and "/" not in name and name not in self.keys

    def handle(self, request: VaultRequest) -> Answer:
        verb, _, rest = request.path.partition("/")
        name, _, action = rest.partition("/")
        if verb == "keys":
            return self._keys(request, name, action)
        work = {"encrypt": self._encrypt, "decrypt": self._decrypt, "rewrap": self._rewrap}.get(verb)
        if work is None or request.operation != "update" or action:
            raise Refusal(404, f'unsupported path "{request.path}"')
        return work(request, name)

    def _keys(self, request: VaultRequest, name: str, action: str) -> Answer:
        if request.operation == "list":
            if not self.keys:
                raise Refusal(404)
            return Answer({"keys": sorted(self.keys)})
        key = self.keys.get(name)
        if request.operation == "update" and not action:
            self.keys.setdefault(name, TransitKey(derived=bool(request.body.get("derived"))))
            return Answer(_shown(name, self.keys[name]))
        if key is None:
            raise _no_key(request.operation, name, action)
        if request.operation == "update" and action == "rotate":
            key.versions.append(os.urandom(32))
        elif request.operation == "update" and action == "config":
            key.min_decryption_version = int(request.body.get("min_decryption_version", key.min_decryption_version))
            key.deletion_allowed = bool(request.body.get("deletion_allowed", key.deletion_allowed))
        elif request.operation == "delete":
            if not key.deletion_allowed:
                raise Refusal(400, "error deleting policy " + name + ": deletion is not allowed for this key")
            del self.keys[name]
            return Answer()
        return Answer(_shown(name, key))

    def _encrypt(self, request: VaultRequest, name: str) -> Answer:
        if "plaintext" not in request.body:
            raise Refusal(400, "missing plaintext to encrypt")
        context = _base64(request.body.get("context", ""))
        key = self.keys.setdefault(name, TransitKey(derived=bool(context)))
        return Answer(_sealed(key, _base64(request.body["plaintext"]), context))

    def _decrypt(self, request: VaultRequest, name: str) -> Answer:
        plaintext = self._opened(request, name)
        return Answer({"plaintext": base64.b64encode(plaintext).decode("ascii")})

    def _rewrap(self, request: VaultRequest, name: str) -> Answer:
        plaintext = self._opened(request, name)
        return Answer(_sealed(self.keys[name], plaintext, _base64(request.body.get("context", ""))))

    def _opened(self, request: VaultRequest, name: str) -> bytes:
        text = request.body.get("ciphertext") or ""
        if not text:
            raise Refusal(400, "missing ciphertext to decrypt")
        key = self.keys.get(name)
        if key is None:
            raise Refusal(400, "encryption key not found")
        context = _base64(request.body.get("context", ""))
        head, _, rest = str(text).removeprefix("vault:v").partition(":")
        if not str(text).startswith("vault:v"):
            raise Refusal(400, "invalid ciphertext: no prefix")
        if not head.isdigit() or not rest:
            raise Refusal(400, "invalid ciphertext: version number could not be decoded")
        version = int(head)
        if version > len(key.versions):
            raise Refusal(400, "invalid ciphertext: version is too new")
        if version < key.min_decryption_version:
            raise Refusal(400, TOO_OLD)
        try:
            raw = base64.b64decode(rest, validate=True)
            if len(raw) < 12:
                raise Refusal(400, "invalid ciphertext length")
            return key.cipher(version, context).decrypt(raw[:12], raw[12:], None)
        except InvalidTag:
            raise Refusal(400, "cipher: message authentication failed") from None
        except ValueError:
            raise Refusal(400, "invalid ciphertext: could not decode base64") from None


def _no_key(operation: str, name: str, action: str) -> Refusal:
    if operation == "read":
        return Refusal(404)
    if operation == "delete":
        return Refusal(400, f"error deleting policy {name}: could not delete key; not found")
    return Refusal(400, "key not found" if action == "rotate" else f"no existing key named {name} could be found")


def _sealed(key: TransitKey, plaintext: bytes, context: bytes) -> dict[str, Any]:
    version, nonce = len(key.versions), os.urandom(12)
    raw = nonce + key.cipher(version, context).encrypt(nonce, plaintext, None)
    return {"ciphertext": f"vault:v{version}:{base64.b64encode(raw).decode('ascii')}", "key_version": version}


def _shown(name: str, key: TransitKey) -> dict[str, Any]:
    return {
        "name": name,
        "type": "aes256-gcm96",
        "derived": key.derived,
        "deletion_allowed": key.deletion_allowed,
        "exportable": False,
        "allow_plaintext_backup": False,
        "auto_rotate_period": 0,
        "imported_key": False,
        "soft_deleted": False,
        "min_available_version": 0,
        "latest_version": len(key.versions),
        "min_decryption_version": key.min_decryption_version,
        "min_encryption_version": 0,
        "keys": {str(number): int(time.time()) for number in range(key.min_decryption_version, len(key.versions) + 1)},
        "supports_encryption": True,
        "supports_decryption": True,
        "supports_derivation": True,
        "supports_signing": False,
    } | ({"kdf": "hkdf_sha256", "convergent_encryption": False} if key.derived else {})


def _base64(text: Any) -> bytes:
    try:
        return base64.b64decode(str(text), validate=True)
    except (binascii.Error, ValueError):
        raise Refusal(400, f"illegal base64 data at input byte {_first_wrong(str(text))}") from None


def _first_wrong(text: str) -> int:
    found = re.search(r"[^A-Za-z0-9+/]", text)
    return found.start() if found else len(text)

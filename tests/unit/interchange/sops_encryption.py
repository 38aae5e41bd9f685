"""The other half of SOPS, for tests: encrypts as SOPS 3 documents it, so that tests can make files and change them."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from overseer.core.secret_value import SecretValue
from overseer.crypto.age_messages import encrypt_to

MODIFIED = "2026-01-02T03:04:05Z"


def sealed(key: bytes, text: str, associated: str, kind: str = "str") -> str:
    nonce = os.urandom(32)
    raw = AESGCM(key).encrypt(nonce, text.encode(), associated.encode())
    parts = (base64.b64encode(part).decode() for part in (raw[:-16], nonce, raw[-16:]))
    data, iv, tag = parts
    return f"ENC[AES256_GCM,data:{data},iv:{iv},tag:{tag},type:{kind}]"


def json_file(values: dict[str, str], recipient: str) -> dict[str, Any]:
    """A file of one level, as a tree."""
    key = os.urandom(32)
    digest = hashlib.sha512()
    tree: dict[str, Any] = {}
    for name, value in values.items():
        digest.update(value.encode())
        tree[name] = sealed(key, value, f"{name}:") if value else ""
    mac = sealed(key, digest.hexdigest().upper(), MODIFIED)
    enc = encrypt_to(SecretValue(key), [recipient]).decode()
    tree["sops"] = {"age": [{"recipient": recipient, "enc": enc}], "lastmodified": MODIFIED, "mac": mac, "version": "3.9.4"}
    return tree


def dotenv_file(values: dict[str, str], recipient: str) -> str:
    tree = json_file(values, recipient)
    metadata = tree.pop("sops")
    lines = [f"{key}={value}" for key, value in tree.items()]
    enc = metadata["age"][0]["enc"].replace("\n", "\\n")
    lines += [f"sops_age__list_0__map_enc={enc}", f"sops_age__list_0__map_recipient={recipient}"]
    lines += [f"sops_lastmodified={MODIFIED}", f"sops_mac={metadata['mac']}", "sops_version=3.9.4"]
    return "\n".join(lines) + "\n"


def as_json(tree: dict[str, Any]) -> bytes:
    return json.dumps(tree).encode()

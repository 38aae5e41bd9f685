"""Second factors and credentials of backends open for ever, and what was signed as an archive's manifest verifies for ever."""

from __future__ import annotations

import base64
import inspect
import json
import struct
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from overseer.crypto import envelope
from overseer.crypto.envelope import BackendContext, EncryptedValue, RecordContext, TotpContext, decrypt
from overseer.crypto.keyring import Keyring, WrappedKey
from overseer.crypto.keys import RootKey
from overseer.crypto.signatures import SigningKey
from overseer.crypto.signed_manifest import SignedManifest, verified_manifest
from overseer.crypto.signed_notes import VerifierKey

HERE = Path(__file__).parent


def load(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((HERE / name).read_text("utf-8"))
    return found


KEYRING = load("keyring-v1.json")
RECORDS = load("envelope-kinds-v1.json")["records"]


@pytest.fixture(params=RECORDS, ids=lambda one: f"{one['kind']}-{one['term']}")
def record(request: pytest.FixtureRequest) -> dict[str, Any]:
    found: dict[str, Any] = request.param
    return found


def place(record: dict[str, Any]) -> dict[str, UUID | bytes]:
    return {name: text.encode() if name == "settings" else UUID(text) for name, text in record["context"].items()}


def test_a_record_opens(record: dict[str, Any]) -> None:
    rows = [WrappedKey(row["purpose"], row["term"], bytes.fromhex(row["wrapped"])) for row in KEYRING["rows"]]
    root_key = RootKey(bytes.fromhex(KEYRING["root_key"]))
    ring = Keyring.open(UUID(KEYRING["instance_id"]), root_key, rows, bytes.fromhex(KEYRING["check_value"]))
    made = {"totp": TotpContext, "backend": BackendContext}[record["kind"]]
    context: RecordContext = made(**place(record))
    stored = bytes.fromhex(record["wrapped_dek"]), bytes.fromhex(record["ciphertext"])
    encrypted = EncryptedValue(record["format"], record["term"], *stored)
    assert context.associated().hex() == record["associated"]
    assert decrypt(encrypted, context, ring).reveal().hex() == record["plaintext"]


def test_a_record_opens_with_nothing_of_ours(record: dict[str, Any]) -> None:
    def frame(*fields: bytes) -> bytes:
        return b"".join(struct.pack(">I", len(field)) + field for field in fields)

    def gcm(key: bytes, blob: bytes, associated: bytes) -> bytes:
        return AESGCM(key).decrypt(blob[:12], blob[12:], associated)

    [kek] = [bytes.fromhex(r["key"]) for r in KEYRING["rows"] if (r["purpose"], r["term"]) == ("kek", record["term"])]
    fields = [one.bytes if isinstance(one, UUID) else one for one in place(record).values()]
    associated = frame(b"overseer record", b"\0\1", record["kind"].encode(), *fields)
    dek = gcm(kek, bytes.fromhex(record["wrapped_dek"]), associated + frame(struct.pack(">I", record["term"])))
    assert gcm(dek, bytes.fromhex(record["ciphertext"]), associated).hex() == record["plaintext"]


def test_every_kind_of_record_has_a_vector() -> None:
    frozen = {one["kind"] for one in [*load("envelope-v1.json")["records"], *RECORDS]}
    contexts = [one for name, one in inspect.getmembers(envelope, inspect.isclass) if name.endswith("Context")]
    assert len(frozen) == len(contexts) - 1  # without the protocol
    labels = b"".join(value for value in vars(envelope).values() if isinstance(value, bytes))
    assert all(struct.pack(">I", len(kind)) + kind.encode() in labels for kind in frozen)


def test_a_signed_manifest_verifies() -> None:
    v = load("signed-manifest-v1.json")
    key = VerifierKey.parse(v["signer"])
    found = verified_manifest(v["note"], v["kind"], key)
    contents = {name: text.encode() for name, text in v["files"].items()}
    assert found == SignedManifest.of(v["kind"], UUID(v["instance_id"]), contents)
    assert found.sign(SigningKey(bytes.fromhex(v["private_key"]))) == v["note"]
    text, _, line = v["note"].partition("\n\n")
    signature = base64.b64decode(line.split(" ")[2])[4:]
    Ed25519PublicKey.from_public_bytes(key.public).verify(signature, f"{text}\n".encode())

"""What a released version wrote opens forever, and the formats are what their documentation says."""

from __future__ import annotations

import hashlib
import itertools
import json
import struct
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from overseer.core.audit_record import decode
from overseer.core.secret_value import SecretValue
from overseer.crypto.checkpoints import Checkpoint, key_chain, log_origin, retired_size, signer_of
from overseer.crypto.envelope import BundleFileContext, EncryptedValue, RecordContext, ValueContext, decrypt, rewrap
from overseer.crypto.fingerprints import deployment_key, fingerprint
from overseer.crypto.hpke import SealingKey
from overseer.crypto.keyed_digests import bundle_address, request_digest
from overseer.crypto.keyring import Keyring, Purpose, WrappedKey
from overseer.crypto.keys import HmacKey, RootKey
from overseer.crypto.merkle_log import Frontier, leaf_hash
from overseer.crypto.node_assertions import Assertion, verify_assertion
from overseer.crypto.node_keys import NodeKeys, answer_challenge, answer_is_right, join_is_proven, prove_join
from overseer.crypto.passwords import Argon2Parameters, derive_key, password_matches
from overseer.crypto.sealed_bundle import BundleRequest, open_bundle
from overseer.crypto.shares import combine, evaluate, parse_share
from overseer.crypto.signed_notes import VerifierKey
from overseer.crypto.tokens import looks_valid, token_hash
from overseer.server.seals.passphrase import PassphraseSeal
from overseer.server.seals.root_key_text import read_root_key, write_root_key

HERE = Path(__file__).parent


def load(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((HERE / name).read_text("utf-8"))
    return found


def hexed(text: str) -> bytes:
    return bytes.fromhex(text)


def keyring() -> Keyring:
    v = load("keyring-v1.json")
    rows = [WrappedKey(row["purpose"], row["term"], hexed(row["wrapped"])) for row in v["rows"]]
    return Keyring.open(UUID(v["instance_id"]), RootKey(hexed(v["root_key"])), rows, hexed(v["check_value"]))


def test_the_keyring_opens_to_the_same_keys() -> None:
    v, ring = load("keyring-v1.json"), keyring()
    keys = {(row["purpose"], row["term"]): hexed(row["key"]) for row in v["rows"]}
    assert ring.terms == (1, 2)
    for purpose in (Purpose.BUNDLE_ADDRESS, Purpose.FINGERPRINT, Purpose.IDEMPOTENCY):
        assert ring.hmac_key(purpose).reveal() == keys[purpose, 1]
    assert ring.signing_key.reveal() == keys["server_signing", 1]
    assert ring.signing_key.public.hex() == v["signing_public"]
    sealed = ring.kek(2).cipher.seal(b"x", b"")
    assert AESGCM(keys["kek", 2]).decrypt(sealed[:12], sealed[12:], b"") == b"x"


@pytest.mark.parametrize("index", range(4))
def test_a_record_decrypts(index: int) -> None:
    record = load("envelope-v1.json")["records"][index]
    fields = record["context"]
    ids = {name: UUID(text) for name, text in fields.items() if name.endswith("_id")}
    context: RecordContext = ValueContext(**ids) if record["kind"] == "value" else BundleFileContext(**ids, path=fields["path"])
    encrypted = EncryptedValue(record["format"], record["term"], hexed(record["wrapped_dek"]), hexed(record["ciphertext"]))
    assert context.associated().hex() == record["associated"]
    ring = keyring()
    assert decrypt(encrypted, context, ring).reveal().hex() == record["plaintext"]
    assert decrypt(rewrap(encrypted, context, ring, ring.kek(2)), context, ring).reveal().hex() == record["plaintext"]


@pytest.mark.parametrize("index", range(4))
def test_a_record_decrypts_with_nothing_of_ours(index: int) -> None:
    """The whole format in ten lines, from the root key to the plaintext: what someone needs to write another reader."""
    k, record = load("keyring-v1.json"), load("envelope-v1.json")["records"][index]

    def frame(*fields: bytes) -> bytes:
        return b"".join(struct.pack(">I", len(field)) + field for field in fields)

    def gcm(key: bytes, blob: str, associated: bytes) -> bytes:
        return AESGCM(key).decrypt(hexed(blob)[:12], hexed(blob)[12:], associated)

    [row] = [row for row in k["rows"] if row["purpose"] == "kek" and row["term"] == record["term"]]
    term = struct.pack(">I", record["term"])
    kek = gcm(hexed(k["root_key"]), row["wrapped"], frame(b"overseer keyring v1", UUID(k["instance_id"]).bytes, b"kek", term))
    place = [text.encode() if name == "path" else UUID(text).bytes for name, text in record["context"].items()]
    associated = frame(b"overseer record", b"\0\1", record["kind"].encode(), *place)
    dek = gcm(kek, record["wrapped_dek"], associated + frame(term))
    assert gcm(dek, record["ciphertext"], associated).hex() == record["plaintext"]


def test_a_sealed_bundle_opens() -> None:
    v = load("sealed-bundle-v1.json")
    request = BundleRequest(UUID(v["instance_id"]), UUID(v["node_id"]), UUID(v["deployment_id"]), hexed(v["nonce"]))
    node = SealingKey(hexed(v["node_private"]))
    now = datetime(2029, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert open_bundle(hexed(v["blob"]), request, node, hexed(v["server_public"]), now).reveal().hex() == v["plaintext"]


def test_node_keys_and_their_proofs_hold() -> None:
    v = load("node-keys-v1.json")
    keys = NodeKeys.parse(SecretValue(hexed(v["file"])))
    assert (keys.public.sealing.hex(), keys.public.signing.hex()) == (v["sealing_public"], v["signing_public"])
    assert keys.serialise().reveal().hex() == v["file"]
    token, nonce = hexed(v["token_hash"]), hexed(v["nonce"])
    assert prove_join(keys, token, nonce).hex() == v["join_signature"]
    assert join_is_proven(keys.public, token, nonce, hexed(v["join_signature"]))
    answer = answer_challenge(hexed(v["challenge"]), keys, UUID(v["instance_id"]), UUID(v["node_id"]), nonce)
    assert answer.hex() == v["answer"]
    assert answer_is_right(answer, hexed(v["answer_hash"]))


def test_an_assertion_of_another_implementation_verifies() -> None:
    v = load("assertion-v1.json")
    issued, expires = (datetime.fromtimestamp(v[name], UTC) for name in ("issued_at", "expires_at"))
    found = verify_assertion(v["assertion"], hexed(v["signing_public"]), UUID(v["audience"]), issued)
    assert found == Assertion(UUID(v["node_id"]), v["jti"], issued, expires)


def test_digests_stay_the_same() -> None:
    v = load("digests-v1.json")
    key = HmacKey(hexed(v["key"]))
    of_deployment = deployment_key(key, UUID(v["deployment_id"]))
    assert of_deployment.reveal().hex() == v["deployment_key"]
    assert fingerprint(of_deployment, v["name"], SecretValue(v["value"])).hex() == v["fingerprint"]
    files = {path: SecretValue(content) for path, content in v["files"].items()}
    assert bundle_address(key, UUID(v["app_id"]), files).hex() == v["bundle_address"]
    assert request_digest(key, UUID(v["principal_id"]), v["route"], v["body"].encode()).hex() == v["request_digest"]


def test_token_checksums_and_hashes_stay_the_same() -> None:
    tokens = load("tokens-v1.json")["tokens"]
    assert len(tokens) == 6
    for v in tokens:
        assert looks_valid(SecretValue(v["token"]))
        assert token_hash(SecretValue(v["token"])).hex() == v["sha256"] == hashlib.sha256(v["token"].encode()).hexdigest()


@pytest.mark.anyio
async def test_the_passphrase_seal_opens() -> None:
    v = load("passphrase-seal-v1.json")
    passphrase = SecretValue(v["passphrase"])
    assert (await PassphraseSeal(v["config"].encode()).root_key(passphrase)).reveal().hex() == v["root_key"]
    d = v["derive"]
    parameters = Argon2Parameters(d["memory_kib"], d["iterations"], d["lanes"])
    assert derive_key(passphrase, hexed(d["salt"]), parameters).reveal().hex() == d["key"]
    assert password_matches(passphrase, v["password_hash"])
    assert not password_matches(SecretValue("another"), v["password_hash"])


def test_a_written_root_key_reads() -> None:
    v = load("root-key-text-v1.json")
    root_key = RootKey(hexed(v["root_key"]))
    assert read_root_key(SecretValue(v["text"]), "vector") == root_key
    assert write_root_key(root_key).reveal().decode() == v["text"]


def test_shares_combine_to_the_root_key() -> None:
    v = load("shares-v1.json")
    shares = [parse_share(SecretValue(row["text"])) for row in v["shares"]]
    for share, row in zip(shares, v["shares"], strict=True):
        assert (share.number, share.value.reveal().hex(), share.digest().hex()) == (row["number"], row["value"], row["digest"])
        assert (share.set_id.hex(), share.threshold, share.count) == (v["set_id"], v["threshold"], v["count"])
        assert share.text().reveal().decode() == row["text"]
        assert evaluate([hexed(v["key"]), *map(hexed, v["coefficients"])], share.number).hex() == row["value"]
    for chosen in itertools.combinations(shares, 3):
        assert combine(chosen).reveal().hex() == v["key"]


def test_a_sealed_audit_log_verifies() -> None:
    v = load("audit-log-v1.json")
    records = [hexed(text) for text in v["records"]]
    for row, record in zip(v["rows"], records, strict=True):
        found = {name: value.hex() if isinstance(value, bytes) else value for name, value in decode(record).items()}
        assert {name: value if value is None else str(value) for name, value in found.items()} == {
            name: value if value is None else str(value).replace("T", " ") if name == "at" else str(value)
            for name, value in row.items()
        }
    tree = Frontier()
    tree.extend([leaf_hash(record) for record in records])
    chain = key_chain(VerifierKey.parse(v["keys"][0]), [v["rotation"]])
    assert [str(key.key) for key in chain] == v["keys"]
    checkpoint = Checkpoint.parse(v["checkpoint"])
    assert (checkpoint.origin, checkpoint.size, checkpoint.root) == (log_origin(UUID(v["instance_id"])), 3, tree.root())
    assert signer_of(v["checkpoint"], chain) == chain[0]
    assert retired_size(v["retention"], chain) == (2, bytes(32))

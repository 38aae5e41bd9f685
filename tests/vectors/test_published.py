"""Vectors of the standards against the primitives as this project calls them."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.bindings._rust import openssl as rust_openssl
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from overseer.core.errors import DecryptionFailed
from overseer.crypto.aead import Aead
from overseer.crypto.gf256 import multiply
from overseer.crypto.hpke import SealingKey
from overseer.crypto.keys import HmacKey
from overseer.crypto.shares import interpolate
from overseer.crypto.signatures import SigningKey, verifies

PUBLISHED: dict[str, Any] = json.loads((Path(__file__).parent / "published.json").read_text("utf-8"))


def hexed(text: str) -> bytes:
    return bytes.fromhex(text)


@pytest.mark.parametrize("v", PUBLISHED["aes_256_gcm"]["pass"])
def test_aes_256_gcm_opens_what_nist_sealed(v: dict[str, str]) -> None:
    sealed = hexed(v["nonce"] + v["ciphertext"] + v["tag"])
    assert Aead(hexed(v["key"])).open(sealed, hexed(v["associated"])).hex() == v["plaintext"]


@pytest.mark.parametrize("v", PUBLISHED["aes_256_gcm"]["fail"])
def test_aes_256_gcm_refuses_what_nist_damaged(v: dict[str, str]) -> None:
    with pytest.raises(DecryptionFailed):
        Aead(hexed(v["key"])).open(hexed(v["nonce"] + v["ciphertext"] + v["tag"]), hexed(v["associated"]))


def test_hpke_opens_the_vector_of_rfc_9180() -> None:
    """The published vectors have an AAD, which the library's public call does not take; its own test entry does."""
    v = PUBLISHED["hpke"]
    suite = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
    private = X25519PrivateKey.from_private_bytes(hexed(v["skRm"]))
    opened = rust_openssl.hpke._decrypt_with_aad(
        suite, hexed(v["enc"] + v["ciphertext"]), private, hexed(v["info"]), hexed(v["aad"])
    )
    assert opened.hex() == v["plaintext"]
    assert SealingKey(hexed(v["skRm"])).public.hex() == v["pkRm"]


def test_argon2id_gives_the_tag_of_rfc_9106() -> None:
    v = PUBLISHED["argon2id"]
    kdf = Argon2id(
        salt=hexed(v["salt"]),
        length=32,
        iterations=v["iterations"],
        lanes=v["lanes"],
        memory_cost=v["memory_kib"],
        ad=hexed(v["associated"]),
        secret=hexed(v["secret"]),
    )
    assert kdf.derive(hexed(v["password"])).hex() == v["tag"]


def test_ed25519_gives_the_signature_of_rfc_8037() -> None:
    v = PUBLISHED["ed25519_jws"]
    seed, public, signature = (
        base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)) for text in (v["d"], v["x"], v["jws"].rpartition(".")[2])
    )
    message = v["jws"].rpartition(".")[0].encode()
    assert SigningKey(seed).public == public
    assert SigningKey(seed).sign(message) == signature
    assert verifies(public, signature, message)
    assert not verifies(public, signature, message + b" ")


def test_hmac_sha256_gives_the_digest_of_rfc_4231() -> None:
    v = PUBLISHED["hmac_sha256"]
    assert HmacKey(hexed(v["key"])).digest(hexed(v["message"])).hex() == v["digest"]


@pytest.mark.parametrize(("a", "b", "product"), PUBLISHED["gf256"]["products"])
def test_gf256_multiplies_as_fips_197_and_vault_do(a: int, b: int, product: int) -> None:
    assert multiply(a, b) == product


def test_sharing_combines_the_shares_of_draft_mcgrew_tss() -> None:
    v = PUBLISHED["threshold_sharing"]
    assert interpolate([(number, hexed(value)) for number, value in v["shares"]]).hex() == v["secret"]

"""Generated keys and certificates, read back by the library and by OpenSSH's and OpenSSL's own rules."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
    load_ssh_private_key,
    load_ssh_public_key,
)
from cryptography.x509.verification import PolicyBuilder, Store

from overseer.core.errors import InvalidInput
from overseer.core.generators import parse_spec
from overseer.core.secret_value import SecretValue
from overseer.crypto.generated_keys import make_keys

CA_ID = "0190f3c2-0000-7000-8000-000000000000"


def made(spec: str, ca: SecretValue | None = None) -> dict[str, str]:
    return json.loads(make_keys(parse_spec(spec), ca).reveal())


@pytest.mark.parametrize("spec", ["ssh-ed25519,comment=deploy@shop", "ssh-rsa:2048,comment=deploy@shop"])
def test_ssh_keys_belong_together(spec: str) -> None:
    parts = made(spec)
    private = load_ssh_private_key(parts["private_key"].encode(), None)
    line = private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    assert parts["public_key"] == f"{line} deploy@shop"
    load_ssh_public_key(parts["public_key"].encode())
    assert parts["private_key"].startswith("-----BEGIN OPENSSH PRIVATE KEY-----\n")


@pytest.mark.parametrize("spec", ["ed25519", "ec", "ec:384", "ec:521", "rsa:2048"])
def test_keys_are_pkcs8_and_belong_together(spec: str) -> None:
    parts = made(spec)
    assert parts["private_key"].startswith("-----BEGIN PRIVATE KEY-----\n")
    private = load_pem_private_key(parts["private_key"].encode(), None)
    assert private.public_key() == load_pem_public_key(parts["public_key"].encode())
    if isinstance(private, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        assert private.key_size == parse_spec(spec).size
    assert made(spec) != parts


def test_a_certificate_by_itself() -> None:
    parts = made("x509,cn=db.internal,san=db.internal+10.0.0.1,days=30")
    certificate = x509.load_pem_x509_certificate(parts["certificate"].encode())
    assert parts["ca"] == parts["certificate"]
    certificate.verify_directly_issued_by(certificate)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["db.internal"]
    assert [str(one) for one in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.1"]
    left = certificate.not_valid_after_utc - datetime.now(UTC)
    assert timedelta(days=29, hours=23) < left <= timedelta(days=30)


def test_a_ca_signs_and_a_verifier_believes_it() -> None:
    ca = make_keys(parse_spec("x509,cn=Our CA,is_ca=yes,days=20"))
    parts = made(f"x509,cn=db.internal,days=90,key=rsa2048,ca={CA_ID}", ca)
    root = x509.load_pem_x509_certificate(json.loads(ca.reveal())["certificate"].encode())
    leaf = x509.load_pem_x509_certificate(parts["certificate"].encode())
    assert x509.load_pem_x509_certificate(parts["ca"].encode()) == root
    verifier = PolicyBuilder().store(Store([root])).build_server_verifier(x509.DNSName("db.internal"))
    assert verifier.verify(leaf, []) == [leaf, root]
    assert leaf.not_valid_after_utc == root.not_valid_after_utc  # not later, though it was asked for


@pytest.mark.parametrize("kind", ["no json", "[]", "{}", "leaf", "mixed"])
def test_what_is_no_ca_signs_nothing(kind: str) -> None:
    leaf, other = made("x509,cn=leaf"), made("x509,cn=Our CA,is_ca=yes")
    texts = {
        "leaf": json.dumps(leaf),
        "mixed": json.dumps({"certificate": other["certificate"], "private_key": leaf["private_key"]}),
    }
    with pytest.raises(InvalidInput) as refused:
        made(f"x509,cn=a,ca={CA_ID}", SecretValue(texts.get(kind, kind)))
    assert refused.value.problems[0].code == "bad_ca"


@pytest.mark.parametrize("san", ["", "a b", "http://a", "a++b"])
def test_names_that_are_none_are_refused(san: str) -> None:
    spec = f"x509,cn=a b,san={san}" if san else "x509,cn=a b"
    with pytest.raises(InvalidInput):
        made(spec)

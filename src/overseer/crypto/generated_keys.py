"""Generated keys and certificates: SSH, Ed25519, EC and RSA keys, and X.509 certificates signed by themselves or by a CA.

A value is one JSON object of texts, so that a reference takes the part it needs: ``${SECRET:tls#certificate}``. Private keys are
PKCS#8 (RFC 5958) or OpenSSH's own format, public ones SubjectPublicKeyInfo or the line of ``authorized_keys``.

Guarantees: every key comes from the library's own generator; a certificate (RFC 5280) has a random serial number of 159 bits,
begins five minutes ago for clocks that go slow, and does not outlive the CA that signs it; a CA is checked to be one, and to
hold the key of its certificate. Making an RSA key takes up to seconds: call it in a thread. What it will not do: decide who may
use a CA.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from overseer.core.errors import InvalidInput, Problem
from overseer.core.generators import Generator
from overseer.core.secret_value import SecretValue

_Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
_CURVES: Final[dict[int, ec.EllipticCurve]] = {256: ec.SECP256R1(), 384: ec.SECP384R1(), 521: ec.SECP521R1()}
_SLOW_CLOCKS: Final = timedelta(minutes=5)
NO_CA: Final = "the secret that 'ca' names holds no certificate of a CA with its private key, or one that has expired"
BAD_SAN: Final = "san holds names or addresses, joined by +"


@dataclass(frozen=True, slots=True)
class _Signer:
    certificate: x509.Certificate
    key: _Key


def make_keys(generator: Generator, ca: SecretValue | None = None) -> SecretValue:
    """A value of a kind that makes keys; ``ca`` is the value of the secret :attr:`Generator.signer`.

    Raises :class:`InvalidInput` where ``ca`` is no CA, or a name of the certificate is none.
    """
    kind = generator.kind
    if kind == "x509":
        return _json(_certificate(generator, None if ca is None else _signer(ca)))
    if kind in ("ssh-ed25519", "ssh-rsa"):
        key = ed25519.Ed25519PrivateKey.generate() if kind == "ssh-ed25519" else _rsa(generator.size)
        private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
        line = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
        return _json({"private_key": private, "public_key": f"{line} {generator.option('comment')}".strip()})
    if kind == "ed25519":
        return _json(_pair(ed25519.Ed25519PrivateKey.generate()))
    return _json(_pair(ec.generate_private_key(_CURVES[generator.size]) if kind == "ec" else _rsa(generator.size)))


def _certificate(generator: Generator, signer: _Signer | None) -> dict[str, str]:
    size = int(generator.option("key", "ec256").lstrip("ecrsa"))
    key: _Key = _rsa(size) if size > 1000 else ec.generate_private_key(_CURVES[size])
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, generator.option("cn"))])
    issuer = subject if signer is None else signer.certificate.subject
    is_ca = generator.option("is_ca") == "yes"
    now = datetime.now(UTC)
    until = now + timedelta(days=int(generator.option("days", "90")))
    if signer is not None:
        until = min(until, signer.certificate.not_valid_after_utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SLOW_CLOCKS)
        .not_valid_after(until)
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=0 if is_ca else None), critical=True)
        .add_extension(_usage(is_ca, isinstance(key, rsa.RSAPrivateKey)), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if not is_ca:
        both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = builder.add_extension(x509.ExtendedKeyUsage(both), critical=False)
        builder = builder.add_extension(x509.SubjectAlternativeName(_names(generator)), critical=False)
    by = key if signer is None else signer.key
    issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key())
    certificate = builder.add_extension(issuer_key, critical=False).sign(by, hashes.SHA256())
    pem = certificate.public_bytes(Encoding.PEM).decode()
    ca = pem if signer is None else signer.certificate.public_bytes(Encoding.PEM).decode()
    return {"certificate": pem, "private_key": _private(key), "ca": ca}


def _usage(is_ca: bool, is_rsa: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=is_rsa and not is_ca,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_ca,
        crl_sign=is_ca,
        encipher_only=False,
        decipher_only=False,
    )


def _names(generator: Generator) -> list[x509.GeneralName]:
    names: list[x509.GeneralName] = []
    for text in generator.option("san", generator.option("cn")).split("+"):
        try:
            names.append(x509.IPAddress(ip_address(text)))
        except ValueError:
            if not text or any(one in text for one in " /@:"):
                raise InvalidInput(BAD_SAN, problems=[Problem("generate", BAD_SAN, "bad_generator")]) from None
            names.append(x509.DNSName(text))
    return names


def _signer(ca: SecretValue) -> _Signer:
    try:
        parts = json.loads(ca.reveal())
        certificate = x509.load_pem_x509_certificate(parts["certificate"].encode())
        key = load_pem_private_key(parts["private_key"].encode(), None)
        limits = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except (ValueError, TypeError, KeyError, AttributeError, UnsupportedAlgorithm, x509.ExtensionNotFound):
        raise _no_ca() from None
    if not isinstance(key, _Key) or key.public_key() != certificate.public_key() or not limits.ca:
        raise _no_ca()
    if certificate.not_valid_after_utc <= datetime.now(UTC):
        raise _no_ca()
    return _Signer(certificate, key)


def _no_ca() -> InvalidInput:
    return InvalidInput(NO_CA, problems=[Problem("generate", NO_CA, "bad_ca")])


def _rsa(bits: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


def _pair(key: _Key | ed25519.Ed25519PrivateKey) -> dict[str, str]:
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    return {"private_key": _private(key), "public_key": public}


def _private(key: _Key | ed25519.Ed25519PrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _json(parts: dict[str, str]) -> SecretValue:
    return SecretValue(json.dumps(parts))

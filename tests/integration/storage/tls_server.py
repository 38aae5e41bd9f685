"""An installed PostgreSQL (15 or later) that listens on TCP with TLS and SCRAM; the wheel's build has no TLS."""

from __future__ import annotations

import datetime
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from overseer.server.storage.postgres_account import server_account
from tests.ports import free_port

PASSWORD = "long-and-used-in-tests-only"
RULES = "local all postgres trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n"


def installed() -> Path | None:
    """The programs of the newest installed PostgreSQL that has TLS."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    return found[-1] if found and int(found[-1].parent.name) >= 15 else None


@dataclass(frozen=True)
class Authority:
    """A CA with its certificate file."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    file: Path

    @classmethod
    def make(cls, file: Path) -> Authority:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _certificate(file.stem, key, None, None, [])
        file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return cls(key, certificate, file)

    def issue(self, directory: Path, names: list[x509.GeneralName]) -> None:
        """``server.crt`` and ``server.key`` for ``names`` into ``directory``."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _certificate("server", key, self.key, self.certificate, names)
        (directory / "server.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        (directory / "server.key").write_bytes(pem)
        (directory / "server.key").chmod(0o600)


class TlsServer:
    """Started on 127.0.0.1 with a certificate for ``localhost``; ``overseer`` logs in with SCRAM, over TLS only."""

    def __init__(self, home: Path, authority: Authority, programs: Path) -> None:
        self.home, self.authority, self.programs = home, authority, programs
        self.account = server_account()
        self.port = free_port()

    def start(self) -> None:
        data = self.home / "data"
        data.mkdir(mode=0o700)
        self.account.own(self.home)
        self.account.own(data)
        self._program("initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale")
        self.authority.issue(data, [x509.DNSName("localhost")])
        (data / "pg_hba.conf").write_text(RULES)
        for name in ("server.crt", "server.key"):
            self.account.own(data / name)
        self._launch()
        self.execute(f"CREATE ROLE overseer LOGIN CREATEROLE PASSWORD '{PASSWORD}'")
        self.execute("CREATE DATABASE overseer OWNER overseer")

    def restart(self, *, tls: bool) -> None:
        """Again, with TLS or without; without it the server takes plain connections."""
        self.stop()
        (self.home / "data" / "pg_hba.conf").write_text(RULES if tls else RULES.replace("hostssl", "host"))
        self._launch(tls=tls)

    def _launch(self, *, tls: bool = True) -> None:
        data = self.home / "data"
        options = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "ssl": "on" if tls else "off",
            "unix_socket_directories": str(self.home),
        }
        command = [self.programs / "postgres", "-D", data, *(part for item in options.items() for part in ("-c", "=".join(item)))]
        with (self.home / "log").open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd="/", **self.account.popen_arguments())
        deadline = time.monotonic() + 90
        while "accept connections" not in (self.home / "log").read_text():
            assert self.process.poll() is None, (self.home / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(60)
        self.process.kill()
        self.process.wait()

    def execute(self, statement: str) -> str:
        url = f"postgresql://postgres@/postgres?host={self.home}&port={self.port}"
        answer = subprocess.run(
            [self.programs / "psql", "-XAtqd", url, "-c", statement], check=True, capture_output=True, text=True
        )
        return answer.stdout.strip()

    def url(self, *, host: str = "localhost", password: str = PASSWORD, database: str = "overseer", **query: str | Path) -> str:
        options = "&".join(f"{name}={value}" for name, value in query.items())
        return f"postgresql://overseer:{password}@{host}:{self.port}/{database}?{options}"

    def _program(self, name: str, *arguments: str | Path) -> None:
        subprocess.run(
            [self.programs / name, *arguments], check=True, capture_output=True, cwd="/", **self.account.popen_arguments()
        )


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer_key: ec.EllipticCurvePrivateKey | None,
    issuer: x509.Certificate | None,
    names: list[x509.GeneralName],
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer = issuer_key or key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    usage = dict.fromkeys(("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False)
    builder = builder.add_extension(
        x509.KeyUsage(
            digital_signature=issuer is not None,
            key_cert_sign=issuer is None,
            crl_sign=issuer is None,
            encipher_only=False,
            decipher_only=False,
            **usage,
        ),
        critical=True,
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(signer, hashes.SHA256())

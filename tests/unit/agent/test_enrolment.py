"""A machine becomes a node, over real HTTP and TLS."""

from __future__ import annotations

import datetime
import ipaddress
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from overseer.agent.enrolment import join
from overseer.agent.identity import load_identity
from overseer.core.errors import (
    ConfigurationProblem,
    Conflict,
    InvalidInput,
    KeyProblem,
    NodeProblem,
    Unauthenticated,
    Unreachable,
)
from overseer.core.secret_value import SecretValue
from overseer.crypto.certificates import spki_hash
from overseer.crypto.signatures import SigningKey
from overseer.crypto.tokens import TokenPrefix, new_token
from tests.unit.agent.agent_server import AgentServer
from tests.unit.client.scripted_server import ScriptedServer, problem, scripted_server


def test_join(agent_server: AgentServer, http: ScriptedServer, tmp_path: Path) -> None:
    joined = join(agent_server.token(), http.url, tmp_path / "agent")
    assert (joined.node, joined.node_id, joined.already) == ("n1", agent_server.node_id, False)
    assert agent_server.active
    identity = load_identity(tmp_path / "agent")
    assert identity is not None
    assert identity.record.instance_id == agent_server.instance_id
    assert identity.record.verify_key == agent_server.signing.public
    assert identity.keys.public == agent_server.keys
    # Only the credential was sent, never the rest of the token, and nothing of it stays on disk.
    sent = http.asked[0].json["token"]
    assert sent.encode() == agent_server.enrolment.reveal()
    for path in (tmp_path / "agent").iterdir():
        assert sent.encode() not in path.read_bytes()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    # The same token again is no error and asks nothing.
    before = len(http.asked)
    assert join(agent_server.token(), http.url, tmp_path / "agent").already
    assert len(http.asked) == before


@pytest.mark.parametrize("lost", ["enrol", "confirm"])
def test_a_lost_answer_does_not_brick_the_node(
    agent_server: AgentServer, http: ScriptedServer, tmp_path: Path, lost: str
) -> None:
    agent_server.failures[lost] = [problem("store_unavailable", 503)]
    with pytest.raises(Exception, match="it failed"):
        join(agent_server.token(), http.url, tmp_path / "agent")
    assert load_identity(tmp_path / "agent") is None
    assert not join(agent_server.token(), http.url, tmp_path / "agent").already
    assert load_identity(tmp_path / "agent") is not None


def test_another_machine_cannot_use_the_token(agent_server: AgentServer, http: ScriptedServer, tmp_path: Path) -> None:
    join(agent_server.token(), http.url, tmp_path / "one")
    with pytest.raises(Unauthenticated):
        join(agent_server.token(), http.url, tmp_path / "two")
    assert load_identity(tmp_path / "two") is None


def test_another_token_does_not_take_the_directory_over(agent_server: AgentServer, http: ScriptedServer, tmp_path: Path) -> None:
    join(agent_server.token(), http.url, tmp_path / "agent")
    agent_server.enrolment = new_token(TokenPrefix.ENROLMENT)[0]
    with pytest.raises(Conflict, match="node n1 already"):
        join(agent_server.token(), http.url, tmp_path / "agent")


def test_a_server_that_did_not_make_the_token(agent_server: AgentServer, http: ScriptedServer, tmp_path: Path) -> None:
    token = agent_server.token()
    agent_server.signing = SigningKey.generate()
    with pytest.raises(NodeProblem, match="not the one that made this token"):
        join(token, http.url, tmp_path / "agent")
    assert not agent_server.active
    assert load_identity(tmp_path / "agent") is None


@pytest.mark.parametrize("text", ["", "ovs_x", "ovse_abc", "ovse_abc.!!!", "ovse_abc.e30", "ovse_canary.eyJmb3JtYXQiOjJ9"])
def test_what_is_no_token(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        join(SecretValue(text), "http://127.0.0.1:1", tmp_path / "agent")
    assert "canary" not in str(caught.value)
    assert not (tmp_path / "agent").exists()


def test_no_enrolment_over_the_network_without_tls(agent_server: AgentServer, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationProblem, match="plain HTTP"):
        join(agent_server.token(), "http://overseer.example.org", tmp_path / "agent")


class Authority:
    """A CA and a server certificate for 127.0.0.1; ``chain``: the server sends the CA along."""

    def __init__(self, directory: Path, *, chain: bool) -> None:
        directory.mkdir()
        key = ec.generate_private_key(ec.SECP256R1())
        ca = _certificate("test CA", key, None, None)
        server_key = ec.generate_private_key(ec.SECP256R1())
        leaf = _certificate("server", server_key, ca, key)
        self.pin = spki_hash(ca.public_bytes(serialization.Encoding.DER))
        self.ca_file = directory / "ca.pem"
        self.ca_file.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
        certificates = [leaf, ca] if chain else [leaf]
        self.pair = (directory / "server.pem", directory / "server.key")
        self.pair[0].write_bytes(b"".join(one.public_bytes(serialization.Encoding.PEM) for one in certificates))
        pem = server_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        self.pair[1].write_bytes(pem)


def _certificate(
    name: str, key: ec.EllipticCurvePrivateKey, issuer: x509.Certificate | None, issuer_key: ec.EllipticCurvePrivateKey | None
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    )
    if issuer is not None:
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        builder = builder.add_extension(x509.SubjectAlternativeName([address]), critical=False)
    return builder.sign(issuer_key or key, hashes.SHA256())


def test_tls_with_a_ca_that_the_server_sends(agent_server: AgentServer, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "tls", chain=True)
    agent_server.ca_spki = authority.pin
    with scripted_server(agent_server.answer, tls=authority.pair) as http:
        join(agent_server.token(), http.url, tmp_path / "agent")
    identity = load_identity(tmp_path / "agent")
    assert identity is not None
    assert identity.ca_file is not None
    assert identity.ca_file.read_bytes() == authority.ca_file.read_bytes()


def test_tls_with_a_ca_in_a_file(agent_server: AgentServer, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "tls", chain=False)
    agent_server.ca_spki = authority.pin
    with scripted_server(agent_server.answer, tls=authority.pair) as http:
        with pytest.raises(KeyProblem, match="--ca-file"):
            join(agent_server.token(), http.url, tmp_path / "agent")
        assert http.asked == []
        join(agent_server.token(), http.url, tmp_path / "agent", authority.ca_file)
    assert agent_server.active


def test_tls_of_an_impostor(agent_server: AgentServer, tmp_path: Path) -> None:
    """Another CA, however it is offered, never sees the token."""
    real, impostor = Authority(tmp_path / "real", chain=True), Authority(tmp_path / "impostor", chain=True)
    agent_server.ca_spki = real.pin
    with scripted_server(agent_server.answer, tls=impostor.pair) as http:
        for ca_file in (None, impostor.ca_file):
            with pytest.raises(KeyProblem):
                join(agent_server.token(), http.url, tmp_path / "agent", ca_file)
        # It may even send the real CA's certificate along: it cannot sign with it.
        with pytest.raises(ConfigurationProblem, match="cannot trust"):
            join(agent_server.token(), http.url, tmp_path / "agent", real.ca_file)
        assert http.asked == []
    assert load_identity(tmp_path / "agent") is None


def test_tls_where_the_token_names_no_ca(agent_server: AgentServer, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationProblem, match="without TLS"):
        join(agent_server.token(), "https://127.0.0.1:1", tmp_path / "agent")
    agent_server.ca_spki = bytes(32)
    with pytest.raises(Unreachable):
        join(agent_server.token(), "https://127.0.0.1:1", tmp_path / "agent")

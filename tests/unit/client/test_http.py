from __future__ import annotations

import datetime
import ipaddress
import socket
import threading
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from overseer.client.http import HttpClient
from overseer.core.errors import ConfigurationProblem, OverseerError, PreconditionFailed, TooLarge, Unreachable
from overseer.core.secret_value import SecretValue
from overseer.wire.secrets import ValueAnswer, ValueRequest
from tests.unit.client.scripted_server import Reply, problem, scripted_server

VALUE = {"id": "1", "name": "db", "version": 2, "value": "canary-4711"}


def test_a_message_goes_there_and_comes_back() -> None:
    with scripted_server(Reply(body={**VALUE, "new_field": 1}, headers={"ETag": '"v2-r1"'})) as server:
        client = HttpClient(server.url + "/", SecretValue("ovs_abc"), user_agent="agent/1")
        answer = client.request(
            "POST",
            "/api/secrets/1/value",
            ValueRequest(version=2),
            returns=ValueAnswer,
            query={"a": "b c", "n": None},
            headers={"X-A": "1"},
        )
        client.close()
    (asked,) = server.asked
    assert (asked.method, asked.path) == ("POST", "/api/secrets/1/value?a=b+c")
    assert asked.json == {"version": 2, "reason": ""}
    assert asked.headers["authorization"] == "Bearer ovs_abc"
    assert asked.headers["user-agent"] == "agent/1"
    assert asked.headers["x-a"] == "1"
    assert answer.value.value == "canary-4711"
    assert answer.etag == '"v2-r1"'
    assert "canary" not in repr(answer)


def test_a_connection_is_kept_and_replaced_when_the_server_hung_up() -> None:
    with scripted_server(Reply(204), Reply(204, hang_up=True), Reply(204)) as server, HttpClient(server.url) as client:
        client.request("DELETE", "/a")
        client.request("DELETE", "/b")
        assert server.connections == 1
        time.sleep(0.1)
        client.request("DELETE", "/c")  # not idempotent: must notice beforehand, not try and repeat
        assert server.connections == 2
    assert [asked.path for asked in server.asked] == ["/a", "/b", "/c"]


def test_a_problem_document_becomes_the_error_it_names() -> None:
    with (
        scripted_server(problem("precondition_failed", 412, current_version=5)) as server,
        HttpClient(server.url) as client,
        pytest.raises(PreconditionFailed) as caught,
    ):
        client.request("PUT", "/x")
    assert caught.value.current_version == 5


def test_redirects_are_not_followed() -> None:
    with (
        scripted_server(Reply(307, headers={"Location": "/elsewhere"})) as server,
        HttpClient(server.url, SecretValue("t")) as client,
        pytest.raises(ConfigurationProblem, match="redirect"),
    ):
        client.request("GET", "/x")
    assert len(server.asked) == 1


def test_an_answer_above_the_limit_is_refused() -> None:
    with (
        scripted_server(Reply(body=b"x" * 2000)) as server,
        HttpClient(server.url, max_response_bytes=1999) as client,
        pytest.raises(TooLarge),
    ):
        client.request("GET", "/x")


def test_an_endless_answer_is_refused_while_it_is_read() -> None:
    with _raw_server(b"HTTP/1.1 200 OK\r\n\r\n", endless=True) as port:
        client = HttpClient(f"http://127.0.0.1:{port}", max_response_bytes=100_000)
        with pytest.raises(TooLarge):
            client.request("GET", "/x")


def test_the_timeout_holds_for_the_whole_request_even_when_bytes_trickle() -> None:
    with _raw_server(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", endless=True, pause=0.05) as port:
        client = HttpClient(f"http://127.0.0.1:{port}", timeout=0.4)
        started = time.monotonic()
        with pytest.raises(Unreachable, match="no answer in time"):
            client.request("GET", "/x")
        assert time.monotonic() - started < 60


@pytest.mark.parametrize(
    ("head", "dripped"),
    [
        (b"HTTP/1.1 200 OK\r\nX: ", b"x"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0"),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", b"x"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
    ids=["head", "chunk size", "closing", "interim"],
)
def test_the_timeout_holds_wherever_bytes_trickle(head: bytes, dripped: bytes) -> None:
    with _raw_server(head, endless=True, pause=0.05, dripped=dripped) as port:
        client = HttpClient(f"http://127.0.0.1:{port}", timeout=0.4)
        started = time.monotonic()
        with pytest.raises(Unreachable, match="no answer in time"):
            client.request("GET", "/x")
        assert time.monotonic() - started < 60
        client.close()


def test_a_line_that_trickles_is_not_waited_for() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\nfirst\n"
    with _raw_server(head, endless=True, pause=0.05) as port:
        client = HttpClient(f"http://127.0.0.1:{port}")
        started = time.monotonic()
        with client.lines("/x", silence=0.4) as lines:
            assert next(lines) == b"first"
            with pytest.raises(Unreachable, match="no answer in time"):
                next(lines)
        assert time.monotonic() - started < 60


@pytest.mark.parametrize("length", ["\xb2", "9" * 5000, "-1", "+1", "1_0"])
def test_a_length_that_is_none(length: str) -> None:
    with _raw_server(f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n".encode("latin-1"), endless=False) as port:
        client = HttpClient(f"http://127.0.0.1:{port}", timeout=60)
        with pytest.raises(Unreachable, match="is not HTTP"):
            client.request("GET", "/x")


_DEEP = b"[" * 200_000 + b"]" * 200_000


@pytest.mark.parametrize("status", [200, 503])
@pytest.mark.parametrize("body", [b'{"zz":' + _DEEP + b"}", b'{"title":"\xff"}'], ids=["deep", "not UTF-8"])
def test_a_hostile_answer_is_an_error_of_ours(status: int, body: bytes) -> None:
    kind = "application/json" if status == 200 else "application/problem+json"
    with (
        scripted_server(Reply(status, body, media_type=kind)) as server,
        HttpClient(server.url) as client,
        pytest.raises(OverseerError),
    ):
        client.request("GET", "/x", returns=ValueAnswer)


def test_a_server_that_is_not_there_exits_69_and_names_the_url() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    with pytest.raises(Unreachable, match=f"cannot reach http://127.0.0.1:{port}: connection refused") as caught:
        HttpClient(f"http://127.0.0.1:{port}").request("GET", "/x")
    assert caught.value.exit_code == 69


def test_a_dropped_connection_is_unreachable_and_the_client_goes_on() -> None:
    with scripted_server(Reply(drop=True), Reply(204)) as server, HttpClient(server.url) as client:
        with pytest.raises(Unreachable):
            client.request("POST", "/x")
        assert client.request("POST", "/x").status == 204


@pytest.mark.parametrize("body", [b"canary", b'{"id": "canary"}', b"", b'{"id": "\xff"}'])
def test_an_answer_that_is_no_message_is_refused_without_showing_it(body: bytes) -> None:
    with (
        scripted_server(Reply(body=body)) as server,
        HttpClient(server.url) as client,
        pytest.raises(ConfigurationProblem) as caught,
    ):
        client.request("GET", "/x", returns=ValueAnswer)
    assert "canary" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("token", ["", "a b", "a\r\nX-Evil: 1", "é"])
def test_a_token_that_is_none_never_leaves(token: str) -> None:
    with (
        scripted_server(Reply(204)) as server,
        HttpClient(server.url, SecretValue(token)) as client,
        pytest.raises(ConfigurationProblem, match="the token holds"),
    ):
        client.request("GET", "/x")
    assert server.asked == []


def test_tls_trusts_the_pinned_ca_and_no_other(tmp_path: Path) -> None:
    pair, other = _certificate(tmp_path, "one"), _certificate(tmp_path, "two")
    with scripted_server(Reply(204), tls=pair) as server:
        with HttpClient(server.url, ca_file=pair[0]) as client:
            assert client.request("GET", "/x").status == 204
        for ca_file in (None, other[0]):
            with (
                HttpClient(server.url, SecretValue("t"), ca_file=ca_file) as client,
                pytest.raises(ConfigurationProblem, match="trust"),
            ):
                client.request("GET", "/x")
    assert len(server.asked) == 1


def test_a_pinned_ca_leaves_no_other_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair, other = _certificate(tmp_path, "one"), _certificate(tmp_path, "two")
    monkeypatch.setenv("SSL_CERT_FILE", str(pair[0]))  # the server's certificate is among the system's
    with scripted_server(Reply(204), tls=pair) as server:
        with HttpClient(server.url) as client:
            assert client.request("GET", "/x").status == 204
        with HttpClient(server.url, ca_file=other[0]) as client, pytest.raises(ConfigurationProblem, match="trust"):
            client.request("GET", "/x")
    assert len(server.asked) == 1


def test_tls_checks_the_host_name(tmp_path: Path) -> None:
    pair = _certificate(tmp_path, "one", address="127.0.0.2")
    with (
        scripted_server(Reply(204), tls=pair) as server,
        HttpClient(server.url, ca_file=pair[0]) as client,
        pytest.raises(ConfigurationProblem, match="trust"),
    ):
        client.request("GET", "/x")
    assert server.asked == []


def test_a_ca_file_that_is_none_is_named(tmp_path: Path) -> None:
    junk = tmp_path / "ca.pem"
    junk.write_text("junk")
    for path in (junk, tmp_path / "missing.pem"):
        with pytest.raises(ConfigurationProblem, match=path.name):
            HttpClient("https://127.0.0.1:1", ca_file=path)


class _raw_server:  # noqa: N801 - used as a with statement
    """Sends ``head``, then bytes until the peer is tired of them."""

    def __init__(self, head: bytes, *, endless: bool, pause: float = 0.0, dripped: bytes = b"x") -> None:
        self.head, self.endless, self.pause, self.dripped = head, endless, pause, dripped

    def __enter__(self) -> int:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()
        return int(self.listener.getsockname()[1])

    def _serve(self) -> None:
        peer, _ = self.listener.accept()
        with peer:
            peer.recv(65536)
            try:
                peer.sendall(self.head)
                while self.endless:
                    peer.sendall(self.dripped if self.pause else b"x" * 65536)
                    time.sleep(self.pause)
            except OSError:
                return

    def __exit__(self, *exc: object) -> None:
        self.thread.join(timeout=60)
        self.listener.close()
        assert not self.thread.is_alive()


def _certificate(directory: Path, name: str, address: str = "127.0.0.1") -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate_path, key_path = directory / f"{name}.pem", directory / f"{name}.key"
    certificate_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    key_path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    return certificate_path, key_path

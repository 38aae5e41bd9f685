"""Requests of the server to the outside: which addresses are asked, that the judged one is asked, what is given up."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from overseer.core.errors import NotReady
from overseer.core.secret_value import SecretValue
from overseer.server.outgoing import Outgoing
from tests.unit.server.certificate import self_signed

pytestmark = pytest.mark.anyio

Asked = list[tuple[str, dict[str, str], bytes]]


@pytest.fixture
def service() -> Iterator[tuple[int, Asked]]:
    """A plain server on loopback: its port, and what it was asked."""
    yield from _serving(None)


def _serving(tls: ssl.SSLContext | None) -> Iterator[tuple[int, Asked]]:
    asked: Asked = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class's name
            """Nothing."""

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", "0")))
            asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
            status = 302 if self.path == "/redirect" else 200
            content = b"x" * (2 << 20) if self.path == "/huge" else b'{"a": 1}'
            self.send_response(status)
            self.send_header("location", "/elsewhere")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            if self.path == "/slow":
                threading.Event().wait(1)
            self.wfile.write(content)

        do_POST = do_GET  # noqa: N815  # the base class's name

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that gives up is what is tested
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server.server_port, asked
    server.shutdown()
    server.server_close()
    thread.join(5)


def resolving(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> Callable[[], int]:
    """Every name has these addresses; how often somebody looked."""
    looked = []

    async def getaddrinfo(_loop: Any, host: str, port: int, **_: Any) -> list[Any]:
        looked.append(host)
        await asyncio.sleep(0)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)
    return lambda: len(looked)


@pytest.mark.parametrize(
    ("address", "private"),
    [
        ("169.254.169.254", True),
        ("fe80::1", True),
        ("::ffff:169.254.169.254", True),
        ("0.0.0.0", True),  # noqa: S104  # to be refused
        ("224.0.0.1", True),
        ("64:ff9b::a9fe:a9fe", True),  # through a NAT64 of the network
        ("64:ff9b:1::a9fe:a9fe", True),
        ("2002:a9fe:a9fe::1", True),  # 6to4
        ("::169.254.169.254", True),
        ("::ffff:0:169.254.169.254", True),
        ("fd00:ec2::254", True),  # where clouds keep metadata, not link-local
        ("100.100.100.200", True),
        ("192.0.0.192", True),
        ("10.0.0.1", False),
        ("192.168.1.1", False),
        ("127.0.0.1", False),
        ("::1", False),
        ("::ffff:10.0.0.1", False),
        ("fd00::1", False),
        ("100.64.0.1", False),
        ("64:ff9b::7f00:1", False),
        ("2002:0a00:0001::1", False),
        ("::10.0.0.1", False),
    ],
)
async def test_addresses_that_are_never_asked_or_only_where_it_is_allowed(
    monkeypatch: pytest.MonkeyPatch, address: str, private: bool
) -> None:
    resolving(monkeypatch, address)
    with pytest.raises(NotReady, match="its address is not allowed"):
        await Outgoing("it", allow_private=private).get("https://id.example/")


async def test_one_bad_address_among_good_ones_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch, "93.184.216.34", "169.254.169.254")
    with pytest.raises(NotReady, match="its address is not allowed"):
        await Outgoing("it", allow_private=True).get("https://id.example/")


async def test_plain_http_goes_to_loopback_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch, "10.0.0.1")
    with pytest.raises(NotReady, match="its address is not allowed"):
        await Outgoing("it", allow_private=True).get("http://id.example/")


async def test_the_judged_address_is_asked_by_its_name_without_a_second_look(
    service: tuple[int, Asked], monkeypatch: pytest.MonkeyPatch
) -> None:
    port, asked = service
    looked = resolving(monkeypatch, "127.0.0.1")
    answer = await Outgoing("it", allow_private=True).get(f"http://id.example:{port}/x?y=z")
    assert (answer.status, answer.json) == (200, {"a": 1})
    assert (asked[0][0], asked[0][1]["host"]) == ("/x?y=z", f"id.example:{port}")
    assert looked() == 1


async def test_a_form_carries_the_client_as_the_standard_writes_it(service: tuple[int, Asked]) -> None:
    port, asked = service
    basic = ("a b", SecretValue("p:ä"))
    await Outgoing("it", allow_private=True).post_form(f"http://127.0.0.1:{port}/", {"code": "c d"}, basic)
    [(_, headers, body)] = asked
    assert body == b"code=c+d"
    assert headers["authorization"] == "Basic YSUyMGI6cCUzQSVDMyVBNA=="


@pytest.mark.parametrize(("path", "said"), [("/redirect", "redirect"), ("/huge", "too long"), ("/slow", "does not answer")])
async def test_what_is_not_followed_and_not_waited_for(service: tuple[int, Asked], path: str, said: str) -> None:
    port, asked = service
    with pytest.raises(NotReady, match=said) as caught:
        await Outgoing("it", allow_private=True, seconds=0.5).get(f"http://127.0.0.1:{port}{path}")
    assert str(port) not in caught.value.message
    assert [one[0] for one in asked] == [path]


async def test_proxies_of_the_environment_are_not_used(service: tuple[int, Asked], monkeypatch: pytest.MonkeyPatch) -> None:
    port, _ = service
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    assert (await Outgoing("it", allow_private=True).get(f"http://127.0.0.1:{port}/")).status == 200


async def test_a_certificate_is_checked_against_the_one_ca_and_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, key = self_signed(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    serving = _serving(tls)
    port, _ = next(serving)
    assert (await Outgoing("it", allow_private=True, ca_file=certificate).get(f"https://localhost:{port}/")).status == 200
    resolving(monkeypatch, "127.0.0.1")
    for name, ca_file in (("localhost", None), ("id.example", certificate)):
        with pytest.raises(NotReady, match="does not answer"):
            await Outgoing("it", allow_private=True, ca_file=ca_file).get(f"https://{name}:{port}/")
    with pytest.raises(NotReady, match="CA file"):
        await Outgoing("it", allow_private=True, ca_file=tmp_path / "missing").get(f"https://localhost:{port}/")
    next(serving, None)

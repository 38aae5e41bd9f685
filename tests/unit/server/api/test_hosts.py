"""DNS rebinding and foreign pages are refused; everything that is this server's own name passes."""

from __future__ import annotations

import tracemalloc

import pytest

from overseer.core.errors import ForeignOrigin, WrongHost
from overseer.server.api.hosts import HostRule
from overseer.server.api.peers import PeerRule


def check(
    host: bytes | None,
    *,
    method: str = "GET",
    origin: bytes | None = None,
    twice: bool = False,
    scheme: str = "http",
    client: str = "198.51.100.9",
) -> None:
    headers = {} if host is None else {b"host": [host] * (2 if twice else 1)}
    if origin is not None:
        headers[b"origin"] = [origin]
    scope = {"method": method, "server": ("10.1.2.3", 8420), "scheme": scheme, "client": (client, 40000)}
    HostRule(["vault.example.org", "FD00::1"], PeerRule(["10.9.0.0/16"]).from_proxy).check(scope, headers)


@pytest.mark.parametrize(
    "host",
    [
        b"localhost",
        b"localhost:8420",
        b"127.0.0.1:1",
        b"[::1]:8420",
        b"VAULT.example.org.",
        b"vault.example.org:443",
        b"[fd00::1]",
        b"10.1.2.3:8420",
        b"[::ffff:10.1.2.3]",
    ],
)
def test_own_names_pass(host: bytes) -> None:
    check(host)


@pytest.mark.parametrize(
    "host",
    [
        None,
        b"",
        b"evil.example.net",
        b"vault.example.org.evil.net",
        b"vault.example.org@evil.net",
        b"10.1.2.4",
        b"localhost:80:80",
        b"localhost:x",
        b"[::1",
        b"[::1]x",
        b"\xff",
        b"xvault.example.org",
    ],
)
def test_other_names_are_refused(host: bytes | None) -> None:
    with pytest.raises(WrongHost):
        check(host)


def test_what_strangers_name_as_host_is_not_kept() -> None:
    """A thousand of the longest heads would be kept for good: 60 MiB and more for nothing."""
    tracemalloc.start()
    try:
        for number in range(100):
            test_other_names_are_refused(b"%d" % number + b"a" * 60_000)
            with pytest.raises(ForeignOrigin):
                check(b"localhost", method="POST", origin=b"http://%d" % number + b"a" * 60_000)
        assert tracemalloc.get_traced_memory()[0] < 2_000_000
    finally:
        tracemalloc.stop()


def test_two_hosts_are_refused() -> None:
    with pytest.raises(WrongHost):
        check(b"localhost", twice=True)


@pytest.mark.parametrize(
    "origin", [b"http://evil.example.net", b"null", b"http://localhost:9999", b"http://localhost", b"http://[", b""]
)
def test_a_foreign_origin_changes_nothing(origin: bytes) -> None:
    with pytest.raises(ForeignOrigin):
        check(b"localhost:8420", method="POST", origin=origin)
    check(b"localhost:8420", method="GET", origin=origin)


def test_the_own_origin_may_change_things() -> None:
    check(b"localhost:8420", method="DELETE", origin=b"http://localhost:8420")
    check(b"localhost:8420", method="POST")  # no browser


PROXY = "10.9.0.1"


@pytest.mark.parametrize(
    ("scheme", "client", "host", "origin"),
    [
        ("https", "198.51.100.9", b"vault.example.org", b"https://vault.example.org"),
        ("https", "198.51.100.9", b"vault.example.org:443", b"https://vault.example.org"),
        ("https", "198.51.100.9", b"vault.example.org", b"HTTPS://Vault.Example.org:443"),
        ("https", "198.51.100.9", b"vault.example.org:8443", b"https://vault.example.org:8443"),
        ("https", "198.51.100.9", b"[fd00::1]:8443", b"https://[FD00:0::1]:8443"),
        ("http", PROXY, b"vault.example.org", b"https://vault.example.org"),
        ("http", "198.51.100.9", b"localhost:80", b"http://localhost"),
    ],
)
def test_the_same_scheme_host_and_port_is_the_same_origin(scheme: str, client: str, host: bytes, origin: bytes) -> None:
    check(host, method="POST", origin=origin, scheme=scheme, client=client)


@pytest.mark.parametrize(
    ("scheme", "client", "host", "origin"),
    [
        ("https", "198.51.100.9", b"vault.example.org", b"http://vault.example.org"),  # downgraded by somebody in between
        ("https", "198.51.100.9", b"vault.example.org:443", b"http://vault.example.org:443"),
        ("https", "198.51.100.9", b"vault.example.org", b"https://vault.example.org:80"),
        ("https", "198.51.100.9", b"vault.example.org", b"https://vault.example.org:8443"),
        ("https", "198.51.100.9", b"vault.example.org:8443", b"https://vault.example.org"),
        ("https", "198.51.100.9", b"vault.example.org", b"ftp://vault.example.org:443"),
        ("https", "198.51.100.9", b"vault.example.org", b"https://vault.example.org/path"),
        ("https", "198.51.100.9", b"vault.example.org", b"https://me@vault.example.org"),
        ("https", "198.51.100.9", b"vault.example.org", b"https://vault.example.org:x"),
        ("https", "198.51.100.9", b"vault.example.org", b"vault.example.org"),
        ("http", PROXY, b"vault.example.org", b"http://vault.example.org"),  # what a proxy with TLS never serves
        ("http", "198.51.100.9", b"vault.example.org", b"https://vault.example.org"),  # no proxy of ours
    ],
)
def test_another_scheme_or_port_is_another_site(scheme: str, client: str, host: bytes, origin: bytes) -> None:
    with pytest.raises(ForeignOrigin):
        check(host, method="POST", origin=origin, scheme=scheme, client=client)
    check(host, method="GET", origin=origin, scheme=scheme, client=client)

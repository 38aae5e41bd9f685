"""DNS rebinding and foreign pages are refused; everything that is this server's own name passes."""

from __future__ import annotations

import pytest

from overseer.core.errors import ForeignOrigin, WrongHost
from overseer.server.api.hosts import HostRule


def check(host: bytes | None, *, method: str = "GET", origin: bytes | None = None, twice: bool = False) -> None:
    headers = {} if host is None else {b"host": [host] * (2 if twice else 1)}
    if origin is not None:
        headers[b"origin"] = [origin]
    HostRule(["vault.example.org", "FD00::1"]).check({"method": method, "server": ("10.1.2.3", 8420)}, headers)


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

"""The peer is the connection's other end; X-Forwarded-For counts only as far as trusted proxies wrote it."""

from __future__ import annotations

import pytest

from overseer.server.api.peers import PeerRule


def peer(direct: str | None, *forwarded: str, trusted: tuple[str, ...] = ("10.0.0.0/8", "fd00::/8")) -> str:
    headers = [(b"x-forwarded-for", value.encode("latin-1")) for value in forwarded]
    return PeerRule(trusted).peer({"client": None if direct is None else (direct, 1), "headers": headers})


@pytest.mark.parametrize(
    ("direct", "forwarded", "expected"),
    [
        ("192.0.2.1", ["198.51.100.7"], "192.0.2.1"),
        ("10.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["203.0.113.9, 198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["203.0.113.9, 198.51.100.7, 10.0.0.2"], "198.51.100.7"),
        ("10.0.0.1", ["203.0.113.9", "198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["nonsense"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.7, nonsense, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("::ffff:10.0.0.1", ["::ffff:198.51.100.7"], "198.51.100.7"),
        ("fd00::1%eth0", ["[2001:db8::1]:443"], "2001:db8::1"),
        ("10.0.0.1", ["198.51.100.7:5555"], "198.51.100.7"),
        ("fe80::1%eth0", [], "fe80::1"),
        (None, ["198.51.100.7"], ""),
    ],
)
def test_peer(direct: str | None, forwarded: list[str], expected: str) -> None:
    assert peer(direct, *forwarded) == expected


def test_without_proxies_nothing_is_believed() -> None:
    assert peer("10.0.0.1", "198.51.100.7", trusted=()) == "10.0.0.1"

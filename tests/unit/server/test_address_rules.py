"""Which addresses may be connected to, and that no way of writing one goes around that."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from overseer.server.address_rules import AddressRule, carried

INSIDE = AddressRule.parse(["10.0.0.0/8", "0.0.0.0/0", "::/0"], "X")
OUTSIDE = AddressRule()


@pytest.mark.parametrize(
    "text",
    [
        "169.254.169.254",
        "fe80::1",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
        "::169.254.169.254",
        "fd00:ec2::254",
        "192.0.0.192",
    ],
)
def test_no_configuration_leads_to_metadata(text: str) -> None:
    assert not INSIDE.allows(ip_address(text), encrypted=True)


@pytest.mark.parametrize("text", ["64:ff9b::a00:1", "2002:0a00:0001::1", "::10.0.0.1", "::ffff:0:10.0.0.1"])
def test_a_private_address_inside_another_one_is_private(text: str) -> None:
    assert carried(ip_address(text)) == ip_address("10.0.0.1")
    assert not OUTSIDE.allows(ip_address(text), encrypted=True)
    assert INSIDE.allows(ip_address(text), encrypted=True)


@pytest.mark.parametrize("text", ["93.184.216.34", "64:ff9b::5db8:d822", "2606:2800:220:1::1"])
def test_a_public_one_is_public(text: str) -> None:
    assert OUTSIDE.allows(ip_address(text), encrypted=True)
    assert not OUTSIDE.allows(ip_address(text), encrypted=False)


def test_loopback_carries_nothing() -> None:
    assert carried(ip_address("::1")) == ip_address("::1")
    assert not OUTSIDE.allows(ip_address("::1"), encrypted=True)

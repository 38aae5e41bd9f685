from __future__ import annotations

import pytest

from overseer.client.addresses import as_text, parse_address, parse_addresses
from overseer.core.errors import ConfigurationProblem


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://127.0.0.1:8420", "http://127.0.0.1:8420"),
        ("http://localhost:8420/", "http://localhost:8420"),
        ("http://[::1]:8420", "http://[::1]:8420"),
        ("http://127.8.9.1", "http://127.8.9.1"),
        ("https://overseer.example.org", "https://overseer.example.org"),
        ("https://overseer.example.org:8443/overseer/", "https://overseer.example.org:8443/overseer"),
    ],
)
def test_addresses_that_are_taken(url: str, shown: str) -> None:
    assert str(parse_address(url)) == shown


@pytest.mark.parametrize(
    "url",
    [
        "http://overseer.example.org", "http://10.0.0.1:8420", "http://0.0.0.0:8420", "http://localhost.example.org", "http://[::]:1",
        "http://127.0.0.1.example.org", "http://127.0.0.1@evil.example:80", "http://::1", "http://2130706433",
    ],
)  # fmt: skip
def test_plain_http_beyond_this_machine_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OVERSEER_ALLOW_PLAIN_HTTP", "1")  # there is no such switch
    with pytest.raises(ConfigurationProblem):
        parse_address(url)


@pytest.mark.parametrize(
    "url",
    ["", "127.0.0.1:8420", "ftp://localhost", "https://", "https://h/?a=b", "https://h/#f", "https://h:99999", "https://[::1"],
)
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(ConfigurationProblem):
        parse_address(url)


def test_a_password_in_the_url_is_refused_and_not_shown() -> None:
    with pytest.raises(ConfigurationProblem) as caught:
        parse_address("https://me:hunter2hunter2@overseer.example.org")
    assert "hunter2" not in str(caught.value)


def test_replicas_are_separated_by_commas_and_each_is_checked() -> None:
    found = parse_addresses("https://a.example.org:8420, https://b.example.org:8420/,https://a.example.org:8420,")
    assert as_text(found) == "https://a.example.org:8420,https://b.example.org:8420"
    assert parse_addresses(as_text(found)) == found
    with pytest.raises(ConfigurationProblem, match="plain HTTP"):
        parse_addresses("https://a.example.org,http://b.example.org")
    for nothing in ("", ",", " , "):
        with pytest.raises(ConfigurationProblem, match="begin with"):
            parse_addresses(nothing)

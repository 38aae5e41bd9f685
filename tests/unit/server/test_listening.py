"""Sockets and TLS: bound once, one clear error, nothing below TLS 1.2."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from overseer.core.errors import ConfigurationProblem
from overseer.server.listening import listening_sockets, tls_context
from overseer.server.settings import Settings
from tests.unit.server.certificate import self_signed


def test_a_port_is_bound_once() -> None:
    (first,) = listening_sockets("127.0.0.1", 0)
    with first, pytest.raises(ConfigurationProblem, match="in use"):
        listening_sockets("127.0.0.1", first.getsockname()[1])


def test_a_name_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigurationProblem):
        listening_sockets("no-such-host.invalid", 0)


def test_tls_is_1_2_or_later_and_the_key_is_private(tmp_path: Path) -> None:
    cert, key = self_signed(tmp_path)
    settings = Settings(data_dir=tmp_path, tls_cert=cert, tls_key=key)
    context = tls_context(settings)
    assert context is not None
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    key.chmod(0o644)
    with pytest.raises(ConfigurationProblem, match="chmod"):
        tls_context(settings)
    key.chmod(0o600)
    key.write_text("nonsense")
    with pytest.raises(ConfigurationProblem, match="PEM"):
        tls_context(settings)
    assert tls_context(Settings(data_dir=tmp_path)) is None

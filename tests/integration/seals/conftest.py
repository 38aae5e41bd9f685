"""The services that seals ask, as real processes or servers on loopback."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.seals.kms_server import KmsServer, kms_server


@pytest.fixture(scope="session")
def kms() -> Iterator[KmsServer]:
    """One for all tests of a run; each makes keys of its own."""
    with kms_server() as server:
        yield server


@pytest.fixture
def anyone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials of the default chain, from variables; nothing of this machine's own AWS configuration counts."""
    for name in ("AWS_PROFILE", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "anyone")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-a-secret")

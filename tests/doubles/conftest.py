"""Vault, twice: the double, and a real OpenBao."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.doubles.vault_system import DoubleVault, double_vault


@pytest.fixture
def double() -> Iterator[DoubleVault]:
    """The double, without mounts."""
    with double_vault() as vault:
        yield vault

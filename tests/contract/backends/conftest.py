"""Every kind of backend, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.contract.backends import arrangements
from tests.contract.backends.arrangements import Arranged, arranged_for

VAULTS = ("vault-kv1", "vault-kv2", "openbao-kv1", "openbao-kv2")
KINDS = (*VAULTS, "infisical", "aws", "azure")


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    """The address of an AWS for all tests here; each finds it without secrets."""
    with arrangements.moto_server() as url:
        yield url


@pytest.fixture(params=KINDS)
def arranged(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Arranged]:
    """A service that answers as it should."""
    with ExitStack() as stack:
        yield arranged_for(request, tmp_path, stack)


@pytest.fixture(params=[kind for kind in KINDS if not kind.startswith("openbao")])
def misled(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Arranged]:
    """For tests that send the adapter to something else: a real server would not be asked."""
    with ExitStack() as stack:
        yield arranged_for(request, tmp_path, stack)

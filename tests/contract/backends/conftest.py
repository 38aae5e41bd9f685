"""Every kind of backend, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.contract.backends import arrangements
from tests.contract.backends.arrangements import Arranged

KINDS = ("vault-kv1", "vault-kv2", "infisical", "aws", "azure")


@pytest.fixture(params=KINDS)
def arranged(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Arranged]:
    made: dict[str, AbstractContextManager[Arranged]] = {
        "vault-kv1": arrangements.vault(1),
        "vault-kv2": arrangements.vault(2),
        "infisical": arrangements.infisical(),
        "aws": arrangements.aws(),
        "azure": arrangements.azure(tmp_path),
    }
    with made[request.param] as found:
        yield found

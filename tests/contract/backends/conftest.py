"""Every kind of backend, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import pytest

from tests.contract.backends import arrangements
from tests.contract.backends.arrangements import Arranged
from tests.doubles.vault_system import double_vault

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
        yield _arranged(request, tmp_path, stack)


@pytest.fixture(params=[kind for kind in KINDS if not kind.startswith("openbao")])
def misled(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Arranged]:
    """For tests that send the adapter to something else: a real server would not be asked."""
    with ExitStack() as stack:
        yield _arranged(request, tmp_path, stack)


def _arranged(request: pytest.FixtureRequest, folder: Path, stack: ExitStack) -> Arranged:
    made: dict[str, Callable[[], AbstractContextManager[Arranged]]] = {
        "infisical": arrangements.infisical,
        "aws": lambda: arrangements.aws(request.getfixturevalue("moto")),
        "azure": lambda: arrangements.azure(folder),
    }
    if request.param not in VAULTS:
        return stack.enter_context(made[request.param]())
    real = request.param.startswith("openbao")
    server = request.getfixturevalue("openbao") if real else stack.enter_context(double_vault())
    return stack.enter_context(arrangements.vault(server, int(request.param[-1])))

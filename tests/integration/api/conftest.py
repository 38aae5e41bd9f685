"""The whole server in this process, over a real database: the composed application, asked through its ASGI interface."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import httpx
import pytest

from overseer.core.errors import ConfigurationProblem
from overseer.crypto.keys import RootKey
from overseer.server.api import application
from overseer.server.api.catalogue import ROUTES
from overseer.server.api.route import Route
from overseer.server.composition import composed
from overseer.server.seals.selection import make_seal
from overseer.server.settings import Settings
from tests.integration.api.people import Server
from tests.integration.server_process.installation import Installation


@pytest.fixture(scope="module")
def installation() -> Iterator[Installation]:
    """One initialised database for a module's tests."""
    home = Path(tempfile.mkdtemp(prefix="ovs-"))
    if os.geteuid() == 0:
        home.chmod(0o711)
    try:
        made = Installation(home / "data")
    except ConfigurationProblem as problem:
        pytest.skip(problem.message)
    yield made
    made.postgres.stop()
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def described_once() -> Iterator[None]:
    """The description of the API is made once for all applications of a process: it depends on the routes alone, and to make it
    takes longer than most tests. That it is right is for tests/unit/server/api."""
    describe = application.documentation_routes
    made = describe(ROUTES)

    def described(routes: Sequence[Route]) -> tuple[Route, ...]:
        return made if routes is ROUTES else describe(routes)  # unit tests of the same process have routes of their own

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(application, "documentation_routes", described)
        yield


@pytest.fixture
async def server(installation: Installation, described_once: None) -> AsyncIterator[Server]:
    """The application over it, unsealed, with the owner's token at hand."""

    async def ignore(root_key: RootKey) -> None:
        await asyncio.sleep(0)

    settings = Settings(data_dir=installation.home, database_url=installation.url, allowed_hosts=("vault.example",))
    async with composed(settings, on_unsealed=ignore) as parts:
        await parts.keys.open(await make_seal(installation.seal).root_key())
        transport = httpx.ASGITransport(parts.app, client=("127.0.0.1", 4711))  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8420", timeout=60) as http:
            yield Server(http, installation.owner_token)

"""Moving in from a store that is alive: set up, import, delete, for every kind of backend, by the command line alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.contract.backends.arrangements import Arranged, arranged_for, moto_server
from tests.e2e.cli.conftest import Overseer, running

pytestmark = pytest.mark.postgres


@pytest.fixture(scope="module")
def allowing() -> Iterator[Overseer]:
    """A server whose operator lets backends be on loopback."""
    with running("ovs-backend-", '[backend-address.here]\nhosts = ["127.0.0.1"]\nprivate = true\n') as client:
        yield client


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    """The address of an AWS."""
    with moto_server() as url:
        yield url


@pytest.fixture(params=["openbao-kv2", "infisical", "aws", "azure"])
def arranged(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Arranged]:
    with ExitStack() as stack:
        yield arranged_for(request, tmp_path, stack)


def test_moving_in_is_three_commands(allowing: Overseer, arranged: Arranged, tmp_path: Path) -> None:
    app = f"moved-{arranged.kind}"
    for number, ref in enumerate(arranged.refs):
        arranged.put(ref, f"canary-{number}")
    options = [part for name, text in arranged.settings.items() for part in ("--set", f"{name}={text}")]
    for name, text in arranged.credentials.items():
        (tmp_path / name).write_text(text)
        options += ["--credential", f"{name}={tmp_path / name}"]
    allowing("app", "create", app)
    folder = arranged.folder.rstrip("/")
    allowing("backend", "create", "old", "--kind", arranged.kind, *options)
    take = ("secret", "import", "--from", f"old:{folder}", "--app", app, "--fields", "split")
    dry = allowing(*take, "--dry-run")
    assert b"canary" not in dry.stdout + dry.stderr
    assert b"db-value" in dry.stdout
    done = allowing(*take, "--rename", f"{arranged.refs[1].rpartition('/')[2].removeprefix('shop-')}#value=mail")
    assert b"canary" not in done.stdout + done.stderr
    allowing("backend", "delete", "old", "--yes")
    found = [allowing("secret", "get", name, "--app", app).stdout for name in ("db-value", "mail")]
    assert found == [b"canary-0", b"canary-1"]
    undo = done.stderr.decode().rpartition("overseer import undo ")[2].strip()
    allowing("import", "undo", undo)
    assert allowing("secret", "list", "--app", app, "--json").stdout.strip() == b"[]"


def test_options_of_one_way_are_refused_on_the_other(allowing: Overseer) -> None:
    for arguments in (
        ("x.env", "--from", "old:x"), ("--from", "old:x", "--format", "json"), ("x.env", "--recursive"), (),
    ):  # fmt: skip
        assert allowing("secret", "import", *arguments, code=None).returncode == 2

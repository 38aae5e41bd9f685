"""The undo of an adoption, where somebody else wrote the file: it reaches nothing but the project."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from overseer.cli.adoption_undo import UNDO_FILE, Undo, check_import, new_key, read_undo, restore, write_undo
from overseer.core.errors import DecryptionFailed, InvalidInput
from overseer.core.scopes import Scope
from overseer.wire.imports import ImportItemView, ImportView
from overseer.wire.secrets import ScopeView

UNDO = Undo("import", "adopt-undo-1", Scope("shop", None, None), datetime.now(UTC) + timedelta(days=1), b"")
KEY = new_key()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    made = tmp_path / "project"
    made.mkdir()
    return made


def test_files_are_as_they_were(project: Path) -> None:
    (project / ".env").write_bytes(b"after")
    write_undo(project, UNDO, KEY, {".env": b"before"}, {".env": b"after"})
    assert restore(project, read_undo(project), KEY) == [".env"]
    assert (project / ".env").read_bytes() == b"before"


@pytest.mark.parametrize("path", ["../outside", "a/../../outside", "link/outside", "absolute"])
def test_nothing_outside_of_the_project_is_written(project: Path, tmp_path: Path, path: str) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"theirs")
    (project / "a").mkdir()
    (project / "link").symlink_to(tmp_path)
    path = str(outside) if path == "absolute" else path
    write_undo(project, UNDO, KEY, {".env": b"", path: b"payload"}, {path: b"theirs"})
    with pytest.raises(InvalidInput):
        restore(project, read_undo(project), KEY)
    assert outside.read_bytes() == b"theirs"


def test_the_file_names_no_other_secret_than_a_key_of_an_undo(project: Path) -> None:
    write_undo(project, replace(UNDO, key_name="db-password"), KEY, {".env": b""}, {".env": b""})
    assert json.loads((project / UNDO_FILE).read_bytes())["key"] == "db-password"
    with pytest.raises(InvalidInput):
        read_undo(project)


@pytest.mark.parametrize(("key_id", "former", "accepted"), [("k", None, True), ("other", None, False), ("k", 1, False)])
def test_no_other_import_is_taken_back_than_the_one_that_made_the_key(key_id: str, former: int | None, accepted: bool) -> None:
    item = ImportItemView(name="adopt-undo-1", secret_id=key_id, version=1, former_version=former, state="unchanged")
    scope = ScopeView(app="shop", environment=None, node=None)
    found = ImportView("import", "adopt shop", scope, "ann", datetime.now(UTC), None, [item])
    with nullcontext() if accepted else pytest.raises(InvalidInput):
        check_import(found, "k")


def test_more_time_is_another_file(project: Path) -> None:
    write_undo(project, UNDO, KEY, {".env": b"x"}, {".env": b"y"})
    longer = replace(read_undo(project), expires=UNDO.expires + timedelta(days=9))
    with pytest.raises(DecryptionFailed):
        restore(project, longer, KEY)
    assert not (project / ".env").exists()

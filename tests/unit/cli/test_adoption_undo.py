"""The undo of an adoption, where somebody else wrote the file: it reaches nothing but the project."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from overseer.cli.adoption_undo import UNDO_FILE, Undo, new_key, read_undo, restore, write_undo
from overseer.core.errors import DecryptionFailed, InvalidInput
from overseer.core.scopes import Scope

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


def test_more_time_is_another_file(project: Path) -> None:
    write_undo(project, UNDO, KEY, {".env": b"x"}, {".env": b"y"})
    longer = replace(read_undo(project), expires=UNDO.expires + timedelta(days=9))
    with pytest.raises(DecryptionFailed):
        restore(project, longer, KEY)
    assert not (project / ".env").exists()

from __future__ import annotations

import json
from pathlib import Path

import pytest

from overseer.cli.commands.compose import available_values
from overseer.compose.grammar import Reference
from overseer.core.errors import InvalidInput
from overseer.core.secret_value import SecretValue
from tests.unit.cli.conftest import Overseer

FILE = "# kept\nservices:\n  web:\n    image: x\n    environment:\n      - A=${SECRET:db}   # kept too\n"


def _values(tmp_path: Path, content: str) -> str:
    path = tmp_path / "values.json"
    path.write_text(content)
    return str(path)


def test_render_replaces_references_and_keeps_the_rest(overseer: Overseer, tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text(FILE)
    ended = overseer("compose", "render", str(file), "--values", _values(tmp_path, '{"db": "pa$s"}'))
    assert (ended.code, ended.err) == (0, "")
    assert ended.text == FILE.replace("A=${SECRET:db}", '"A=pa$$s"')
    file.write_text(FILE.replace("${SECRET:db}", "1"))
    assert overseer("compose", "render", str(file), "--values", _values(tmp_path, "{}")).out == file.read_bytes()


def test_what_is_missing_is_told_with_its_place_and_nothing_is_printed(overseer: Overseer, tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text(FILE)
    ended = overseer("compose", "render", str(file), "--values", _values(tmp_path, '{"dbb": "canary"}'))
    assert (ended.code, ended.out) == (65, b"")
    assert f"{file}:6:11: " in ended.err
    assert "canary" not in ended.err


@pytest.mark.parametrize("content", ["canary", "[]", '{"db": 4711}', "\xff"])
def test_values_that_are_no_object_of_texts_are_not_shown(overseer: Overseer, tmp_path: Path, content: str) -> None:
    (tmp_path / "compose.yaml").write_text(FILE)
    ended = overseer("compose", "render", str(tmp_path / "compose.yaml"), "--values", _values(tmp_path, content))
    assert ended.code == 65
    assert not {"canary", "4711"} & set(ended.err.split())


def test_versions_and_fields_are_looked_up_exactly() -> None:
    given = {name: SecretValue(value) for name, value in {"a": '{"x": "1"}', "a@2": '{"x": "2"}', "b#y": "3"}.items()}
    plain, field, pinned, direct = Reference("a"), Reference("a", None, "x"), Reference("a", 2, "x"), Reference("b", None, "y")
    found = available_values((plain, field, pinned, direct, Reference("a", 3), Reference("b")), given)
    expected = {plain: '{"x": "1"}', field: "1", pinned: "2", direct: "3"}
    assert found == {reference: SecretValue(value) for reference, value in expected.items()}
    with pytest.raises(InvalidInput):
        available_values((Reference("a", None, "z"),), given)


PLAINTEXT = "services:\n  web:\n    image: x\n    environment:\n      DB_PASSWORD: hunter2hunter2\n"


def test_lint_ends_with_1_for_an_error_and_never_shows_a_value(overseer: Overseer, tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text(PLAINTEXT)
    for arguments in ((str(tmp_path),), (str(tmp_path / "compose.yaml"),)):
        ended = overseer("compose", "lint", *arguments)
        assert ended.code == 1
        assert "compose.yaml:5:" in ended.text
        assert "OVS001" in ended.text
        assert "hunter2" not in ended.text + ended.err
    assert json.loads(overseer("compose", "lint", str(tmp_path), "--json").out)[0]["rule"] == "OVS001"
    log = json.loads(overseer("compose", "lint", str(tmp_path), "--sarif").out)
    assert (log["version"], log["runs"][0]["results"][0]["ruleId"]) == ("2.1.0", "OVS001")


def test_lint_of_a_clean_project(overseer: Overseer, tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("services:\n  web:\n    image: x\n")
    ended = overseer("compose", "lint", str(tmp_path))
    assert (ended.code, ended.out, ended.err) == (0, b"", "nothing found\n")


def test_fix_mends_in_place(overseer: Overseer, tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text(FILE.replace("A=${SECRET:db}", '"A=${secret: db}"'))
    assert overseer("compose", "lint", str(tmp_path)).code == 1
    ended = overseer("compose", "lint", str(tmp_path), "--fix")
    assert ended.code == 0, ended.text
    assert "mended compose.yaml" in ended.err
    assert file.read_text() == FILE.replace("A=${SECRET:db}", '"A=${SECRET:db}"')

"""``compose render`` and ``compose lint`` without a server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from overseer.cli.compose_project import open_project
from overseer.cli.compose_rendering import join_documents, render_project
from overseer.cli.compose_values import Supply, supply_from
from overseer.compose.grammar import Reference
from overseer.compose.references import find_references
from overseer.core.errors import ReferencesRefused
from overseer.core.secret_value import SecretValue
from tests.unit.cli.conftest import Overseer

FILE = "# kept\nservices:\n  web:\n    image: x\n    environment:\n      - A=${SECRET:db}   # kept too\n"


def _values(tmp_path: Path, content: str) -> str:
    path = tmp_path / "values.json"
    path.write_text(content)
    return str(path)


def _compose(tmp_path: Path, text: str, name: str = "compose.yaml") -> str:
    (tmp_path / name).write_text(text)
    return str(tmp_path / name)


def test_render_replaces_references_and_keeps_the_rest(overseer: Overseer, tmp_path: Path) -> None:
    file = _compose(tmp_path, FILE)
    ended = overseer("compose", "render", file, "--values", _values(tmp_path, '{"db": "pa$s"}'))
    assert (ended.code, ended.err) == (0, "")
    assert ended.text == FILE.replace("A=${SECRET:db}", '"A=pa$$s"')


@pytest.mark.parametrize("text", [FILE.replace("${SECRET:db}", "1"), "\ufeffservices: {}\r\n", "a: [", "", "\x00"])
def test_without_references_every_byte_stays(overseer: Overseer, tmp_path: Path, text: str) -> None:
    file = tmp_path / "compose.yaml"
    file.write_bytes(text.encode())
    assert overseer("compose", "render", str(file), "--values", _values(tmp_path, "{}")).out == file.read_bytes()


def test_what_is_missing_is_told_with_its_place_and_nothing_is_printed(overseer: Overseer, tmp_path: Path) -> None:
    file = _compose(tmp_path, FILE)
    ended = overseer("compose", "render", file, "--values", _values(tmp_path, '{"dbb": "canary"}'))
    assert (ended.code, ended.out) == (65, b"")
    assert f"{file}:6:11: " in ended.err
    assert "canary" not in ended.err


def test_every_problem_of_every_file_is_one_line_and_says_what_to_do(overseer: Overseer, tmp_path: Path) -> None:
    _compose(tmp_path, "X=${SECRET:from-env}\n", "app.env")
    _compose(tmp_path, "Y=${SECRET: from-env}\n", "bad.env")
    _compose(tmp_path, "services: {old: {image: x, environment: {A: '${SECRET:from-extends}'}}}\n", "base.yaml")
    _compose(tmp_path, "services:\n  web:\n    environment: {Z: '${SECRET:nothing}'}\n", "compose.override.yml")
    _compose(
        tmp_path,
        "services:\n  web:\n    extends: {file: base.yaml, service: old}\n    env_file: [app.env, bad.env]\n    environment:\n"
        "      A: ${SECRET:db_password}\n      B: ${SECRET:json#gone:-x}\n      C: '${SECRET: db}'\n      D: ${SECRET:text#a}\n"
        "    ports: ['${SECRET:port}']\n",
    )
    values = _values(tmp_path, '{"db-password": "canary", "json": "{\\"a\\": \\"canary\\"}", "port": "1", "text": "canary"}')
    ended = overseer("compose", "render", "--project-directory", str(tmp_path), "--values", values)
    assert (ended.code, ended.out) == (65, b"")
    lines = [line.removeprefix(f"{tmp_path}/") for line in ended.err.splitlines()[1:]]
    starts = {line.rpartition(": ")[0].split(": ")[0]: line for line in lines}
    assert list(starts) == [
        "app.env:1:3", "bad.env:1:3", "base.yaml:1:46", "compose.override.yml:3:23", "compose.yaml:6:10", "compose.yaml:7:10",
        "compose.yaml:8:11", "compose.yaml:9:10", "compose.yaml:10:14",
    ]  # fmt: skip
    assert len(lines) == len(starts)
    assert 'did you mean "db-password"?' in starts["compose.yaml:6:10"]
    assert "has no field gone" in starts["compose.yaml:7:10"]
    assert "is not JSON" in starts["compose.yaml:9:10"]
    assert "render that file apart" in starts["app.env:1:3"]
    assert "canary" not in ended.err


def test_several_files_become_documents_in_their_order(overseer: Overseer, tmp_path: Path) -> None:
    first = _compose(tmp_path, FILE.rstrip("\n"), "a.yaml")
    second = _compose(tmp_path, "\ufeff# second\nservices: {web: {environment: {B: '${SECRET:db}'}}}\n", "b.yaml")
    values = _values(tmp_path, '{"db": "v"}')
    ended = overseer("compose", "render", first, "-f", second, "--values", values)
    assert ended.code == 0, ended.err
    rendered = FILE.replace("A=${SECRET:db}", '"A=v"')
    assert ended.text == rendered + '---\n# second\nservices: {web: {environment: {B: "v"}}}\n'
    assert overseer("compose", "render", "-f", first, "-f", second, "--values", values).out == ended.out


@pytest.mark.parametrize(
    ("parts", "joined"),
    [
        ([b"a: 1"], b"a: 1"),
        ([b"\xef\xbb\xbfa: 1"], b"\xef\xbb\xbfa: 1"),
        ([b"a: 1\n", b"---\nb: 2\n"], b"a: 1\n---\nb: 2\n"),
        ([b"a: 1\n", b"# c\n---\nb: 2\n"], b"a: 1\n# c\n---\nb: 2\n"),
        ([b"a: 1\n", b"%YAML 1.1\n---\nb: 2\n"], b"a: 1\n...\n%YAML 1.1\n---\nb: 2\n"),
        ([b"a: 1\n", b"# nothing\n", b"c: 3\n"], b"a: 1\n# nothing\n---\nc: 3\n"),
        ([b"a: 1\n", b"b: ["], b"a: 1\n---\nb: ["),
        ([b"a: |+\n  x\n\n", b"b: 2"], b"a: |+\n  x\n\n---\nb: 2"),
    ],
)
def test_joining_files(parts: list[bytes], joined: bytes) -> None:
    assert join_documents(parts) == joined


def test_the_project_directory_is_where_relative_paths_begin(overseer: Overseer, tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    file = _compose(tmp_path, "services: {web: {image: x, env_file: app.env}}\n", "files/compose.yaml")
    _compose(tmp_path, "A=1\n", "files/app.env")
    _compose(tmp_path, "A=${SECRET:a}\n", "app.env")
    values = _values(tmp_path, "{}")
    assert overseer("compose", "render", file, "--values", values).code == 0
    ended = overseer("compose", "render", file, "--values", values, "--project-directory", str(tmp_path))
    assert ended.code == 65
    assert ended.err.splitlines()[1].startswith(f"{tmp_path}/app.env:1:3: Compose reads this file by itself")


def test_what_containers_mount_is_not_read(overseer: Overseer, tmp_path: Path) -> None:
    """A data directory larger than any bundle beside the file."""
    with (tmp_path / "data.bin").open("wb") as file:
        file.truncate(64 * 1024 * 1024)
    path = _compose(tmp_path, FILE + "    volumes: ['./data.bin:/data']\n")
    assert overseer("compose", "render", path, "--values", _values(tmp_path, '{"db": "v"}')).code == 0
    assert overseer("compose", "lint", path).code == 0


def test_an_env_file_is_rendered_by_itself(overseer: Overseer, tmp_path: Path) -> None:
    file = _compose(tmp_path, "# kept\nA=${SECRET:db}  # and this\nB='${SECRET:db}'\n", "app.env")
    ended = overseer("compose", "render", file, "--values", _values(tmp_path, '{"db": "a\\"$b"}'))
    assert (ended.code, ended.text) == (0, '# kept\nA="a\\"$$b"  # and this\nB=\'${SECRET:db}\'\n')
    ended = overseer("compose", "render", file, "--values", _values(tmp_path, '{"d-b": "canary"}'))
    assert (ended.code, ended.out) == (65, b"")
    assert ended.err.splitlines()[1] == f'{file}:2:3: secret "db" not available; did you mean "d-b"?'
    assert overseer("compose", "render", file, "-f", file, "--values", _values(tmp_path, "{}")).code == 2


def test_what_was_withheld_never_becomes_a_text(tmp_path: Path) -> None:
    """Also where nothing else is wrong: a word stands where the value would."""
    project = open_project([_compose(tmp_path, FILE)])
    scan = find_references(project.bundle)
    given = Supply({Reference("db"): SecretValue("v")})
    assert render_project(project, scan, given, allow_persisting=False).text.reveal().count(b"A=v") == 1
    withheld = Supply({}, withheld=frozenset({Reference("db")}))
    with pytest.raises(ReferencesRefused):
        render_project(project, scan, withheld, allow_persisting=False)


def test_files_that_only_a_deployment_delivers_are_named(overseer: Overseer, tmp_path: Path) -> None:
    text = "services:\n  web:\n    image: x\n    secrets: [tls]\nsecrets:\n  tls:\n    external: true\n"
    ended = overseer("compose", "render", _compose(tmp_path, text), "--values", _values(tmp_path, "{}"))
    assert (ended.code, ended.text) == (0, text)
    assert 'secret "tls" is delivered as a file by a deployment alone' in ended.err


def test_render_as_json(overseer: Overseer, tmp_path: Path) -> None:
    text = FILE + "    hostname: h-${SECRET:db}\n"
    ended = overseer("compose", "render", _compose(tmp_path, text), "--values", _values(tmp_path, '{"db": "v"}'), "--json")
    answer = json.loads(ended.out)
    assert (answer["references"], answer["masked"], answer["warnings"][0]["code"]) == (["db"], False, "reference_persists")
    assert answer["text"] == text.replace("A=${SECRET:db}", '"A=v"').replace("h-${SECRET:db}", '"h-v"')


@pytest.mark.parametrize("more", [["--reveal"], ["--app", "a"], ["--env", "e"], ["--node", "n"], ["--reason", "r"]])
def test_offline_and_a_server_do_not_go_together(overseer: Overseer, tmp_path: Path, more: list[str]) -> None:
    ended = overseer("compose", "render", _compose(tmp_path, FILE), "--values", _values(tmp_path, "{}"), *more)
    assert (ended.code, ended.out) == (2, b"")


@pytest.mark.parametrize("content", ["canary", "[]", '{"db": 4711}', "\xff"])
def test_values_that_are_no_object_of_texts_are_not_shown(overseer: Overseer, tmp_path: Path, content: str) -> None:
    ended = overseer("compose", "render", _compose(tmp_path, FILE), "--values", _values(tmp_path, content))
    assert ended.code == 65
    assert not {"canary", "4711"} & set(ended.err.split())


def test_versions_and_fields_are_looked_up_exactly() -> None:
    given = {name: SecretValue(value) for name, value in {"a": '{"x": "1"}', "a@2": '{"x": "2"}', "b#y": "3"}.items()}
    plain, field, pinned, direct = Reference("a"), Reference("a", None, "x"), Reference("a", 2, "x"), Reference("b", None, "y")
    lost = Reference("a", None, "z")
    found = supply_from(given, (plain, field, pinned, direct, Reference("a", 3), Reference("b"), lost))
    expected = {plain: '{"x": "1"}', field: "1", pinned: "2", direct: "3"}
    assert found.values == {reference: SecretValue(value) for reference, value in expected.items()}
    assert list(found.refused) == [lost]


# -- lint ---------------------------------------------------------------------------------------------------------------------

PLAINTEXT = "services:\n  web:\n    image: x\n    environment:\n      DB_PASSWORD: hunter2hunter2\n"


def test_lint_ends_with_1_for_an_error_and_never_shows_a_value(overseer: Overseer, tmp_path: Path) -> None:
    _compose(tmp_path, PLAINTEXT)
    for arguments in ((str(tmp_path),), (str(tmp_path / "compose.yaml"),)):
        ended = overseer("compose", "lint", *arguments)
        assert ended.code == 1
        assert ended.text == f"{tmp_path}/compose.yaml:5:20: error OVS001 DB_PASSWORD looks like a secret\n"
        assert "OVS001 Store it and write ${SECRET:name}" in ended.err
        assert ended.err.endswith("\n1 error\n")
        assert "hunter2" not in ended.text + ended.err
    assert json.loads(overseer("compose", "lint", str(tmp_path), "--json").out)[0]["rule"] == "OVS001"
    log = json.loads(overseer("compose", "lint", str(tmp_path), "--sarif").out)
    assert (log["version"], log["runs"][0]["results"][0]["ruleId"]) == ("2.1.0", "OVS001")


def test_a_known_token_is_one_finding_whatever_its_variable_is_called(overseer: Overseer, tmp_path: Path) -> None:
    token = "ghp_" + "0123456789abcdefghij" * 2
    file = _compose(tmp_path, PLAINTEXT + f"      API_TOKEN: '{token}'\n")
    ended = overseer("compose", "lint", file)
    assert [line.partition(": ")[2] for line in ended.text.splitlines()] == [
        "error OVS001 DB_PASSWORD looks like a secret", "error OVS001 this looks like a GitHub token",
    ]  # fmt: skip
    assert token not in ended.text


def test_lint_of_a_clean_project(overseer: Overseer, tmp_path: Path) -> None:
    _compose(tmp_path, "services:\n  web:\n    image: x\n")
    ended = overseer("compose", "lint", str(tmp_path))
    assert (ended.code, ended.out, ended.err) == (0, b"", "nothing found\n")


@pytest.mark.parametrize(
    ("text", "level", "code"),
    [
        (PLAINTEXT, "error", 1), (PLAINTEXT, "note", 1), (PLAINTEXT, "never", 0), (FILE, "error", 0), (FILE, "warning", 0),
        (FILE, "note", 1), (FILE.replace("${SECRET:db}", "$SECRET"), "warning", 1),
    ],
)  # fmt: skip
def test_fail_on_says_from_which_severity(overseer: Overseer, tmp_path: Path, text: str, level: str, code: int) -> None:
    _compose(tmp_path, text)
    for form in ([], ["--json"], ["--sarif"]):
        assert overseer("compose", "lint", str(tmp_path), "--fail-on", level, *form).code == code


def test_many_paths_are_their_projects_each_once(overseer: Overseer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a commit hook passes: every changed file, env files too."""
    for name in ("shop", "blog"):
        (tmp_path / name).mkdir()
    _compose(tmp_path, "services: {web: {image: x}}\n", "shop/compose.yaml")
    _compose(
        tmp_path, "services:\n  web:\n    env_file: app.env\n    environment: {A_TOKEN: hunter2x}\n", "shop/compose.override.yml"
    )
    _compose(tmp_path, "B_PASSWORD=hunter2y\n", "shop/app.env")
    _compose(tmp_path, PLAINTEXT, "blog/compose.prod.yaml")
    monkeypatch.chdir(tmp_path)
    paths = ["shop/compose.yaml", "shop/compose.override.yml", "shop/app.env", "blog/compose.prod.yaml"]
    ended = overseer("compose", "lint", *paths)
    assert [line.split(": ")[0] for line in ended.text.splitlines()] == [
        "blog/compose.prod.yaml:5:20", "shop/app.env:1:12", "shop/compose.override.yml:4:28",
    ]  # fmt: skip
    assert ended.err.endswith("3 errors in 2 projects\n")
    assert {one["file"] for one in json.loads(overseer("compose", "lint", *paths, "--json").out)} == {
        "blog/compose.prod.yaml", "shop/app.env", "shop/compose.override.yml",
    }  # fmt: skip


def test_an_env_file_without_a_project_is_told_and_no_reason_to_fail(overseer: Overseer, tmp_path: Path) -> None:
    ended = overseer("compose", "lint", file := _compose(tmp_path, "A_PASSWORD=hunter2x\n", "app.env"))
    assert (ended.code, ended.out) == (0, b"")
    assert f"{file}: not checked: there is no Compose file beside it" in ended.err


def test_a_code_quality_report(overseer: Overseer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _compose(tmp_path, PLAINTEXT + "      TWO_PASSWORD: hunter2two\n")
    monkeypatch.chdir(tmp_path)
    report = json.loads(overseer("compose", "lint", "--code-quality").out)
    assert [(one["check_name"], one["severity"], one["location"]) for one in report] == [
        ("plaintext-secret", "critical", {"path": "compose.yaml", "lines": {"begin": 5}}),
        ("plaintext-secret", "critical", {"path": "compose.yaml", "lines": {"begin": 6}}),
    ]
    marks = [one["fingerprint"] for one in report]
    assert len(set(marks)) == 2
    _compose(tmp_path, "# a line more\n" + PLAINTEXT + "      TWO_PASSWORD: hunter2two\n")
    assert [one["fingerprint"] for one in json.loads(overseer("compose", "lint", "--code-quality").out)] == marks
    assert overseer("compose", "lint", "--code-quality", "--json").code == 2


def test_sarif_names_files_as_scanners_find_them(overseer: Overseer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a b").mkdir()
    _compose(tmp_path, PLAINTEXT, "a b/compose.yaml")
    absolute = json.loads(overseer("compose", "lint", str(tmp_path / "a b"), "--sarif").out)["runs"][0]["results"][0]
    assert absolute["locations"][0]["physicalLocation"]["artifactLocation"] == {"uri": f"file://{tmp_path}/a%20b/compose.yaml"}
    monkeypatch.chdir(tmp_path)
    (run,) = json.loads(overseer("compose", "lint", "a b", "--sarif").out)["runs"]
    (result,) = run["results"]
    place = result["locations"][0]["physicalLocation"]
    assert place["artifactLocation"] == {"uri": "a%20b/compose.yaml", "uriBaseId": "%SRCROOT%"}
    assert place["region"] == {"startLine": 5, "startColumn": 20}
    rule = run["tool"]["driver"]["rules"][result["ruleIndex"]]
    assert (rule["id"], result["level"]) == (result["ruleId"], rule["defaultConfiguration"]["level"])


def test_fix_mends_in_place(overseer: Overseer, tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text(FILE.replace("A=${SECRET:db}", '"A=${secret: db}"') + "    extends: {file: base.yaml, service: old}\n")
    base = tmp_path / "base.yaml"
    base.write_text("services: {old: {image: x, environment: [A=${SECRET:db}]}}\n")
    assert overseer("compose", "lint", str(tmp_path)).code == 1
    ended = overseer("compose", "lint", str(tmp_path), "--fix")
    assert ended.code == 0, ended.text
    assert ended.err.splitlines()[:2] == [f"mended {file}", f"mended {base}"]
    assert file.read_text().startswith(FILE.replace("A=${SECRET:db}", '"A=${SECRET:db}"'))
    assert base.read_text() == 'services: {old: {image: x, environment: ["A=${SECRET:db}"]}}\n'
    assert "mended" not in overseer("compose", "lint", str(tmp_path), "--fix").err

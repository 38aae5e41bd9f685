from __future__ import annotations

from pathlib import Path

import pytest

from overseer.cli.stack_files import compose_files_of, stack_files
from overseer.compose.bundle import MAX_BUNDLE_BYTES
from overseer.core.errors import InvalidInput, TooLarge


def _write(root: Path, files: dict[str, str]) -> Path:
    for path, content in files.items():
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(content)
    return root


def _collected(root: Path, *given: str, more: tuple[str, ...] = ()) -> list[str]:
    return list(stack_files(root, compose_files_of(root, given), more))


@pytest.mark.parametrize(
    ("present", "found"),
    [
        (["compose.yaml", "compose.yml", "docker-compose.yml"], ["compose.yaml"]),
        (["docker-compose.yml", "docker-compose.override.yml"], ["docker-compose.yml", "docker-compose.override.yml"]),
        (["compose.yml", "compose.override.yaml", "docker-compose.override.yml"], ["compose.yml", "compose.override.yaml"]),
    ],
)
def test_compose_files_are_found_as_compose_finds_them(tmp_path: Path, present: list[str], found: list[str]) -> None:
    _write(tmp_path, dict.fromkeys(present, "services: {}\n"))
    assert compose_files_of(tmp_path, ()) == found


def test_without_a_compose_file_the_names_are_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"compose\.yaml"):
        compose_files_of(tmp_path, ())


def test_given_files_are_meant_from_where_the_caller_stands_or_from_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = _write(tmp_path / "stack", {"a/one.yaml": "{}", "two.yaml": "{}"})
    monkeypatch.chdir(root / "a")
    assert compose_files_of(root, ("one.yaml", "two.yaml")) == ["a/one.yaml", "two.yaml"]
    _write(tmp_path, {"outside.yaml": "{}"})
    for path in ("../../outside.yaml", str(tmp_path / "outside.yaml"), "none.yaml"):
        with pytest.raises(InvalidInput, match="below the project directory"):
            compose_files_of(root, (path,))


COMPOSE = """
x-base: &base
  env_file: [env/base.env, {path: env/other.env, required: false}]
include:
  - sub/compose.yaml
  - path: [other/a.yaml]
    project_directory: other
    env_file: other/vars.env
configs:
  one: {file: ./config.txt}
secrets:
  two: {file: secret.txt}
  three: {external: true}
services:
  web:
    <<: *base
    image: x
    extends: {file: common/base.yaml, service: base}
    label_file: labels
    volumes:
      - ./html:/srv:ro
      - data:/data
      - /etc/secrets/key:/run/key:ro
      - {type: bind, source: ./one.conf, target: /one}
      - {type: volume, source: ./none.conf, target: /two}
  tagged:
    env_file: !override tagged.env
"""


def test_what_the_files_name_is_taken_and_nothing_else(tmp_path: Path) -> None:
    _write(
        tmp_path,
        {
            "compose.yaml": COMPOSE,
            ".env": "A=1",
            "env/base.env": "",
            "env/other.env": "",
            "tagged.env": "",
            "config.txt": "",
            "secret.txt": "",
            "labels": "",
            "html/index.html": "",
            "html/deep/er.html": "",
            "one.conf": "",
            "none.conf": "",
            "stray": "",
            "sub/compose.yaml": "services: {s: {env_file: s.env}}",
            "sub/s.env": "",
            "sub/.env": "",
            "s.env": "",
            "other/a.yaml": "services: {o: {env_file: [o.env]}}",
            "other/o.env": "",
            "other/vars.env": "",
            "common/base.yaml": "services: {base: {env_file: base.env, extends: {service: root}}}",
            "common/base.env": "",
        },
    )
    expected = {
        "compose.yaml",
        ".env",
        "env/base.env",
        "env/other.env",
        "tagged.env",
        "config.txt",
        "secret.txt",
        "labels",
        "html/index.html",
        "html/deep/er.html",
        "one.conf",
        "sub/compose.yaml",
        "sub/s.env",
        "sub/.env",
        "other/a.yaml",
        "other/o.env",
        "other/vars.env",
        "common/base.yaml",
        "common/base.env",
    }
    assert set(_collected(tmp_path)) == expected
    assert set(_collected(tmp_path, more=("stray",))) == expected | {"stray"}


def test_variables_in_paths_take_all_that_fit(tmp_path: Path) -> None:
    files = {
        "compose.yaml": "services: {a: {env_file: 'env/${STAGE:-dev}.env'}}",
        "env/dev.env": "",
        "env/prod.env": "",
        "env/x.txt": "",
    }
    _write(tmp_path, files)
    assert set(_collected(tmp_path)) == {"compose.yaml", "env/dev.env", "env/prod.env"}


def test_nothing_outside_the_project_is_taken(tmp_path: Path) -> None:
    _write(tmp_path, {"outside.env": "canary", "outdir/file": "canary"})
    compose = (
        "services: {a: {env_file: [../outside.env, link.env, /etc/hostname], volumes: ['./linked:/x', '../outdir:/y', '.:/all']}}"
    )
    root = _write(tmp_path / "stack", {"compose.yaml": compose, "stray": ""})
    (root / "link.env").symlink_to("../outside.env")
    (root / "linked").symlink_to("../outdir")
    assert _collected(root) == ["compose.yaml"]
    with pytest.raises(InvalidInput):
        _collected(root, more=("link.env",))


def test_a_link_inside_is_followed(tmp_path: Path) -> None:
    _write(tmp_path, {"compose.yaml": "services: {a: {env_file: link.env}}", "real.env": "A=1"})
    (tmp_path / "link.env").symlink_to("real.env")
    assert stack_files(tmp_path, ["compose.yaml"])["link.env"] == b"A=1"


def test_circles_end(tmp_path: Path) -> None:
    _write(tmp_path, {"compose.yaml": "include: [b.yaml]\n", "b.yaml": "include: [compose.yaml, b.yaml]\n"})
    (tmp_path / "d").mkdir()
    assert set(_collected(tmp_path)) == {"compose.yaml", "b.yaml"}


@pytest.mark.parametrize(
    "content", ["a: [", "\x00", "- 1", "", "services: [1]", "services: {a: 1}", "include: {a: b}", "services: {a: {<<: [*x]}}"]
)
def test_a_broken_file_is_sent_for_the_server_to_name(tmp_path: Path, content: str) -> None:
    _write(tmp_path, {"compose.yaml": content})
    assert _collected(tmp_path) == ["compose.yaml"]


def test_sizes_are_bounded(tmp_path: Path) -> None:
    _write(tmp_path, {"compose.yaml": "services: {a: {volumes: ['./data:/d']}}"})
    (tmp_path / "data").mkdir()
    (tmp_path / "data/big").write_bytes(b"x" * MAX_BUNDLE_BYTES)
    with pytest.raises(TooLarge):
        _collected(tmp_path)
    (tmp_path / "data/big").unlink()
    for number in range(1000):
        (tmp_path / f"data/{number}").touch()
    with pytest.raises(TooLarge):
        _collected(tmp_path)

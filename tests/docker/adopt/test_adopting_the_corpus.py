"""The corpus adopted: the real ``docker compose config`` says that each project means the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from overseer.cli.model_proof import prove_unchanged
from overseer.compose.adoption import adopt
from overseer.compose.bundle import Bundle
from overseer.core.errors import InvalidInput
from overseer.core.secret_value import SecretValue

CORPUS = Path(__file__).parents[1] / "compose_language" / "corpus"
CASES = sorted(path.name for path in CORPUS.iterdir() if path.is_dir())
SHOP = b"""services:
  db:
    image: postgres
    environment: {POSTGRES_PASSWORD: "pa$$w'\\"ord: #x", OTHER: 1}
    env_file: [app.env]
"""
ENV = b'A_TOKEN="two\\nlines \\"q\\" \\$x" # c\nB_PASSWORD=\'$as-it-is\'\nC_URL=amqp://u:pw@h/\nD_SECRET=x y\n'


def bundle_of(case: str) -> Bundle:
    root = CORPUS / case
    return Bundle({str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()})


@pytest.mark.parametrize("case", CASES)
def test_every_project_means_the_same(case: str) -> None:
    bundle = bundle_of(case)
    found = adopt(bundle)
    if not found.findings:
        return
    prove_unchanged(bundle, replace(bundle, files={**bundle.files, **found.files}), found.secrets())
    as_files = adopt(bundle, as_files=True)
    if as_files.forms:
        after = replace(bundle, files={**bundle.files, **as_files.files})
        prove_unchanged(bundle, after, as_files.secrets(), as_files.forms)


def test_something_is_found_in_the_corpus() -> None:
    assert sum(bool(adopt(bundle_of(case)).findings) for case in CASES) >= 5


def test_exact_values() -> None:
    bundle = Bundle({"compose.yaml": SHOP, "app.env": ENV})
    found = adopt(bundle)
    assert {name: value.reveal() for name, value in found.secrets().items()} == {
        "postgres-password": b"pa$w'\"ord: #x", "a-token": b'two\nlines "q" $x', "b-password": b"$as-it-is",
        "c-url-password": b"pw", "d-secret": b"x y",
    }  # fmt: skip
    after = replace(bundle, files={**bundle.files, **found.files})
    prove_unchanged(bundle, after, found.secrets())
    wrong = {**found.secrets(), "d-secret": SecretValue("another")}
    with pytest.raises(InvalidInput) as caught:
        prove_unchanged(bundle, after, wrong)
    assert [one.place for one in caught.value.problems] == ["services.db.environment.D_SECRET"]
    changed = replace(after, files={**after.files, "compose.yaml": after.files["compose.yaml"].replace(b"OTHER: 1", b"OTHER: 2")})
    with pytest.raises(InvalidInput, match="not the same"):
        prove_unchanged(bundle, changed, found.secrets())


FILES = b"""services:
  db:
    image: postgres:16
    environment:
      POSTGRES_PASSWORD: "pa$$w'\\"ord: #x"
      POSTGRES_USER: app
    volumes:
      - data:/var/lib/postgresql/data
  blog:
    image: wordpress
    environment:
      - WORDPRESS_DB_PASSWORD=same
      - WORDPRESS_AUTH_KEY=same
      - OTHER_SECRET=kept in the environment
volumes: {data: {}}
"""


def test_variables_that_become_files_are_the_one_difference() -> None:
    bundle = Bundle({"compose.yaml": FILES})
    found = adopt(bundle, as_files=True)
    assert sorted(one.key for one in found.forms) == [
        "POSTGRES_PASSWORD_FILE", "WORDPRESS_AUTH_KEY_FILE", "WORDPRESS_DB_PASSWORD_FILE",
    ]  # fmt: skip
    after = replace(bundle, files={**bundle.files, **found.files})
    prove_unchanged(bundle, after, found.secrets(), found.forms)
    with pytest.raises(InvalidInput, match="not the same"):
        prove_unchanged(bundle, after, found.secrets())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"/etc/secrets/postgres-password:", b"/etc/secrets/another:"),
        (b"postgres-password:ro", b"postgres-password"),
        (b"_PASSWORD_FILE: /run/secrets/postgres-password", b"_PASSWORD_FILE: /run/secrets/wordpress-db-password"),
        (b"POSTGRES_PASSWORD_FILE: ", b"POSTGRES_PASSWORD: x\n      POSTGRES_PASSWORD_FILE: "),
        (b"POSTGRES_USER: app", b"POSTGRES_USER: other"),
    ],
)
def test_a_file_that_is_not_the_one_that_is_meant(old: bytes, new: bytes) -> None:
    bundle = Bundle({"compose.yaml": FILES})
    found = adopt(bundle, as_files=True)
    assert old in found.files["compose.yaml"]
    after = replace(bundle, files={"compose.yaml": found.files["compose.yaml"].replace(old, new)})
    with pytest.raises(InvalidInput, match="not the same"):
        prove_unchanged(bundle, after, found.secrets(), found.forms)

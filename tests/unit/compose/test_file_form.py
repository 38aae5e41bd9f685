"""The form of files on adoption: written where an image is known to read it, and left alone where anything stands against it."""

from __future__ import annotations

import pytest

from overseer.compose.adoption import Adoption, adopt
from overseer.compose.bundle import Bundle
from overseer.compose.lint import lint_bundle

PLAIN = """\
services:
  db:
    image: postgres:16   # kept
    environment:
      POSTGRES_PASSWORD: pa$$word   # why
      OTHER_PASSWORD: other
"""
PLAIN_AFTER = """\
services:
  db:
    image: postgres:16   # kept
    volumes:
      - /etc/secrets/postgres-password:/run/secrets/postgres-password:ro
    environment:
      POSTGRES_PASSWORD_FILE: /run/secrets/postgres-password   # why
      OTHER_PASSWORD: "${SECRET:other-password}"
"""


def adopted(text: str, **files: str) -> Adoption:
    more = {f"{name}.env": one.encode() for name, one in files.items()}
    return adopt(Bundle({"compose.yaml": text.encode(), **more}), as_files=True)


def after(text: str, **files: str) -> str:
    return adopted(text, **files).files["compose.yaml"].decode()


def test_a_variable_becomes_a_file_and_the_rest_stays() -> None:
    found = adopted(PLAIN)
    assert found.files["compose.yaml"].decode() == PLAIN_AFTER
    assert [(one.service, one.variable, one.key, one.mount) for one in found.forms] == [
        ("db", "POSTGRES_PASSWORD", "POSTGRES_PASSWORD_FILE", "/etc/secrets/postgres-password:/run/secrets/postgres-password:ro")
    ]
    assert {name: value.reveal() for name, value in found.secrets().items()} == {
        "postgres-password": b"pa$word", "other-password": b"other",
    }  # fmt: skip
    assert b"word" not in found.masked["compose.yaml"].replace(b"PASSWORD", b"").replace(b"Password", b"")
    assert "OVS005" not in {one.rule for one in lint_bundle(Bundle({"compose.yaml": found.files["compose.yaml"]}))}


def test_without_the_wish_it_stays_in_the_environment() -> None:
    found = adopt(Bundle({"compose.yaml": PLAIN.encode()}))
    assert found.forms == ()
    assert b'POSTGRES_PASSWORD: "${SECRET:postgres-password}"' in found.files["compose.yaml"]


@pytest.mark.parametrize(
    ("image", "variable", "key"),
    [
        ("grafana/grafana:11", "GF_SECURITY_ADMIN_PASSWORD", "GF_SECURITY_ADMIN_PASSWORD__FILE"),
        ("lscr.io/linuxserver/nextcloud", "MYSQL_PASSWORD", "FILE__MYSQL_PASSWORD"),
        ("docker.io/library/mariadb:11", "MARIADB_ROOT_PASSWORD", "MARIADB_ROOT_PASSWORD_FILE"),
        ("vaultwarden/server", "ADMIN_TOKEN", "ADMIN_TOKEN_FILE"),
        ("quay.io/prometheuscommunity/postgres-exporter", "DATA_SOURCE_PASS", "DATA_SOURCE_PASS_FILE"),
        ("passbolt/passbolt:latest-ce", "DATASOURCES_DEFAULT_PASSWORD", "DATASOURCES_DEFAULT_PASSWORD_FILE"),
    ],
)
def test_every_image_has_its_own_form(image: str, variable: str, key: str) -> None:
    [form] = adopted(f"services:\n  a:\n    image: {image}\n    environment:\n      {variable}: hunter2\n").forms
    assert form.key == key


@pytest.mark.parametrize("image", ["redis", "postgres-like", "ghcr.io/me/app", "rabbitmq"])
def test_other_images_keep_their_environment(image: str) -> None:
    assert adopted(f"services:\n  a:\n    image: {image}\n    environment:\n      POSTGRES_PASSWORD: hunter2\n").forms == ()


def test_lists_quotes_volumes_and_ends_of_lines() -> None:
    mount = "/etc/secrets/postgres-password:/run/secrets/postgres-password:ro"
    text = PLAIN.replace("      OTHER_PASSWORD: other\n", "    volumes:\n    # data\n    - data:/x\n    - b:/y\n")
    assert f"    volumes:\n    # data\n    - {mount}\n    - data:/x\n    - b:/y\n" in after(text)
    listed = "services:\n  db:\n    environment:\n      - \"POSTGRES_PASSWORD=x y\"\n    volumes: [a:/b]\n    image: postgres"
    assert after(listed) == (
        'services:\n  db:\n    environment:\n      - "POSTGRES_PASSWORD_FILE=/run/secrets/postgres-password"\n'
        f'    volumes: ["{mount}", a:/b]\n    image: postgres'
    )
    assert after(PLAIN.replace("\n", "\r\n")) == PLAIN_AFTER.replace("\n", "\r\n")
    assert after("\ufeff" + PLAIN) == "\ufeff" + PLAIN_AFTER


def test_two_variables_of_one_service_are_two_mounts() -> None:
    text = "services:\n  db:\n    image: mysql\n    environment:\n      MYSQL_PASSWORD: one\n      MYSQL_ROOT_PASSWORD: two\n"
    assert after(text) == (
        "services:\n  db:\n    image: mysql\n    volumes:\n"
        "      - /etc/secrets/mysql-password:/run/secrets/mysql-password:ro\n"
        "      - /etc/secrets/mysql-root-password:/run/secrets/mysql-root-password:ro\n    environment:\n"
        "      MYSQL_PASSWORD_FILE: /run/secrets/mysql-password\n"
        "      MYSQL_ROOT_PASSWORD_FILE: /run/secrets/mysql-root-password\n"
    )


AGAINST = {
    "a healthcheck": PLAIN + "    healthcheck:\n      test: [CMD-SHELL, psql -W $$POSTGRES_PASSWORD]\n",
    "a command": PLAIN + "    command: sh -c 'echo $${POSTGRES_PASSWORD}'\n",
    "the other variable": PLAIN.replace("OTHER_PASSWORD: other", "POSTGRES_PASSWORD_FILE: /x"),
    "an anchor": PLAIN.replace("environment:", "environment: &env") + "  b:\n    image: other\n    environment: *env\n",
    "a merge": PLAIN.replace("  db:", "  db: &db") + "  b:\n    <<: *db\n    image: other\n",
    "a flow": "services: {db: {image: postgres, environment: {POSTGRES_PASSWORD: pw}}}\n",
    "an alias of the value": PLAIN.replace("pa$$word", "&pw pa$$word") + "    command: [*pw]\n",
    "no image": PLAIN.replace("image: postgres:16", "build: ."),
    "an empty list of volumes": PLAIN + "    volumes: []\n",
    "an end of line": PLAIN.replace("pa$$word   # why", '"pa\\n"'),
    "an image of variables": PLAIN.replace("postgres:16", "${IMAGE}"),
}


@pytest.mark.parametrize("text", AGAINST.values(), ids=AGAINST.keys())
def test_what_stands_against_it(text: str) -> None:
    found = adopted(text)
    assert found.forms == ()
    assert b"${SECRET:postgres-password}" in found.files["compose.yaml"]


def test_env_files_stay_as_they_are() -> None:
    found = adopted("services:\n  db:\n    image: postgres\n    env_file: app.env\n", app="POSTGRES_PASSWORD=x1\n")
    assert found.forms == ()
    assert found.files["app.env"] == b"POSTGRES_PASSWORD=${SECRET:postgres-password}\n"

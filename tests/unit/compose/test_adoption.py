"""Finding plaintext secrets and writing references: what is found, what stays byte for byte, and how good the judgement is."""

from __future__ import annotations

import json
from pathlib import Path

from overseer.compose.adoption import adopt
from overseer.compose.bundle import Bundle

COMPOSE = b"""\
# kept
services:
  db:
    image: postgres
    environment:
      POSTGRES_PASSWORD: pa$$word   # a comment
      POSTGRES_USER: app
      REFERENCED_PASSWORD: ${SECRET:x}
      COMPUTED_PASSWORD: ${OTHER}
  web:
    environment:
      - DATABASE_URL=postgres://app:hunter2@db/app
      - POSTGRES_PASSWORD=other
    env_file: app.env
"""
ENV = b"""\
# kept
export API_TOKEN=abc # why
SMTP_PASSWORD='it''s'
QUOTED_SECRET="a\\tb"
REDIS_URL=redis://:pw1@redis/0
PLAIN=1
"""


def test_only_values_change() -> None:
    found = adopt(Bundle({"compose.yaml": COMPOSE, "app.env": ENV.replace(b"it''s", b"its")}))
    assert found.files["compose.yaml"] == (
        COMPOSE.replace(b"pa$$word", b'"${SECRET:postgres-password}"')
        .replace(
            b"DATABASE_URL=postgres://app:hunter2@db/app", b'"DATABASE_URL=postgres://app:${SECRET:database-url-password}@db/app"'
        )
        .replace(b"POSTGRES_PASSWORD=other", b'"POSTGRES_PASSWORD=${SECRET:web-postgres-password}"')
    )
    assert found.files["app.env"] == (
        ENV.replace(b"=abc", b"=${SECRET:api-token}")
        .replace(b"'it''s'", b"${SECRET:smtp-password}")
        .replace(b'"a\\tb"', b"${SECRET:quoted-secret}")
        .replace(b":pw1@", b":${SECRET:redis-url-password}@")
    )
    assert {name: value.reveal().decode() for name, value in found.secrets().items()} == {
        "postgres-password": "pa$word", "database-url-password": "hunter2", "web-postgres-password": "other", "api-token": "abc",
        "smtp-password": "its", "quoted-secret": "a\tb", "redis-url-password": "pw1",
    }  # fmt: skip
    for text in found.masked.values():
        assert not any(value.reveal() in text for value in found.secrets().values() if len(value) > 3)
    assert b'"<redacted>"' in found.masked["compose.yaml"]  # and no escapes: people read this
    assert "hunter2" not in repr(found)


def test_one_value_under_one_name_is_one_secret() -> None:
    text = b"""services:
  a: &a {environment: {DB_PASSWORD: same}}
  b: {environment: {DB_PASSWORD: same}}
  c: *a
"""
    found = adopt(Bundle({"compose.yaml": text}), prefix="shop-")
    assert list(found.secrets()) == ["shop-db-password"]
    assert found.files["compose.yaml"] == text.replace(b"same", b'"${SECRET:shop-db-password}"')
    assert adopt(Bundle({"compose.yaml": found.files["compose.yaml"]})).findings == ()


def test_a_long_value_is_one_secret_whatever_its_keys() -> None:
    text = b"""services:
  a: {environment: {DATABASE_URL: 'postgres://app:VALUE@db/app', DB_PASSWORD: VALUE}}
  b: {environment: {POSTGRES_PASSWORD: VALUE, OTHER_PASSWORD: another-long-value}}
"""
    long, short = (Bundle({"compose.yaml": text.replace(b"VALUE", value)}) for value in (b"kT9-vq2XwLp8", b"kT9-vq2XwLp"))
    found = adopt(long)
    assert set(found.secrets()) == {"db-password", "other-password"}
    assert found.files["compose.yaml"].count(b"${SECRET:db-password}") == 3
    apart = {"database-url-password", "db-password", "postgres-password", "other-password"}
    assert set(adopt(long, separate=True).secrets()) == set(adopt(short).secrets()) == apart


def test_the_judgement_on_the_labelled_set() -> None:
    """The numbers stand in docs/how-to/adopt-a-stack.md; worse ones fail."""
    labelled = json.loads(Path(__file__).with_name("labelled_variables.json").read_text())

    def judged(key: str, value: str) -> bool:
        text = "services: {a: {environment: {" + f"{json.dumps(key)}: {json.dumps(value)}" + "}}}"
        return bool(adopt(Bundle({"compose.yaml": text.encode()})).findings)

    missed = [key for key, value in labelled["secret"] if not judged(key, value)]
    wrong = [key for key, value in labelled["other"] if judged(key, value)]
    right = len(labelled["secret"]) - len(missed)
    precision, recall = right / (right + len(wrong)), right / len(labelled["secret"])
    assert (precision, recall) >= (0.95, 0.9), (missed, wrong, precision, recall)
    assert recall >= 0.9, (missed, recall)
    page = (Path(__file__).parents[3] / "docs" / "how-to" / "adopt-a-stack.md").read_text()
    assert f"({len(labelled['secret'])} secrets and {len(labelled['other'])} other variables," in page
    assert f"the precision is {precision:.2f} and the recall {recall:.2f}" in page
    print(f"precision {precision:.3f} recall {recall:.3f} missed {missed} wrong {wrong}")

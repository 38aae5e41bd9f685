"""Tables of the configuration file: every key is checked, no secret stands there, nothing is said back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from overseer.core.errors import ConfigurationProblem
from overseer.core.secret_value import SecretValue
from overseer.server.key_channel import settings_from_wire, settings_to_wire
from overseer.server.settings import load_settings
from overseer.server.settings_tables import TableKind, key, keys_of, read_tables
from overseer.server.sign_in_settings import CI, OIDC
from overseer.server.table_kinds import TABLE_KINDS

CANARY = "cAnArY-71"


@dataclass(frozen=True)
class Lamp:
    """A kind of table for the tests."""

    place: str = key("Where it stands.")
    watts: int = key("How bright.", 5)
    lit: bool = key("Whether it is on.", False)
    colours: tuple[str, ...] = key("Which ones it can.", ("red",))
    labels: dict[str, str] = key("What else is known.", {})
    file: Path | None = key("A file.", None)
    secret: SecretValue | None = key("What nobody may read.", None)

    def __post_init__(self) -> None:
        if self.watts > 100:
            raise ConfigurationProblem("watts is at most 100")


LAMP = TableKind("lamp", Lamp, "A lamp.")


def read(table: dict[str, Any], environment: dict[str, str] | None = None) -> Lamp:
    return LAMP.read(read_tables({"lamp": {"desk": table}}, [LAMP], environment or {}))["desk"]


def test_what_is_written_is_read_and_the_rest_has_its_default() -> None:
    assert read({"place": "desk"}) == Lamp(place="desk")
    lamp = read({"place": "desk", "watts": 7, "lit": True, "colours": ["a", "b"], "labels": {"x": "y"}, "file": "/f"})
    assert lamp == Lamp(place="desk", watts=7, lit=True, colours=("a", "b"), labels={"x": "y"}, file=Path("/f"))


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({}, "place"),
        ({"place": ""}, "the type of place is text"),
        ({"place": 5}, "the type of place is text"),
        ({"place": "a", "watts": "5"}, "the type of watts is integer"),
        ({"place": "a", "watts": True}, "the type of watts is integer"),
        ({"place": "a", "lit": 1}, "the type of lit is boolean"),
        ({"place": "a", "colours": "red"}, "the type of colours is list"),
        ({"place": "a", "colours": [CANARY, 5]}, "the type of colours is list"),
        ({"place": "a", "labels": {"x": 1}}, "the type of labels is table"),
        ({"place": "a", "file": "relative"}, "absolute"),
        ({"place": "a", "watts": 101}, "watts is at most 100"),
        ({"place": "a", CANARY: "x"}, "1 unknown key"),
        ({"place": "a", "secret": CANARY}, "env:VARIABLE"),
        ({"place": "a", "secret": "env:NOT_SET"}, "not set"),
        ({"place": "a", "secret_file": f"/no/{CANARY}"}, "cannot be read"),
        ({"place": "a", "secret_file": "relative"}, "absolute"),
        ({"place": "a", "secret": "env:S", "secret_file": "/x"}, "not both"),
    ],
)
def test_what_is_wrong_is_refused_by_name_and_not_said_back(table: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationProblem) as caught:
        read(table, {"S": "s"})
    assert "[lamp.desk]" in caught.value.message
    assert said in caught.value.message
    assert CANARY not in caught.value.message


@pytest.mark.parametrize("content", [{"lamp": 5}, {"lamp": {"desk": 5}}, {"lamp": {"no name!": {"place": "a"}}}])
def test_a_table_has_a_name(content: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationProblem):
        read_tables(content, [LAMP], {})


def test_a_secret_comes_from_a_file_or_the_environment(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(f"{CANARY}\n")
    for table in ({"secret_file": str(tmp_path / "secret")}, {"secret": "env:S"}):
        lamp = read({"place": "a", **table}, {"S": CANARY})
        assert lamp.secret == SecretValue(CANARY)
        assert CANARY not in repr(lamp)


def test_keys_are_documented_where_they_are_defined() -> None:
    assert [(one.name, one.type, one.default) for one in keys_of(Lamp)][-1] == ("secret_file, secret", "secret", "unset")
    for kind in TABLE_KINDS:
        assert kind.meaning.endswith(".")
        assert all(one.meaning.endswith(".") for one in keys_of(kind.form))
    assert [kind.word for kind in TABLE_KINDS] == sorted({kind.word for kind in TABLE_KINDS})


FILE = """
[oidc.corp]
issuer = "https://id.example"
client_id = "overseer"
client_secret = "env:CORP_SECRET"
provision = "mapped"
groups = { admins = "owners" }

[ci.github]
issuer = "https://token.actions.githubusercontent.com"
audience = "https://vault.example"
service_account = "deploys"
claims = { repository_id = "12345", ref = "refs/heads/main" }
"""


def test_the_file_s_tables_reach_the_workers_with_their_secrets_and_show_none(tmp_path: Path) -> None:
    (tmp_path / "overseer.toml").write_text(FILE)
    settings = load_settings({"OVERSEER_DATA_DIR": str(tmp_path), "CORP_SECRET": CANARY})
    assert CANARY not in repr(settings)
    carried = settings_from_wire(settings_to_wire(settings))
    assert carried == settings
    provider = OIDC.read(carried.tables)["corp"]
    assert provider.client_secret == SecretValue(CANARY)
    assert CANARY not in repr(provider)
    assert CI.read(carried.tables)["github"].claims["repository_id"] == "12345"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"https://id.example"', '"http://id.example"'),
        ('"https://id.example"', '"https://id.example?x"'),
        ('"mapped"', '"maybe"'),
        ('{ admins = "owners" }', "{}"),
        ('repository_id = "12345"', 'repository = "corp/shop"'),
        ('repository_id = "12345"', 'repository_id = ""'),
        ('service_account = "deploys"', 'service_account = "deploys"\nalgorithms = ["HS256"]'),
        ('service_account = "deploys"', 'service_account = "deploys"\nalgorithms = ["none"]'),
        ('service_account = "deploys"', 'service_account = "deploys"\nalgorithms = []'),
        ('service_account = "deploys"', 'service_account = "deploys"\nmax_seconds = 86400'),
        ('client_secret = "env:CORP_SECRET"', f'client_secret = "{CANARY}"'),
    ],
)
def test_what_would_let_strangers_in_is_refused_at_start(tmp_path: Path, old: str, new: str) -> None:
    assert FILE.count(old) == 1
    (tmp_path / "overseer.toml").write_text(FILE.replace(old, new))
    with pytest.raises(ConfigurationProblem) as caught:
        load_settings({"OVERSEER_DATA_DIR": str(tmp_path), "CORP_SECRET": "s"})
    assert CANARY not in caught.value.message

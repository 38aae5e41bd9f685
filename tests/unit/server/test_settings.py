"""Settings: where they come from, what is refused, and that nothing secret is shown."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from overseer.core.errors import ConfigurationProblem
from overseer.server.key_channel import settings_from_wire, settings_to_wire
from overseer.server.settings import SETTINGS, Settings, load_settings

CANARY = "cAnArY-5e1f"


def load(tmp_path: Path, toml: str | bytes | None = None, **variables: str) -> Settings:
    if toml is not None:
        (tmp_path / "overseer.toml").write_bytes(toml.encode() if isinstance(toml, str) else toml)
    return load_settings({"OVERSEER_DATA_DIR": str(tmp_path)} | variables)


def test_defaults(tmp_path: Path) -> None:
    settings = load(tmp_path)
    assert settings == Settings(data_dir=tmp_path, seal=f"file:{tmp_path}/root.key")
    assert settings.url == "http://127.0.0.1:8420"
    assert settings.database_url is None


def test_a_variable_wins_over_the_file(tmp_path: Path) -> None:
    toml = 'OVERSEER_LISTEN = "[::1]:9000"\nOVERSEER_WORKERS = 3\nOVERSEER_ALLOWED_HOSTS = ["a.example", "b.example"]\n'
    settings = load(tmp_path, toml, OVERSEER_WORKERS="2")
    assert (settings.host, settings.port, settings.workers) == ("::1", 9000, 2)
    assert settings.allowed_hosts == ("a.example", "b.example")
    assert settings.url == "http://[::1]:9000"


def test_lists_in_variables_are_separated_by_commas(tmp_path: Path) -> None:
    settings = load(tmp_path, OVERSEER_TRUSTED_PROXIES="10.0.0.0/8, fd00::/8,", OVERSEER_LISTEN="0.0.0.0:80")
    assert settings.trusted_proxies == ("10.0.0.0/8", "fd00::/8")


def test_a_named_file_counts_and_must_exist(tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    with pytest.raises(ConfigurationProblem, match="OVERSEER_CONFIG"):
        load(tmp_path, OVERSEER_CONFIG=str(other))
    other.write_text("OVERSEER_WORKERS = 5")
    assert load(tmp_path, "OVERSEER_WORKERS = 4", OVERSEER_CONFIG=str(other)).workers == 5


@pytest.mark.parametrize(
    "toml",
    [
        f'{CANARY} = "x"',
        f'OVERSEER_DATA_DIR = "{CANARY}"',
        f'OVERSEER_LISTEN = "{CANARY}"',
        f'OVERSEER_DATABASE_URL = ["{CANARY}"]',
        f'OVERSEER_DATABASE_URL = "{CANARY}',
        f'OVERSEER_LOG_LEVEL = "{CANARY}"',
        f'OVERSEER_WORKERS = "{CANARY}"',
        "OVERSEER_WORKERS = 0",
        "OVERSEER_WORKERS = 65",
        "OVERSEER_WORKERS = true",
        f'OVERSEER_TRUSTED_PROXIES = ["{CANARY}"]',
        "OVERSEER_TRUSTED_PROXIES = [5]",
        f'OVERSEER_TLS_CERT = "/{CANARY}"',
        'OVERSEER_LISTEN = "127.0.0.1:65536"',
        'OVERSEER_LISTEN = "::1:8420"',
        'OVERSEER_LISTEN = "127.0.0.1"',
        b'OVERSEER_SEAL = "\xff"',
    ],
)
def test_what_is_wrong_is_refused_without_being_repeated(tmp_path: Path, toml: str | bytes) -> None:
    with pytest.raises(ConfigurationProblem) as caught:
        load(tmp_path, toml)
    assert CANARY not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("listen", ["0.0.0.0:8420", "[::]:8420", "192.0.2.1:8420", "vault.example:8420"])
def test_plain_text_beyond_loopback_is_refused(tmp_path: Path, listen: str) -> None:
    with pytest.raises(ConfigurationProblem, match="in the clear"):
        load(tmp_path, OVERSEER_LISTEN=listen)
    load(tmp_path, OVERSEER_LISTEN=listen, OVERSEER_TLS_CERT="/c", OVERSEER_TLS_KEY="/k")
    load(tmp_path, OVERSEER_LISTEN=listen, OVERSEER_TRUSTED_PROXIES="10.0.0.0/8")


def test_secret_settings_are_not_shown(tmp_path: Path) -> None:
    settings = load(tmp_path, OVERSEER_DATABASE_URL=f"postgresql://u:{CANARY}@h/d", OVERSEER_SEAL=f"file:/{CANARY}")
    assert CANARY not in repr(settings) + str(settings)


def test_the_channel_brings_settings_over_whole(tmp_path: Path) -> None:
    variables = {"OVERSEER_LISTEN": "[::]:1", "OVERSEER_TLS_CERT": "/c", "OVERSEER_TLS_KEY": "/k"}
    settings = load(tmp_path, OVERSEER_DATABASE_URL="postgresql://u@h/d", OVERSEER_ALLOWED_HOSTS="a,b", **variables)
    assert settings_from_wire(settings_to_wire(settings)) == settings


def test_every_setting_is_described_once_in_alphabetical_order() -> None:
    names = [setting.name for setting in SETTINGS]
    assert names == sorted(set(names))
    assert all(setting.meaning.endswith(".") and setting.type for setting in SETTINGS)
    fields = {field.name for field in dataclasses.fields(Settings)} - {"host", "port", "tables"}
    assert {name.removeprefix("OVERSEER_").lower() for name in names} == fields | {"listen"}

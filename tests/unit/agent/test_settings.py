"""The agent's settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from overseer.agent.injection.memory_root import Allow
from overseer.agent.settings import SETTINGS, AgentSettings
from overseer.core.errors import ConfigurationProblem


def load(tmp_path: Path, **environ: str) -> AgentSettings:
    return AgentSettings.load({"OVERSEER_DATA_DIR": str(tmp_path), "HOME": str(tmp_path), **environ})


def test_defaults(tmp_path: Path) -> None:
    settings = load(tmp_path)
    assert settings.directory == tmp_path / "agent"
    assert settings.apps == frozenset()
    assert settings.tmpfs_allow is Allow.NONE
    assert settings.secrets_root == "/etc/secrets"


def test_variables_win_over_the_file(tmp_path: Path) -> None:
    lines = ['OVERSEER_AGENT_APPS = ["shop", "blog"]', "OVERSEER_AGENT_PARALLEL = 2", 'OVERSEER_LISTEN = "x"']
    (tmp_path / "overseer.toml").write_text("\n".join(lines))
    assert load(tmp_path).apps == {"shop", "blog"}
    assert load(tmp_path).parallel == 2
    assert load(tmp_path, OVERSEER_AGENT_APPS="shop , wiki").apps == {"shop", "wiki"}
    other = tmp_path / "other.toml"
    other.write_text('DOCKER_HOST = "unix:///x"')
    assert load(tmp_path, OVERSEER_CONFIG=str(other)).docker_host == "unix:///x"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OVERSEER_AGENT_APPS", ","), ("OVERSEER_AGENT_APPS", "a b"), ("OVERSEER_AGENT_DIR", "relative"),
        ("OVERSEER_TMPFS_ROOT", "/a/../b"), ("OVERSEER_TMPFS_ALLOW", "yes"), ("OVERSEER_AGENT_PARALLEL", "0"),
        ("OVERSEER_AGENT_PARALLEL", "many"), ("OVERSEER_AGENT_STOP_SECONDS", "-1"), ("OVERSEER_CONFIG", "/nowhere.toml"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_named(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(ConfigurationProblem, match=name):
        load(tmp_path, **{name: value})


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "overseer.toml").write_text("= =")
    with pytest.raises(ConfigurationProblem, match=r"overseer\.toml"):
        load(tmp_path)


def test_every_setting_is_described() -> None:
    assert all(name and default and description.endswith(".") for name, default, description in SETTINGS)

from __future__ import annotations

from pathlib import Path

import pytest

from overseer.client.login_store import Login, forget_login, load_login, login_path, save_login
from overseer.core.errors import ConfigurationProblem
from overseer.core.secret_value import SecretValue


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


LOGIN = Login("http://127.0.0.1:8420", SecretValue("ovs_canary"), "/etc/ca.pem")


def test_a_login_is_kept_privately_and_found_again(tmp_path: Path) -> None:
    assert load_login() is None
    path = save_login(LOGIN)
    assert path == tmp_path / "config/overseer/login.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert load_login() == LOGIN
    save_login(Login("http://localhost:1", SecretValue("ovs_other")))
    assert load_login() == Login("http://localhost:1", SecretValue("ovs_other"))
    assert [p.name for p in path.parent.iterdir()] == ["login.json"]


def test_logging_out_deletes_it() -> None:
    save_login(LOGIN)
    assert forget_login()
    assert not forget_login()
    assert load_login() is None


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o620])
def test_a_file_that_others_can_open_is_refused_and_left_as_it_is(mode: int) -> None:
    path = save_login(LOGIN)
    path.chmod(mode)
    with pytest.raises(ConfigurationProblem, match="readable by nobody else") as caught:
        load_login()
    assert "canary" not in str(caught.value)
    assert path.stat().st_mode & 0o777 == mode


def test_a_link_is_refused(tmp_path: Path) -> None:
    path = save_login(LOGIN)
    path.rename(tmp_path / "elsewhere.json")
    path.symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(ConfigurationProblem, match="cannot be opened"):
        load_login()


@pytest.mark.parametrize("content", [b"", b"canary", b'{"url": 1}', b'{"url": "\xff"}'])
def test_a_damaged_file_is_named_and_not_shown(content: bytes) -> None:
    path = save_login(LOGIN)
    path.write_bytes(content)
    with pytest.raises(ConfigurationProblem, match="damaged") as caught:
        load_login()
    assert "canary" not in str(caught.value)


def test_a_relative_xdg_directory_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    assert login_path() == Path.home() / ".config/overseer/login.json"

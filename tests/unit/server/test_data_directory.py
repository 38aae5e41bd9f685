"""The data directory is closed to others, or refused where they may have put something into it."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from overseer.core.errors import ConfigurationProblem
from overseer.server.data_directory import private_directory
from overseer.server.settings import load_settings
from overseer.server.supervisor import Supervisor


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def directory(path: Path, bits: int, *content: str) -> Path:
    path.mkdir()
    for name in content:
        (path / name).touch()
    path.chmod(bits)
    return path


def test_a_new_one_is_private(tmp_path: Path) -> None:
    private_directory(tmp_path / "a" / "b")
    assert mode(tmp_path / "a" / "b") == 0o700


@pytest.mark.parametrize("bits", [0o755, 0o750, 0o777, 0o770, 0o701])
def test_an_empty_one_is_closed(tmp_path: Path, bits: int) -> None:
    private_directory(directory(tmp_path / "data", bits))
    assert mode(tmp_path / "data") == 0o700


@pytest.mark.parametrize("bits", [0o755, 0o710, 0o704])
def test_one_that_others_could_read_is_closed(tmp_path: Path, bits: int) -> None:
    private_directory(directory(tmp_path / "data", bits, "root.key", "whatever"))
    assert mode(tmp_path / "data") == 0o700


@pytest.mark.parametrize("bits", [0o777, 0o775, 0o1777, 0o702])
def test_one_that_others_could_write_into_is_refused(tmp_path: Path, bits: int) -> None:
    with pytest.raises(ConfigurationProblem, match=f"mode {bits:04o}.*chmod 0700"):
        private_directory(directory(tmp_path / "data", bits, "root.key"))
    assert mode(tmp_path / "data") == bits


def test_somebody_elses_directory_is_not_closed(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationProblem, match="set OVERSEER_DATA_DIR"):
        private_directory(directory(tmp_path / "srv", 0o755, "www"))
    assert mode(tmp_path / "srv") == 0o755


@pytest.mark.anyio
async def test_the_server_does_not_start_on_one_that_others_could_write_into(tmp_path: Path) -> None:
    data = directory(tmp_path / "data", 0o777, "root.key")
    with pytest.raises(ConfigurationProblem, match="chmod 0700"):
        await Supervisor(load_settings({"OVERSEER_DATA_DIR": str(data)})).run()

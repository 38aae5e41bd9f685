"""Where plaintext files may lie."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from overseer.agent.injection import memory_root
from overseer.agent.injection.memory_root import Allow, is_memory, open_root
from overseer.core.errors import ConfigurationProblem

ROOT = os.geteuid() == 0


def test_a_directory_in_memory_is_taken(tmpfs_dir: Path) -> None:
    root = open_root(tmpfs_dir / "deep" / "root", Allow.SWAP)
    assert stat.S_IMODE(root.path.stat().st_mode) == 0o700
    assert is_memory(root.path)


def test_disk_is_refused_unless_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if is_memory(tmp_path):
        pytest.skip("the temporary directory is in memory")
    monkeypatch.setattr(memory_root, "_mount", lambda path: False)
    with pytest.raises(ConfigurationProblem, match="is on disk"):
        open_root(tmp_path / "root")
    with pytest.raises(ConfigurationProblem, match="is on disk"):
        open_root(tmp_path / "root", Allow.SWAP)
    root = open_root(tmp_path / "root", Allow.DISK)
    assert root.notes == (f"files of secrets in {tmp_path / 'root'} may reach the disk",)


def test_swap_counts(tmpfs_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not ROOT:
        pytest.skip("a user without root cannot choose")
    monkeypatch.setattr(memory_root, "_swap_is_on", lambda: True)
    monkeypatch.setattr(memory_root, "_mount", lambda path: False)
    with pytest.raises(ConfigurationProblem, match="may be swapped out"):
        open_root(tmpfs_dir / "root")
    assert open_root(tmpfs_dir / "root", Allow.SWAP).notes


def test_a_link_or_a_foreign_directory_is_refused(tmpfs_dir: Path) -> None:
    (tmpfs_dir / "real").mkdir(mode=0o700)
    (tmpfs_dir / "link").symlink_to(tmpfs_dir / "real")
    with pytest.raises(ConfigurationProblem, match="no directory of this user"):
        open_root(tmpfs_dir / "link", Allow.DISK)
    if ROOT:
        os.chown(tmpfs_dir / "real", 12345, 12345)
        with pytest.raises(ConfigurationProblem, match="no directory of this user"):
            open_root(tmpfs_dir / "real", Allow.DISK)


def test_an_open_directory_is_closed(tmpfs_dir: Path) -> None:
    (tmpfs_dir / "open").mkdir(mode=0o755)
    open_root(tmpfs_dir / "open", Allow.SWAP)
    assert stat.S_IMODE((tmpfs_dir / "open").stat().st_mode) == 0o700


def test_root_mounts_memory_that_is_not_swapped(tmp_path: Path) -> None:
    if not ROOT or is_memory(tmp_path):
        pytest.skip("needs root and a temporary directory on disk")
    path = tmp_path / "root"
    root = open_root(path)
    try:
        if not root.own_mount:
            pytest.skip("this machine may not mount")
        assert os.path.ismount(path)
        assert is_memory(path)
        line = next(one for one in Path("/proc/self/mountinfo").read_text().splitlines() if f" {path} " in one)
        assert "nosuid" in line
        assert "nodev" in line
        major, minor = (int(part) for part in os.uname().release.split(".")[:2])
        assert ("noswap" in line) == ((major, minor) >= (6, 4))
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        assert open_root(path) == root  # found again, not mounted twice
        assert Path("/proc/self/mountinfo").read_text().count(f" {path} ") == 1
        (path / "left").write_text("x")
        root.release()
        assert os.path.ismount(path)  # something is left: it stays
        (path / "left").unlink()
        root.release()
        assert not os.path.ismount(path)
        command = ["lsattr", "-d", str(path)]
        if shutil.which("lsattr") and "i" in subprocess.run(command, capture_output=True, text=True, check=False).stdout[:20]:
            with pytest.raises(PermissionError):
                (path / "on-disk").write_text("x")
    finally:
        subprocess.run(["umount", "-l", path], capture_output=True, check=False)
        subprocess.run(["chattr", "-i", path], capture_output=True, check=False)


def test_default_places(tmpfs_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_root, "DEFAULT_ROOT", tmpfs_dir / "system")
    shared = Path(f"/dev/shm/overseer-{os.geteuid()}")
    assert open_root(None, Allow.SWAP, {}).path == (tmpfs_dir / "system" if ROOT else shared)
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    places = memory_root._default_places({"XDG_RUNTIME_DIR": "/run/user/4711"})
    assert places == [Path("/run/user/4711/overseer/secrets"), Path("/dev/shm/overseer-4711")]

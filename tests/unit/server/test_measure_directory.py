"""The workers' directory for their numbers: private, gone afterwards, and gone when its supervisor was killed."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

from overseer.server.measure_directory import measure_directory


def test_it_is_private_and_removed(tmp_path: Path) -> None:
    with measure_directory(tmp_path) as made:
        assert stat.S_IMODE(Path(made).stat().st_mode) == 0o700
        (Path(made) / "counter_1.db").write_bytes(b"x")
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_supervisor_left_goes_and_what_lives_stays(tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True, check=True)
    gone, lives = tmp_path / f"overseer-metrics-{ended.stdout.strip()}-x", tmp_path / f"overseer-metrics-{os.getppid()}-x"
    for left in (gone, lives, tmp_path / "overseer-metrics-odd"):
        left.mkdir()
    with measure_directory(tmp_path):
        assert not gone.exists()
        assert lives.exists()
        assert (tmp_path / "overseer-metrics-odd").exists()

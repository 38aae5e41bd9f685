"""The rules of the test suite itself hold: in CI nothing is skipped unseen, and what takes longest is begun first."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.scheduling import SECONDS, TOGETHER

ROOT = Path(__file__).resolve().parents[2]
WHOLE_MODULE = """
import pytest
pytest.skip("reason 0", allow_module_level=True)
"""
SINGLE_TESTS = """
import pytest

@pytest.fixture
def missing():
    pytest.skip("reason 1")

def test_by_a_fixture(missing): pass

@pytest.mark.skip(reason="reason 2")
def test_by_a_marker(): pass

def test_by_itself(): pytest.skip("reason 3")

@pytest.mark.xfail(reason="an expected failure is no gap")
def test_expected_failure(): assert False
"""


def _pytest(module: Path, text: str, ci: str, *more: str) -> subprocess.CompletedProcess[str]:
    module.write_text(text)
    options = ["-q", "-p", "tests.conftest", "-p", "no:cacheprovider", "--rootdir", str(module.parent), *more]
    command = [sys.executable, "-m", "pytest", *options, str(module.parent if more else module)]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, "CI": ci}, capture_output=True, text=True, check=False)


def test_a_skipped_test_fails_in_ci_and_says_why(tmp_path: Path) -> None:
    result = _pytest(tmp_path / "test_single.py", SINGLE_TESTS, ci="true")
    assert result.returncode == pytest.ExitCode.TESTS_FAILED, result.stdout
    for number in (1, 2, 3):
        assert f"CI=true and this was not run. Skipped: reason {number}" in result.stdout
    assert "1 xfailed" in result.stdout


def test_a_skipped_module_fails_in_ci_and_says_why(tmp_path: Path) -> None:
    result = _pytest(tmp_path / "test_module.py", WHOLE_MODULE, ci="true")
    assert result.returncode == pytest.ExitCode.INTERRUPTED, result.stdout
    assert "CI=true and this was not run. Skipped: reason 0" in result.stdout


def test_elsewhere_a_skipped_test_is_only_counted(tmp_path: Path) -> None:
    result = _pytest(tmp_path / "test_single.py", SINGLE_TESTS, ci="")
    assert result.returncode == pytest.ExitCode.OK, result.stdout
    assert "3 skipped, 1 xfailed" in result.stdout


def test_what_takes_long_is_begun_first_and_what_belongs_together_stays_so(tmp_path: Path) -> None:
    """One worker, so that the order in which it gets the files is seen. xdist's own would begin with the three tests."""
    nodes = tmp_path / "tests/docker/nodes"
    nodes.mkdir(parents=True)
    for name in ("test_a.py", "test_b.py"):
        (nodes / name).write_text("def test_it(): pass")
    (loop := tmp_path / "tests/unit/agent").mkdir(parents=True)
    (loop / "test_loop.py").write_text("def test_it(): pass")
    many = "".join(f"def test_{number}(): pass\n" for number in range(3))
    result = _pytest(tmp_path / "test_many.py", many, "true", "-vv", "-n", "1", "--dist", "loadfile")
    passed = [line.partition(" PASSED ")[2].partition("::")[0] for line in result.stdout.splitlines() if " PASSED " in line]
    ran = [os.path.relpath(ROOT / file, tmp_path) for file in passed]
    assert ran == [
        "tests/docker/nodes/test_a.py",
        "tests/docker/nodes/test_b.py",
        "tests/unit/agent/test_loop.py",
        *["test_many.py"] * 3,
    ], result.stdout


def test_what_is_known_to_take_long_exists() -> None:
    assert [name for name in (*SECONDS, *TOGETHER) if not (ROOT / name).exists()] == []

"""The table of faults, with few random kills: every row is as expected; and the table shows it where one is not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults import backups, failover, inputs, keys, life, limits, nodes, replicas, store, writes
from tests.faults.load import Load
from tests.faults.stage import Stage
from tests.faults.table import FAULTS, Fault, NotAsExpected, Seen, as_text, require, show_all

pytestmark = pytest.mark.postgres
ROOT = Path(__file__).resolve().parents[2]
MODULES = (backups, failover, inputs, keys, life, limits, nodes, replicas, store, writes)


def faults(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.faults", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=480)


def test_every_fault_is_survived() -> None:
    done = faults("--kills", "3")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(FAULTS) >= 32
    for one in FAULTS:
        assert f"\n{one.name} " in done.stdout
    assert done.stdout.count("| yes") == len(FAULTS)
    assert done.stdout.endswith(f"{len(FAULTS)} faults, all as expected\n")


def test_no_row_is_no_success() -> None:
    assert faults("--only", "there is no such row").returncode == 2


def test_a_row_that_is_not_as_expected_is_shown() -> None:
    def wrong(_: Stage) -> str:
        require(sys.argv == [], "one is not two")
        return "never"

    def broken(_: Stage) -> str:
        raise OSError("gone")

    class Still(Stage):
        def __init__(self) -> None:
            """Nothing is started."""

        def ensure_serving(self) -> None:
            """Nothing can be."""

    told: list[Seen] = []
    table = [Fault("a", "x", wrong), Fault("b", "y", broken), Fault("c", "z", lambda _: "seen")]
    rows = show_all(table, Still(), told.append)
    assert [(one.ok, one.seen) for one in rows] == [
        (False, "NotAsExpected: one is not two"),
        (False, "OSError: gone"),
        (True, "seen"),
    ]
    assert told == rows
    assert [line.rpartition("| ")[2] for line in as_text(rows).splitlines() if line[0] in "abc"] == ["NO", "NO", "yes"]


def test_the_load_notices_what_is_lost_changed_or_not_audited(tmp_path: Path) -> None:
    """Against a stage that lies: a proof that accepts anything would prove nothing."""

    class Lying(Stage):
        token, versions, values, audited = "t", ["a|1", "a|2"], {("a", 1): "v1", ("a", 2): "v2"}, "r1"

        class server:  # noqa: N801
            url = "http://127.0.0.1:1"

        def __init__(self) -> None:
            """Nothing is started."""

        def sql(self, *statements: str) -> str:
            return self.audited if "request_id" in statements[0] else "\n".join(self.versions)

        def count(self, table: str, condition: str) -> int:
            return len(self.versions)

    stage = Lying()
    load = Load(stage, 1)
    stored = dict(stage.values)
    load._stored = lambda: stored  # type: ignore[method-assign]
    writer = load.writers[0]
    writer.acknowledged, writer.attempted = dict(stage.values), {"v1", "v2"}
    writer.releases = {"r1": ("a", 1, "v1")}
    assert "2 acknowledged writes and 1 releases" in load.verify()
    for change in ({("a", 2): "v1"}, {("a", 2): "other"}, {("a", 3): "v2"}, {("a", 3): "foreign"}):
        stored = stage.values | change
        with pytest.raises(NotAsExpected):
            load.verify()
    stored = {("a", 1): "v1"}
    with pytest.raises(NotAsExpected, match="lost"):
        load.verify()
    stored = dict(stage.values)
    stage.audited = "another"
    with pytest.raises(NotAsExpected, match="no audit row"):
        load.verify()

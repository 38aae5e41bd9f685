from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import run

ROW = {"name": "a thing", "value": 3.0, "unit": "ms", "floor": 2.0, "ratio": 1.5, "aim": 2.0}


@pytest.mark.parametrize(
    ("changes", "met"),
    [
        ({}, True), ({"ratio": 2.1}, False), ({"unit": "req/s"}, False), ({"unit": "req/s", "ratio": 2.5}, True),
        ({"aim": None}, None), ({"ratio": None}, None),
    ],
)  # fmt: skip
def test_an_aim_bounds_times_from_above_and_throughputs_from_below(changes: dict[str, Any], met: bool | None) -> None:
    assert run.is_met({**ROW, **changes}) is met


def test_modules_that_only_help_are_no_benchmarks() -> None:
    assert {"render", "cli_start"} <= set(run.modules())
    assert not {"run", "installation", "http_load"} & set(run.modules())


def test_rows_are_printed_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [ROW, {**ROW, "name": "slow", "ratio": 9.0}, {**ROW, "name": "free", "aim": None, "floor": None, "ratio": None}]
    monkeypatch.setattr(run, "measured", lambda _name, *, quick: [] if quick else rows)
    results = tmp_path / "bench" / "latest.json"
    assert run.main(["render"], results) == 0
    assert json.loads(results.read_text()) == rows
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[-1] for line in lines[1:3]] == ["met", "MISSED"]
    assert "<= 2" in lines[1]
    assert run.main(["render", "--strict"], results) == 1
    assert run.main(["render", "--quick", "--strict"], results) == 0
    assert json.loads(results.read_text()) == []
    assert run.main(["nothing"], results) == 2


def test_a_quick_look_is_that_of_those_who_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.render.measure", lambda: [ROW])
    monkeypatch.setattr("benchmarks.cli_start.measure", lambda quick=False: [{**ROW, "value": 1.0 if quick else 2.0}])
    assert run.measured("render", quick=True) == []
    assert run.measured("render") == [ROW]
    assert [run.measured("cli_start", quick=quick)[0]["value"] for quick in (True, False)] == [1.0, 2.0]


def test_a_row_has_exactly_its_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.render.measure", lambda: [{**ROW, "more": 1}])
    with pytest.raises(ValueError, match="exactly the fields"):
        run.measured("render")


def test_one_that_breaks_off_takes_no_other_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> list[dict[str, Any]]:
        raise RuntimeError("the floor fell through")

    monkeypatch.setattr("benchmarks.bundle.measure", broken)
    monkeypatch.setattr("benchmarks.render.measure", lambda: [ROW])
    results = tmp_path / "latest.json"
    assert run.main(["bundle", "render"], results) == 1
    first, second = json.loads(results.read_text())
    assert (first["name"], first["value"], first["unit"]) == ("bundle", None, "broke off")
    assert second == ROW
    assert "the floor fell through" in capsys.readouterr().err

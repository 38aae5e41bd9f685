"""``make bench``: run the benchmarks, print a table, write ``.bench/latest.json``.

Every module of this directory with a function ``measure()`` is a benchmark; it gives rows ``{name, value, unit, floor, ratio,
aim}``. ``floor`` is what the same work costs at least, measured in the same run, or a fixed bound, which the name then says;
``ratio`` is ``value / floor``: ratios compare between machines, values do not. ``aim`` bounds the ratio: from above for times,
from below where more is better (a unit that ends in ``/s``). A benchmark that cannot run here gives rows without a value, and
says why in ``unit``; one that breaks off is such a row, too, the others are measured nevertheless, and the run ends with 1.

``python -m benchmarks.run [NAME …] [--quick] [--strict]``: NAMEs pick modules; ``--quick`` is a fast look, by those benchmarks
whose ``measure`` takes ``quick``; with ``--strict`` a missed aim ends the run with 1.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import platform
import re
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent
RESULTS: Final = ROOT.parent / ".bench" / "latest.json"
FIELDS: Final = ("name", "value", "unit", "floor", "ratio", "aim")
USAGE: Final = 2
OPTIONS: Final = ("--quick", "--strict")

Row = dict[str, Any]


def modules() -> list[str]:
    """The benchmarks by name; none is imported for that."""
    return sorted(path.stem for path in ROOT.glob("*.py") if re.search(r"^def measure\(", path.read_text("utf-8"), re.MULTILINE))


def is_met(row: Row) -> bool | None:
    """Whether the ratio keeps to the aim; ``None`` without an aim."""
    if row["aim"] is None or row["ratio"] is None:
        return None
    return bool(row["ratio"] >= row["aim"] if more_is_better(row) else row["ratio"] <= row["aim"])


def more_is_better(row: Row) -> bool:
    """True for throughputs."""
    return str(row["unit"]).endswith("/s")


def table(rows: Sequence[Row]) -> str:
    """The rows for people, one line each, aligned."""
    titles = ("", "value", "floor", "ratio", "aim", "")
    cells = [titles]
    for row in rows:
        met = is_met(row)
        sign = ">=" if more_is_better(row) else "<="
        aim = "" if row["aim"] is None else f"{sign} {row['aim']:g}"
        verdict = {True: "met", False: "MISSED", None: ""}[met]
        floor, ratio = ("" if one is None else f"{one:g}" for one in (row["floor"], row["ratio"]))
        value = row["unit"] if row["value"] is None else f"{row['value']:g} {row['unit']}"
        cells.append((row["name"], value, floor, ratio, aim, verdict))
    widths = [max(len(line[column]) for line in cells) for column in range(len(titles))]
    lines = []
    for line in cells:
        first, *rest = (
            cell.ljust(width) if column in {0, 5} else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        lines.append("  ".join([first, *rest]).rstrip())
    return "\n".join(lines)


def measured(name: str, *, quick: bool = False) -> list[Row]:
    """The rows of one benchmark, checked for their fields; none where ``quick`` is asked for and it cannot be."""
    measure = importlib.import_module(f"benchmarks.{name}").measure
    takes_quick = "quick" in inspect.signature(measure).parameters
    if quick and not takes_quick:
        return []
    rows: list[Row] = measure(quick=quick) if takes_quick else measure()
    for row in rows:
        if set(row) != set(FIELDS):
            raise ValueError(f"benchmarks/{name}.py: a row has exactly the fields {', '.join(FIELDS)}")
    return rows


def main(arguments: Sequence[str], results: Path = RESULTS) -> int:
    """Run, print, write; 0, 1 where one broke off or (with ``--strict``) an aim was missed, 2 for a wrong argument."""
    names = [one for one in arguments if one not in OPTIONS]
    unknown = [one for one in names if one not in modules()]
    if unknown:
        sys.stderr.write(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(modules())}\n")
        return USAGE
    rows: list[Row] = []
    broken: list[str] = []
    for name in names or modules():
        began = time.monotonic()
        sys.stderr.write(f"{name} … ")
        sys.stderr.flush()
        try:
            rows += measured(name, quick="--quick" in arguments)
        except Exception:  # noqa: BLE001  # what the others measured in many minutes is not thrown away
            traceback.print_exc()
            broken.append(name)
            rows.append({**dict.fromkeys(FIELDS), "name": name, "unit": "broke off"})
        sys.stderr.write(f"{time.monotonic() - began:.1f} s\n")
    print(table(rows))
    results.parent.mkdir(exist_ok=True)
    print(f"Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores")
    results.write_text(json.dumps(rows, indent=2) + "\n", "utf-8")
    missed = "--strict" in arguments and any(is_met(row) is False for row in rows)
    return int(bool(broken) or missed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

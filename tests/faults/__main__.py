"""``python -m tests.faults``: break things on purpose, and print what was expected and what was seen.

Everything is real: server processes, a PostgreSQL with fsync on, the agent's own code. All of it lies in a temporary directory
and goes at the end. Exit code 1 where a row is not as expected.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

from tests.faults import backups, failover, inputs, keys, life, limits, nodes, replicas, store, writes
from tests.faults.stage import Stage
from tests.faults.table import FAULTS, Seen, as_text, show_all

#: Importing them put their rows into the table; this is the order in which they are shown.
ROWS_OF = [module.__name__ for module in (writes, store, failover, keys, inputs, limits, nodes, backups, replicas, life)]


def main(arguments: list[str] | None = None) -> int:
    """Show all rows, or those whose name holds ``--only``; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description="Show what Overseer does when things break.")
    parser.add_argument("--kills", type=int, default=200, help="random kills of the last row (default 200)")
    parser.add_argument("--seed", type=int, default=1, help="for the same kills again (default 1)")
    parser.add_argument("--only", default="", metavar="TEXT", help="only rows whose name holds this text")
    options = parser.parse_args(arguments)
    rows_in_order = sorted(FAULTS, key=lambda one: ROWS_OF.index(one.show.__module__))
    wanted = [one for one in rows_in_order if options.only.lower() in one.name.lower()]
    if not wanted:
        parser.error("no row has that in its name")
    home = Path(tempfile.mkdtemp(prefix="ovs-faults-"))
    home.chmod(0o711)  # the database's own account must get through to its directory
    try:
        stage = Stage(home, kills=options.kills, seed=options.seed)
        try:
            rows = show_all(wanted, stage, _told)
        finally:
            stage.close()
        defects = [line for line in stage.server.said().splitlines() if "unexpected exception" in line]
    finally:
        shutil.rmtree(home, ignore_errors=True)
    print(as_text(rows))
    failed = sum(not one.ok for one in rows)
    for line in defects[:10]:
        print(f"the server's log: {line}", file=sys.stderr)
    print(f"\n{len(rows)} faults, {failed} not as expected" if failed else f"\n{len(rows)} faults, all as expected")
    return 1 if failed else 0


def _told(one: Seen) -> None:
    print(f"{'ok' if one.ok else 'NO':4}{one.seconds:5.1f} s  {one.fault.name}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    os.environ.pop("OVERSEER_TOKEN", None)
    sys.exit(main())

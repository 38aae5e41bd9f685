"""That the audit log verifies, for whoever has killed, locked or filled something."""

from __future__ import annotations

import asyncio
import time

from overseer.crypto.log_report import LogReport, Trust
from overseer.server.storage.log_reading import verify_database

SEALING_SECONDS = 30.0


def the_log_verifies(url: str, kept: tuple[str, ...] = (), *, within: float = SEALING_SECONDS) -> str:
    """Verify the database's log, every row of it sealed, and say so in words. ``kept`` are notes of checkpoints from before.

    Waits for the sealing to come to an end: the server runs, is unsealed, and nobody writes. Raises AssertionError.
    """
    deadline = time.monotonic() + within
    while (report := asyncio.run(verify_database(url, Trust(None, kept)))).unsealed:
        assert report.verified, _said(report)
        assert time.monotonic() < deadline, f"{report.unsealed} rows were not sealed in {within:.0f} s"
        time.sleep(0.5)
    assert report.verified, _said(report)
    return f"{report.sealed} rows under {report.checkpoints} checkpoints verify"


def _said(report: LogReport) -> str:
    return "; ".join(f"{one.kind} at {one.index}: {one.detail}" for one in report.findings[:5])

"""A server cannot write into the agent's log more than words in a line."""

from __future__ import annotations

import logging

from overseer.agent.log_format import PrintableFormatter


def test_an_answer_forges_no_line() -> None:
    record = logging.LogRecord("a", logging.WARNING, "f", 1, "no work: %s", ("\x1b]0;owned\x07\r\nINFO forged é",), None)
    line = PrintableFormatter("%(levelname)s %(message)s").format(record)
    assert line == "WARNING no work: \\x1b]0;owned\\x07\\r\\nINFO forged é"

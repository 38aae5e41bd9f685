"""The agent's log: one event, one line, whatever words of the server are in it."""

from __future__ import annotations

import logging


class PrintableFormatter(logging.Formatter):
    """Writes every character that is not printable as an escape: no line of the log can be forged or hidden by an answer."""

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        if line.isprintable():
            return line
        return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in line)

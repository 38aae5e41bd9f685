"""The server's log: one JSON object a line on stderr, made from an allow-list.

An exception's text may quote a value, so it is never written: only types and places are. Fields beyond the message are
those that the server's own code passes on purpose.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, TextIO

import msgspec

FIELDS: Final = (
    "request_id",
    "method",
    "route",
    "status",
    "bytes",
    "ms",
    "peer",
    "client",
    "exception",
    "worker",
    "exit_code",
    "seconds",
)
DEFECT: Final = "unexpected exception"
_ENCODER: Final = msgspec.json.Encoder(enc_hook=lambda value: type(value).__name__)


class JsonFormatter(logging.Formatter):
    """A record as JSON: time, level, logger, message, and the fields of :data:`FIELDS` that it has."""

    def format(self, record: logging.LogRecord) -> str:
        # asyncio puts the repr of whatever failed into its message: of the exception, of arguments.
        message = DEFECT if record.name == "asyncio" and record.exc_info else record.getMessage()
        entry = _entry(record.created, record.levelname.lower(), record.name, message)
        entry |= {name: record.__dict__[name] for name in FIELDS if name in record.__dict__}
        if record.exc_info and record.exc_info[0] is not None:
            frames = traceback.extract_tb(record.exc_info[2])[-20:]
            entry["exception"] = [
                {"type": record.exc_info[0].__qualname__, "frames": [f"{f.filename}:{f.lineno} {f.name}" for f in frames]}
            ]
        return _ENCODER.encode(entry).decode("utf-8")


def _entry(created: float, level: str, logger: str, message: str) -> dict[str, Any]:
    moment = datetime.fromtimestamp(created, UTC).isoformat(timespec="milliseconds")
    return {"time": moment, "level": level, "logger": logger, "message": message}


class JoinedLines(logging.StreamHandler[TextIO]):
    """Writes the lines of one turn of the event loop with one call of the system; warnings, and lines without a loop, at once.

    A process that is killed loses the lines of that turn, never a line of the audit log, which is not written here.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """As the base class, later."""
        try:
            self._add(self.format(record))
            if record.levelno >= logging.WARNING:
                self.flush()
        except Exception:  # noqa: BLE001  # as every handler: logging must not break what it tells of
            self.handleError(record)

    def note(self, logger: str, message: str, fields: Mapping[str, Any]) -> None:
        """The line of an INFO record with ``fields`` (of :data:`FIELDS`, in its order) without making the record, which costs
        more than the line."""
        self._add(_ENCODER.encode({**_entry(time.time(), "info", logger, message), **fields}).decode("utf-8"))

    def _add(self, line: str) -> None:
        self._lines.append(line + self.terminator)
        if len(self._lines) == 1:
            self._later()

    def flush(self) -> None:
        """Write what was held."""
        lines, self._lines = self._lines, []
        if lines and not self.stream.closed:
            self.stream.write("".join(lines))
        super().flush()

    def _later(self) -> None:
        try:
            asyncio.get_running_loop().call_soon(self.flush)
        except RuntimeError:
            self.flush()


def note_info(logger: logging.Logger, message: str, fields: Mapping[str, Any]) -> None:
    """``logger.info(message, extra=fields)``, the quick way where this process logs as :func:`start_logging` says."""
    if not logger.isEnabledFor(logging.INFO):
        return
    handlers = logging.root.handlers
    if len(handlers) == 1 and type(handlers[0]) is JoinedLines and not logger.handlers and logging.root is logger.parent:
        handlers[0].note(logger.name, message, fields)
    else:
        logger.info(message, extra=dict(fields))


def start_logging(level: str) -> None:
    """Send every logger of this process to stderr in this form; ``level`` is one of the setting's words."""
    handler = JoinedLines(sys.stderr)
    handler.setFormatter(JsonFormatter())
    # What no line shows is not looked for: the caller's frame alone costs as much as the rest of a line.
    logging._srcfile = None  # the documented way, "Optimization" in Python's logging HOWTO
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "asyncio"):
        logger = logging.getLogger(name)
        logger.handlers[:] = []
        logger.propagate = name != "uvicorn.access"  # it would write query strings
        logger.setLevel(max(logging.WARNING, root.level))

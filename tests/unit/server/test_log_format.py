"""Log lines hold what the code passes and nothing of an exception's text."""

from __future__ import annotations

import json
import logging
import sys

from overseer.server.log_format import JsonFormatter

CANARY = "cAnArY-5e1f"


def test_an_exception_is_logged_without_its_text() -> None:
    try:
        secret = CANARY
        raise ValueError(secret)
    except ValueError:
        record = logging.LogRecord("a", logging.ERROR, "f", 1, "it %s", ("broke",), sys.exc_info())
    line = JsonFormatter().format(record)
    entry = json.loads(line)
    assert (entry["message"], entry["level"], entry["logger"]) == ("it broke", "error", "a")
    assert entry["exception"][0]["type"] == "ValueError"
    assert __file__ in entry["exception"][0]["frames"][0]
    assert CANARY not in line
    assert "\n" not in line


def test_only_listed_fields_are_written() -> None:
    record = logging.makeLogRecord({"msg": "m", "request_id": "r", "token": CANARY})
    entry = json.loads(JsonFormatter().format(record))
    assert entry["request_id"] == "r"
    assert CANARY not in entry.values()


def test_asyncio_repeats_no_exception_and_no_argument() -> None:
    try:
        raise ValueError(CANARY)
    except ValueError:
        message = f"Task exception was never retrieved\nfuture: <Task exception=ValueError('{CANARY}')>"
        record = logging.LogRecord("asyncio", logging.ERROR, "f", 1, message, (), sys.exc_info())
    line = JsonFormatter().format(record)
    assert json.loads(line)["exception"][0]["type"] == "ValueError"
    assert CANARY not in line

"""Log lines hold what the code passes and nothing of an exception's text."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import sys

import pytest

from overseer.server.log_format import FIELDS, JoinedLines, JsonFormatter, note_info

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


def test_lines_of_one_turn_are_written_together_and_a_warning_at_once() -> None:
    stream = io.StringIO()
    handler = JoinedLines(stream)

    def say(level: int, text: str) -> None:
        handler.handle(logging.makeLogRecord({"msg": text, "levelno": level}))

    async def turn() -> None:
        say(logging.INFO, "one")
        say(logging.INFO, "two")
        assert stream.getvalue() == ""
        await asyncio.sleep(0)
        assert stream.getvalue() == "one\ntwo\n"
        say(logging.INFO, "three")
        say(logging.WARNING, "four")
        assert stream.getvalue() == "one\ntwo\nthree\nfour\n"

    asyncio.run(turn())
    say(logging.INFO, "five")  # no loop: nothing would write it later
    assert stream.getvalue().endswith("four\nfive\n")


def test_the_quick_line_is_the_line_of_the_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """Byte for byte but for the time; and where somebody else listens, a record is made."""
    stream, logger = io.StringIO(), logging.getLogger("overseer.access")
    handler = JoinedLines(stream)
    handler.setFormatter(JsonFormatter())
    monkeypatch.setattr(logging.root, "handlers", [handler])
    monkeypatch.setattr(logging.root, "level", logging.INFO)
    logger.manager._clear_cache()  # type: ignore[attr-defined]  # levels are remembered
    fields = {name: f"{name} \u00fc\u2028\"" for name in FIELDS if name not in ("exception", "worker", "exit_code", "seconds")}
    note_info(logger, "request", fields)
    logger.info("request", extra=fields)
    quick, slow, _ = stream.getvalue().split("\n")
    assert quick.partition(",")[2] == slow.partition(",")[2]
    assert quick.startswith('{"time":"')

    heard: list[logging.LogRecord] = []
    other = logging.Handler()
    monkeypatch.setattr(other, "emit", heard.append)
    monkeypatch.setattr(logging.root, "handlers", [handler, other])
    note_info(logger, "request", fields)
    assert [record.__dict__["route"] for record in heard] == [fields["route"]]
    monkeypatch.undo()
    logger.manager._clear_cache()  # type: ignore[attr-defined]

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout
from datetime import UTC, datetime, timedelta, timezone

import pytest

from overseer.cli.output import fit, moment, number, paint, people, print_fields, print_line, print_table, printable, report, say
from overseer.core.errors import NodeProblem


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    for name in ("NO_COLOR", "LINES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    return Terminal()


ROWS = [("db-password", "app=shop env=demo", "what the shop's database asks for, a long text " * 3), ("a", "global", "")]


@pytest.mark.parametrize("width", [40, 80, 120])
def test_a_table_fits_the_terminal(terminal: Terminal, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("NO_COLOR", "1")
    with redirect_stdout(terminal):
        print_table(("NAME", "SCOPE", "DESCRIPTION"), ROWS)
    lines = terminal.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert lines[1].endswith("…")
    assert lines[2].split() == ["a", "global", "-"]


def test_in_a_pipe_nothing_is_cut_and_nothing_is_coloured(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    print_table(("NAME", "SCOPE", "DESCRIPTION"), ROWS)
    out = capsys.readouterr().out
    assert ROWS[0][2].strip() in out
    assert "\x1b" not in out


def test_an_empty_table_leaves_stdout_empty(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("NAME",), [], empty="no secret")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "no secret\n")


def test_columns_shrink_from_the_widest_and_stay_readable() -> None:
    assert fit([10, 20], 40) == [10, 20]
    assert fit([10, 60, 20], 64) == [10, 30, 20]
    assert fit([100, 100], 5) == [12, 12]
    assert fit([36, 60, 20], 80, {0}) == [36, 20, 20]
    assert fit([36, 20], 30, {0, 1}) == [36, 20]


def test_ids_and_times_are_shown_whole(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    one, at = "01a20edf-4915-7f4f-95e1-3eb66dff3459", moment(datetime(2026, 11, 24, 18, 45, tzinfo=UTC))
    with redirect_stdout(terminal):
        print_table(("ID", "WHAT", "UNTIL", "AT"), [(one, "a name of many characters", "-", at), (one, "w" * 60, at, at)])
    said = terminal.getvalue()
    assert said.count(one) == 2
    assert said.count(at) == 3
    assert "w" * 13 not in said


def test_text_of_others_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    evil = "a\x1b]0;x\x07\r\n\u202eb\x9b2J"
    print_fields([("name", evil)])
    print_table(("NAME",), [(evil,)])
    out = capsys.readouterr().out
    assert not set(out) & set("\x1b\x07\r\u202e\x9b")
    assert printable("naïve – ✓ 日本") == "naïve – ✓ 日本"


def test_colour_needs_a_terminal_that_wants_it(monkeypatch: pytest.MonkeyPatch, terminal: Terminal) -> None:
    assert paint("x", "red", terminal) == "\x1b[31mx\x1b[0m"
    assert paint("x", "red", io.StringIO()) == "x"
    monkeypatch.setenv("TERM", "dumb")
    assert paint("x", "red", terminal) == "x"
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    assert paint("x", "red", terminal) == "x"


def test_times_are_shown_in_utc() -> None:
    assert moment(None) == "-"
    assert moment(datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)) == "2026-01-02 03:04:05Z"
    assert moment(datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=5)))) == "2026-01-01 22:04:05Z"


def test_a_servers_words_in_a_line_stay_words(terminal: Terminal) -> None:
    hostile = "app\x1b]0;owned\x07\r\x1b[2K\nforged\u202e"
    with redirect_stderr(terminal), redirect_stdout(terminal):
        say(f"created {hostile}.")
        print_line(f"{paint('x', 'red', terminal)} {hostile}.")
        say("\noverseer: interrupted")
    words = "app\\x1b]0;owned\\x07\\r\\x1b[2K\\nforged\\u202e"
    assert terminal.getvalue() == f"created {words}.\n\x1b[31mx\x1b[0m {words}.\n\noverseer: interrupted\n"


def test_one_thing_is_no_things() -> None:
    assert [number(count, "binding") for count in (0, 1, 2)] == ["no bindings", "1 binding", "2 bindings"]


def test_one_person_is_no_people() -> None:
    assert [people(1), people(2), people(1, "other"), people(3, "other")] == [
        "1 person", "2 people", "1 other person", "3 other people",
    ]  # fmt: skip


def test_an_error_of_several_lines_is_one(terminal: Terminal) -> None:
    with redirect_stderr(terminal):
        report(NodeProblem("the service is not healthy: a\nthe former deployment was restored"))
    assert "not healthy: a; the former deployment was restored" in terminal.getvalue()
    assert "\\n" not in terminal.getvalue()

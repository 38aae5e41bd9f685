"""Where values come from, and that none is ever an argument."""

from __future__ import annotations

from pathlib import Path

import pytest

from overseer.core.secret_value import MAX_VALUE_BYTES
from tests.unit.cli.conftest import Overseer
from tests.unit.client.scripted_server import Asked, Reply, problem, scripted_server
from tests.unit.client.test_api import view

CANARY = "canary-4711"


def _new_secret(asked: Asked) -> Reply:
    return Reply(body={"items": [], "next_cursor": None}) if asked.method == "GET" else Reply(201, view())


@pytest.mark.parametrize("command", ["set", "rotate"])
@pytest.mark.parametrize(
    "arguments",
    [("db", CANARY), (f"db={CANARY}",), ("db", "--stdin", CANARY), ("--value", CANARY, "db"), (f"--value={CANARY}", "db")],
)
def test_a_value_in_an_argument_is_refused_and_not_shown(overseer: Overseer, command: str, arguments: tuple[str, ...]) -> None:
    with scripted_server(_new_secret) as server:
        ended = overseer("secret", command, *arguments, url=server.url, stdin=b"x")
    assert ended.code == 2
    assert CANARY not in ended.err
    assert server.asked == []


@pytest.mark.parametrize(
    ("options", "stdin", "sent"),
    [
        ((), b"line\n", "line\n"),
        ((), b"a\r\nb\r\n", "a\r\nb\r\n"),
        ((), b"", ""),
        (("--trim",), b"line\n", "line"),
        (("--trim",), b"line\r\n", "line"),
        (("--trim",), b"line\n\n", "line\n"),
        (("--trim",), b"line\r", "line\r"),
        (("--trim",), b" line ", " line "),
    ],
)
def test_stdin_keeps_every_byte(overseer: Overseer, options: tuple[str, ...], stdin: bytes, sent: str) -> None:
    with scripted_server(_new_secret) as server:
        ended = overseer("secret", "set", "db", "--stdin", *options, url=server.url, stdin=stdin)
    assert ended.code == 0
    assert ended.out == b""
    assert server.asked[1].json["value"] == sent


def test_a_file_keeps_every_byte(overseer: Overseer, tmp_path: Path) -> None:
    path = tmp_path / "key.der"
    path.write_bytes(b"\xff\x00\n")
    with scripted_server(_new_secret) as server:
        assert overseer("secret", "set", "db", "--file", str(path), url=server.url).code == 0
    assert server.asked[1].json["value_base64"] == "/wAK"


@pytest.mark.parametrize(("size", "trim", "code"), [(0, (), 0), (1, (), 65), (1, ("--trim",), 0), (2, ("--trim",), 65)])
def test_one_mebibyte_is_the_limit(overseer: Overseer, size: int, trim: tuple[str, ...], code: int) -> None:
    content = b"x" * (MAX_VALUE_BYTES - 1) + b"\n" * (size + 1)
    with scripted_server(_new_secret) as server:
        ended = overseer("secret", "set", "db", "--stdin", *trim, url=server.url, stdin=content)
    assert ended.code == code
    assert (code == 0) == (len(server.asked) == 2)


def test_a_file_that_is_not_there_is_named(overseer: Overseer, tmp_path: Path) -> None:
    ended = overseer("secret", "set", "db", "--file", str(tmp_path / "none"))
    assert ended.code == 65
    assert "none cannot be read: no such file" in ended.err


def test_a_generator_is_the_servers_work(overseer: Overseer) -> None:
    with scripted_server(_new_secret) as server:
        assert overseer("secret", "set", "db", "--generate", "hex:32", url=server.url).code == 0
    assert server.asked[1].json["generate"] == "hex:32"
    assert server.asked[1].json["value"] is None


@pytest.mark.parametrize(
    "options", [("--stdin", "--generate", "hex"), ("--stdin", "--file", "f"), ("--trim",), ("--trim", "--generate", "hex")]
)
def test_sources_exclude_each_other(overseer: Overseer, options: tuple[str, ...]) -> None:
    assert overseer("secret", "set", "db", *options, stdin=b"x").code == 2


def test_an_echo_of_the_server_would_still_not_reach_the_terminal(overseer: Overseer) -> None:
    """The command adds nothing of the value to what the server says."""
    with scripted_server(
        Reply(body={"items": [], "next_cursor": None}), problem("invalid_input", 422, "value: too strange")
    ) as server:
        ended = overseer("secret", "set", "db", "--stdin", url=server.url, stdin=CANARY.encode())
    assert ended.code == 65
    assert CANARY not in ended.err + ended.text

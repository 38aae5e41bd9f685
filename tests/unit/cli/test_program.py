"""How commands are found and how they end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import click
import pytest

from overseer.cli.lazy_group import LazyCommand
from overseer.cli.program import SECTIONS, program
from overseer.core.errors import InvalidInput, Problem, StoreUnavailable
from tests.unit.cli.conftest import Overseer

LAZY = [(name, lazy) for section in SECTIONS.values() for name, lazy in section.items()]


def _leaves(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            found = command.get_command(click.Context(command), name)
            assert found is not None
            yield from _leaves(found, f"{path} {name}".strip())
    else:
        yield path, command


COMMANDS = dict(_leaves(program, ""))
#: They print no answer of the server: scripts, programs of their own, or one line that something was done.
WITHOUT_JSON = {
    "account accept-invitation", "account no-second-factor", "account password", "account second-factor", "agent prepare",
    "agent rotate-keys", "agent run", "app delete", "approval-policy delete", "audit export", "backend delete",
    "binding delete", "completion", "deployment wait", "env delete", "group add", "group delete", "group remove", "logout",
    "node delete", "quickstart", "role delete", "run", "secret delete", "secret export", "server migrate", "server run",
    "service-account delete", "session revoke", "token revoke", "user delete",
}  # fmt: skip


@pytest.mark.parametrize(("name", "lazy"), LAZY, ids=lambda part: part if isinstance(part, str) else "")
def test_every_command_loads_and_its_line_in_the_list_is_its_own_first_line(name: str, lazy: LazyCommand) -> None:
    command = lazy.load()
    assert command.name == name
    assert command.help is not None
    assert command.help.strip().splitlines()[0] == lazy.help


@pytest.mark.parametrize("path", COMMANDS)
def test_every_command_explains_itself_and_prints_json(path: str) -> None:
    command = COMMANDS[path]
    assert command.help
    options = [p for p in command.params if isinstance(p, click.Option)]
    assert all(option.help for option in options), path
    assert any("--json" in option.opts for option in options) != (path in WITHOUT_JSON)


@pytest.mark.parametrize("path", COMMANDS)
def test_no_option_takes_a_value_or_a_credential(path: str) -> None:
    names = {name for p in COMMANDS[path].params for name in p.opts}
    assert not names & {"--value", "--token", "--password", "--passphrase"}


def test_every_list_is_a_noun_and_help_shows_them_all(overseer: Overseer) -> None:
    shown = overseer("--help")
    assert shown.code == 0
    for name, lazy in LAZY:
        assert name in shown.text
        assert lazy.help in " ".join(shown.text.split())
    assert overseer("help").text == shown.text
    assert max(map(len, shown.text.splitlines())) <= 80


@pytest.mark.parametrize("name", [name for name, lazy in LAZY if isinstance(lazy.load(), click.Group)])
def test_every_group_lists_its_commands_with_whole_sentences(name: str, overseer: Overseer) -> None:
    shown = overseer(name, "--help").text
    assert not any(line.endswith("...") for line in shown.splitlines()[1:])
    group = dict(LAZY)[name].load()
    assert isinstance(group, click.Group)
    listed = " ".join(shown.split())
    assert all(" ".join((one.help or "").partition("\n\n")[0].split()) in listed for one in group.commands.values())
    assert max(map(len, shown.splitlines())) <= 80


def _command_that(end: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "get_command", lambda ctx, name: click.Command("broken", callback=end))


def _raising(error: BaseException) -> Callable[[], None]:
    def end() -> None:
        raise error

    return end


def test_an_error_is_one_line_and_a_line_for_each_problem(overseer: Overseer, monkeypatch: pytest.MonkeyPatch) -> None:
    problems = [Problem("compose.yaml:12:17", "not there"), Problem("compose.yaml:13:1", "nor this\x1b[2J")]
    _command_that(_raising(InvalidInput("2 references are refused", problems=problems)), monkeypatch)
    ended = overseer("broken")
    assert ended.code == 65
    assert ended.out == b""
    assert ended.err.splitlines() == [
        "overseer: error: 2 references are refused",
        "compose.yaml:12:17: not there",
        "compose.yaml:13:1: nor this\\x1b[2J",
    ]


def test_a_problem_that_says_the_same_is_not_repeated(overseer: Overseer, monkeypatch: pytest.MonkeyPatch) -> None:
    _command_that(_raising(InvalidInput("name: the rule", problems=[Problem("name", "the rule")])), monkeypatch)
    assert overseer("broken").err == "overseer: error: name: the rule\n"
    _command_that(_raising(InvalidInput("the rule", problems=[Problem("body.name", "the rule")])), monkeypatch)
    assert overseer("broken").err == "overseer: error: the rule\n"


def test_a_fault_of_the_server_shows_the_request(overseer: Overseer, monkeypatch: pytest.MonkeyPatch) -> None:
    error = StoreUnavailable("the database is down")
    error.add_note("request id r-1")
    _command_that(_raising(error), monkeypatch)
    ended = overseer("broken")
    assert ended.code == 69
    assert ended.err.splitlines() == ["overseer: error: the database is down", "  (request id r-1)"]


def test_an_unexpected_error_hides_its_text(overseer: Overseer, monkeypatch: pytest.MonkeyPatch) -> None:
    _command_that(_raising(KeyError("canary-4711")), monkeypatch)
    ended = overseer("broken")
    assert ended.code == 70
    assert ended.err.startswith("overseer: internal error: KeyError at ")
    assert "canary" not in ended.err


def test_ctrl_c_ends_with_130(overseer: Overseer, monkeypatch: pytest.MonkeyPatch) -> None:
    _command_that(_raising(KeyboardInterrupt()), monkeypatch)
    ended = overseer("broken")
    assert ended.code == 130
    assert "interrupted" in ended.err


def test_usage_errors_end_with_2(overseer: Overseer) -> None:
    assert overseer("nonsense").code == 2
    assert overseer("secret", "get").code == 2
    assert overseer("binding", "create", "ci", "viewer", "--app", "*").code == 2


def test_the_exit_code_of_a_command_is_kept(overseer: Overseer, monkeypatch: pytest.MonkeyPatch) -> None:
    _command_that(lambda: click.get_current_context().exit(41), monkeypatch)
    assert overseer("broken").code == 41

"""What a server says of a request's fields is said of the options that they came from."""

from __future__ import annotations

import click
import pytest

from overseer.cli.program import SECTIONS
from overseer.cli.request_fields import name_options, option_of
from overseer.core.errors import InvalidInput, Problem
from tests.unit.cli.conftest import Overseer
from tests.unit.client.scripted_server import Reply, problem, scripted_server
from tests.unit.client.test_api import view


def command(*path: str) -> click.Command:
    found: click.Command = next(section[path[0]].load() for section in SECTIONS.values() if path[0] in section)
    for name in path[1:]:
        assert isinstance(found, click.Group)
        found = found.commands[name]
    return found


@pytest.mark.parametrize(
    ("path", "place", "said"),
    [
        (("secret", "set"), "body.environment", "--env"),
        (("secret", "set"), "body.app", "--app"),
        (("secret", "set"), "body.labels", "--label"),
        (("secret", "set"), "body.name", "NAME"),
        (("secret", "list"), "query.q", "--search"),
        (("role", "create"), "body.permissions[3]", "--permission"),
        (("user", "create"), "body.description", "--description"),
        (("token", "create"), "body.expires_in", "--expires-in"),
        (("secret", "set"), "body.whatever", "body.whatever"),
        (("secret", "set"), "compose.yaml:3:1", "compose.yaml:3:1"),
        (("secret", "set"), "approval:1234", "approval:1234"),
    ],
)
def test_a_field_is_the_option_that_it_came_from(path: tuple[str, ...], place: str, said: str) -> None:
    assert option_of(place, command(*path).params) == said


def test_the_message_says_the_same() -> None:
    error = InvalidInput("body.app: too long", problems=[Problem("body.app", "too long"), Problem("line 3", "no")])
    name_options(error, command("secret", "set"))
    assert (error.message, str(error)) == ("--app: too long", "--app: too long")
    assert [one.place for one in error.problems] == ["--app", "line 3"]


def test_a_refusal_on_the_command_line_names_options(overseer: Overseer) -> None:
    refused = problem("invalid_input", 422, "body.app: a name has no blanks")
    with scripted_server(refused) as server:
        ended = overseer("secret", "set", "db", "--create-only", "--app", "a b", "--generate", "hex", url=server.url)
    assert (ended.code, ended.err) == (65, "overseer: error: body.app: a name has no blanks\n")  # a text alone is not taken apart
    fields = [{"place": "body.app", "rule": "a name has no blanks", "code": "bad_name"}]
    with scripted_server(problem("invalid_input", 422, "body.app: a name has no blanks", problems=fields)) as server:
        ended = overseer("secret", "set", "db", "--create-only", "--app", "a b", "--generate", "hex", url=server.url)
    assert "--app: a name has no blanks" in ended.err
    assert "body." not in ended.err


def test_what_waits_for_approval_can_be_stored_alone(overseer: Overseer) -> None:
    found = Reply(body={"items": [view()], "next_cursor": None})
    for arguments, told in (((), True), (("--no-activate",), False)):
        with scripted_server(found, problem("approval_required", 403, "it needs the approval of another person")) as server:
            ended = overseer("secret", "set", "db", "--stdin", *arguments, url=server.url, stdin=b"x")
        assert ended.code == 77
        assert ("--no-activate: stores the version" in ended.err) == told


@pytest.mark.parametrize("at", range(3))
def test_json_may_stand_at_the_command_the_noun_or_the_program(overseer: Overseer, at: int) -> None:
    words = ["app", "list"]
    words.insert(at, "--json")
    with scripted_server(Reply(body={"items": [], "next_cursor": None})) as server:
        ended = overseer(*words, url=server.url)
    assert (ended.code, ended.text.strip()) == (0, "[]")


def test_json_is_not_taken_from_behind_dashes(overseer: Overseer) -> None:
    with scripted_server(Reply(body={"items": [], "next_cursor": None})) as server:
        ended = overseer("app", "list", url=server.url)
    assert ended.text.strip() != "[]"

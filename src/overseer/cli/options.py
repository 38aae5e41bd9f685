"""Options that many commands share: the scope, ``--json``, durations, and the connection to the server."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, TypeVar

import click

from overseer.cli.output import NOTHING_SHOWN
from overseer.core.errors import OverseerError
from overseer.core.scopes import Scope

if TYPE_CHECKING:
    from overseer.client.api import Client

Function = TypeVar("Function", bound=Callable[..., Any])
_EARLY = "early_json"
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass
class Connection:
    """What the options before the command's name say about the server; the client is made when a command needs it."""

    url: str | None = None
    ca_file: str | None = None
    as_json: bool = False
    _client: Client | None = field(default=None, repr=False)

    def client(self) -> Client:
        """The client with the caller's token; raises where there is none."""
        if self._client is None:
            from overseer.client.api import Client

            self._client = Client(self.url, ca_file=self.ca_file)
        return self._client

    def open_client(self) -> Client:
        """A client for the routes that need no token, at the server that :meth:`client` would ask."""
        from overseer.client.api import Client

        url, ca_file = self.place()
        return Client(url, ca_file=ca_file, need_token=False)

    def place(self) -> tuple[str | None, str | None]:
        """URL and CA file: of the options, of the environment, else of the stored login, whose token stays where it is."""
        import os

        from overseer.client.login_store import load_login

        url, ca_file = self.url or os.environ.get("OVERSEER_URL"), self.ca_file or os.environ.get("OVERSEER_CA_FILE")
        login = load_login() if not url else None
        return (login.url, ca_file or login.ca_file) if login is not None else (url or None, ca_file or None)

    def close(self) -> None:
        if self._client is not None:
            self._client.close()


class Duration(click.ParamType):  # type: ignore[type-arg]  # generic only in the newest click
    """``90d``, ``12h``, ``30m``, ``45s`` or plain seconds; the value is in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"([0-9]{1,9})([smhd]?)", str(value))
        if match is None:
            self.fail("write a duration as 90d, 12h, 30m or 45s", param, ctx)
        return int(match[1]) * _UNITS[match[2] or "s"]


DURATION = Duration()


def pass_client(function: Function) -> Function:
    """Give the command the client as its first argument."""

    @click.pass_context
    def wrapped(ctx: click.Context, /, *args: Any, **kwargs: Any) -> Any:
        client = ctx.ensure_object(Connection).client()
        try:
            answer = function(client, *args, **kwargs)
            if NOTHING_SHOWN in ctx.meta:
                from overseer.cli.similar_names import say_hints

                say_hints(client, ctx)
            return answer
        except OverseerError as error:
            from overseer.cli.request_fields import name_options
            from overseer.cli.similar_names import add_hints

            name_options(error, ctx.command)
            add_hints(error, client, ctx)
            raise

    return update_wrapper(wrapped, function)  # type: ignore[return-value]


def json_option(function: Function) -> Function:
    """``--json``: the answer as JSON on stdout, and nothing else there. It may stand before the command's name as well."""
    return json_option_that("Print the answer as JSON.")(function)


def json_option_that(text: str) -> Callable[[Function], Function]:
    """:func:`json_option` of a command that prints something else than an answer."""

    def asked(ctx: click.Context, _: click.Parameter, given: bool) -> bool:
        return given or ctx.ensure_object(Connection).as_json

    return click.option("--json", "as_json", is_flag=True, callback=asked, help=text)


def take_json(command: click.Command) -> click.Command:
    """Let a group, and groups in it, take ``--json`` before the name of a command; once for each."""
    if isinstance(command, click.Group) and not any(one.name == _EARLY for one in command.params):
        names = ["--json", _EARLY]
        early = click.Option(names, is_flag=True, hidden=True, expose_value=False, callback=_remember, help="As after it.")
        command.params.append(early)
        for inner in command.commands.values():
            take_json(inner)
    return command


def _remember(ctx: click.Context, _: click.Parameter, given: bool) -> None:
    if given:
        ctx.ensure_object(Connection).as_json = True


def yes_option(function: Function) -> Function:
    """``--yes``: do not ask."""
    return click.option("--yes", is_flag=True, help="Do it without asking.")(function)


def scope_options(function: Function) -> Function:
    """``--app``, ``--env`` and ``--node``, given to the command as one ``scope``."""

    def wrapped(*args: Any, app: str | None, environment: str | None, node: str | None, **kwargs: Any) -> Any:
        return function(*args, scope=Scope(app, environment, node), **kwargs)

    command: Callable[..., Any] = update_wrapper(wrapped, function)
    command = click.option("--node", metavar="NODE", help="Part of the scope: a node.")(command)
    command = click.option("--env", "environment", metavar="ENV", help="Part of the scope: an environment.")(command)
    app_help = "Part of the scope: an app. With none of the three: global."
    return click.option("--app", metavar="APP", help=app_help)(command)  # type: ignore[return-value]

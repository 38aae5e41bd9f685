"""A group of commands whose modules are imported when a command is used, and not to list or complete them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from typing import Any

import click
from click.shell_completion import CompletionItem

from overseer.cli.options import take_json


@dataclass(frozen=True, slots=True)
class LazyCommand:
    """``module:attribute`` of a command, and the one line that a list shows (also the first line of the command's own help)."""

    target: str
    help: str

    def load(self) -> click.Command:
        module, _, attribute = self.target.partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return list_whole(take_json(command))


def list_whole(command: click.Command) -> click.Command:
    """Let a group, and groups in it, list their commands with whole sentences: click cuts them to what fits into one line."""
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            inner.short_help = inner.short_help or " ".join((inner.help or "").partition("\n\n")[0].split())
            list_whole(inner)
    return command


class LazyGroup(click.Group):
    """``sections`` maps a heading to commands by name; names are shown in the order of writing."""

    def __init__(self, *args: Any, sections: Mapping[str, Mapping[str, LazyCommand]], **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.sections = sections
        self._lazy = {name: command for section in sections.values() for name, command in section.items()}

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return sorted(self._lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        lazy = self._lazy.get(cmd_name)
        return None if lazy is None else lazy.load()

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's, which proposes what is alike only among commands that it has loaded."""
        if self.get_command(ctx, args[0]) is None and not args[0].startswith("-") and not ctx.resilient_parsing:
            near = get_close_matches(args[0], self._lazy, n=1)
            ctx.fail(f"No such command '{args[0]}'." + (f" Did you mean '{near[0]}'?" if near else ""))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        widest = max(map(len, self._lazy))
        for heading, commands in self.sections.items():
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(widest), command.help) for name, command in commands.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        return [CompletionItem(name, help=lazy.help) for name, lazy in self._lazy.items() if name.startswith(incomplete)]

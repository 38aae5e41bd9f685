"""Every command of ``overseer`` with its arguments and options."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import click

from overseer.cli.program import SECTIONS, program
from scripts.reference_pages.markdown import Page, code, page, prose, table

_GENERAL: Final = """`overseer COMMAND --help` prints what stands here. stdout is data, stderr is talk; `--json` prints the
server's answer. Exit codes are on the page [errors](errors.md#exit-codes-of-overseer), variables on the page
[settings](settings.md#command-line-and-python-client). A value or a token is never an argument."""


@dataclass
class _Tree:
    parts: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


def build() -> Page:
    """The page; a command or an option without a help text is a complaint, and so is a command without code."""
    tree = _Tree([_GENERAL, "Before the command's name:", _options("overseer", program, [])])
    for heading, commands in SECTIONS.items():
        tree.parts.append(f"## {heading}")
        for name in commands:
            try:
                command = program.get_command(click.Context(program), name)
            except ImportError as error:
                tree.complaints.append(f"overseer {name}: its module cannot be imported ({error})")
                continue
            if command is not None:
                _describe(tree, f"overseer {name}", command, 3)
    return page("Command line", tree.parts, tree.complaints)


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, by its whole name."""
    todo: list[tuple[str, click.Command]] = [("overseer", program)]
    while todo:
        name, command = todo.pop()
        if isinstance(command, click.Group):
            context = click.Context(command)
            inner = ((one, command.get_command(context, one)) for one in command.list_commands(context))
            todo += [(f"{name} {one}", found) for one, found in inner if found is not None]
        else:
            yield name, command


def _describe(tree: _Tree, name: str, command: click.Command, level: int) -> None:
    if not command.help:
        tree.complaints.append(f"{name}: no help text")
    tree.parts += [f"{'#' * min(level, 6)} {name}", *_help(command.help)]
    if isinstance(command, click.Group):
        context = click.Context(command)
        for inner in command.list_commands(context):
            found = command.get_command(context, inner)
            if found is not None:
                _describe(tree, f"{name} {inner}", found, level + 1)
        return
    arguments = [one.make_metavar(click.Context(command)) for one in command.params if isinstance(one, click.Argument)]
    tree.parts.append(code(" ".join([name, "[OPTIONS]", *arguments])))
    options = _options(name, command, tree.complaints)
    if options:
        tree.parts.append(options)


def _help(text: str | None) -> list[str]:
    """Paragraphs; one that begins with click's mark for "as it is" becomes a block of code."""
    paragraphs = re.split(r"\n\s*\n", inspect.cleandoc(text or "").partition("\f")[0])
    return [_block(one) if one.startswith("\b") else prose(one) for one in paragraphs if one]


def _block(paragraph: str) -> str:
    return "```\n" + paragraph.removeprefix("\b").strip("\n") + "\n```"


def _options(name: str, command: click.Command, complaints: list[str]) -> str:
    rows = []
    for option in command.params:
        if not isinstance(option, click.Option) or option.hidden:
            continue
        if not option.help:
            complaints.append(f"{name} {option.opts[0]}: no help text")
        value = "" if option.is_flag or option.count else f" {option.make_metavar(click.Context(command))}"
        names = ", ".join(sorted([*option.opts, *option.secondary_opts], key=len))
        marks = [*(["required"] if option.required else []), *([str(option.default)] if option.show_default else [])]
        rows.append((code(names + value), prose(option.help), ", ".join(marks)))
    if not any(marks for _, _, marks in rows):
        return table(("Option", "Meaning"), [row[:2] for row in rows]) if rows else ""
    return table(("Option", "Meaning", "Default"), rows)

"""``overseer secret set --batch FILE``: many changes in one moment, from lines of JSON (NDJSON), one operation a line.

A line without ``operation`` is a ``set``: create the secret, or give it a version. Values stand in the file or come through
standard input (``-``), never in arguments. A refusal names lines, and repeats nothing that stands in them.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from overseer.cli.output import print_json, print_table, say
from overseer.core.errors import InvalidInput, OverseerError, Problem, TooLarge
from overseer.core.scopes import Scope

if TYPE_CHECKING:
    from overseer.client.api import Client
    from overseer.wire.secret_batches import BatchResult, Operation

Function = TypeVar("Function", bound=Callable[..., Any])
MAX_FILE_BYTES: Final = 8 * 1024 * 1024
_SCOPED: Final = frozenset({"create", "set"})
_IMMEDIATE: Final = frozenset({"activate", "rotate", "set", "update"})
_INDEX: Final = re.compile(r"body\.operations\[(\d+)\]\.?")
_FORM: Final = "is no operation: a JSON object with 'name' and a value, or with 'operation' and what that takes"


def batch_options(function: Function) -> Function:
    """``--batch``, given to the command as ``batch``."""
    text = "Many secrets at once, all or nothing: lines of JSON from this file, or from standard input (-)."
    return click.option("--batch", metavar="FILE", type=click.Path(allow_dash=True), help=text)(function)


def change_many(client: Client, path: str, scope: Scope[str], *, immediate: bool, as_json: bool) -> None:
    """Send the operations of the file; ``scope`` and ``immediate`` stand for what lines leave out."""
    operations, lines = read_operations(_read(path), scope, immediate=immediate)
    try:
        results = client.secrets.batch(operations)
    except OverseerError as error:
        error.problems = tuple(Problem(_line(one.place, lines), one.rule, one.code) for one in error.problems)
        raise
    if as_json:
        print_json(results)
        return
    print_table(("LINE", "NAME", "SCOPE", "ACTIVE", "NEWEST"), [_row(one, lines) for one in results])
    say(f"changed {len(results)} secrets")


def read_operations(content: bytes, scope: Scope[str], *, immediate: bool) -> tuple[list[Operation], list[int]]:
    """The operations and the number of the line of each. :class:`InvalidInput` names every line that is none."""
    import msgspec

    from overseer.wire.secret_batches import MAX_OPERATIONS, Operation

    operations: list[Operation] = []
    numbers: list[int] = []
    problems: list[Problem] = []
    for number, line in enumerate(content.splitlines(), 1):
        if not line.strip():
            continue
        try:
            found = msgspec.json.decode(line, type=dict[str, Any])
            operations.append(msgspec.convert(_completed(found, scope, immediate=immediate), Operation))
            numbers.append(number)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):  # their texts may quote the line
            problems.append(Problem(f"line {number}", _FORM, "bad_line"))
    if problems:
        raise InvalidInput("nothing was changed: the file has lines that cannot be read", problems=problems)
    if not 1 <= len(operations) <= MAX_OPERATIONS:
        raise InvalidInput(f"a batch has 1 to {MAX_OPERATIONS} operations, and this file has {len(operations)}")
    return operations, numbers


def _completed(found: dict[str, Any], scope: Scope[str], *, immediate: bool) -> dict[str, Any]:
    whole = {"operation": "set", **found}
    parts = {"app": scope.app, "environment": scope.environment, "node": scope.node}
    if whole["operation"] in _SCOPED and parts.keys().isdisjoint(found):
        whole |= {name: part for name, part in parts.items() if part is not None}
    if immediate and whole["operation"] in _IMMEDIATE:
        whole.setdefault("immediate", True)
    return whole


def _read(path: str) -> bytes:
    try:
        if path == "-":
            content = sys.stdin.buffer.read(MAX_FILE_BYTES + 1)
        else:
            with Path(path).open("rb") as file:
                content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {(error.strerror or os.strerror(5)).lower()}") from None
    if len(content) > MAX_FILE_BYTES:
        raise TooLarge(f"a batch has at most {MAX_FILE_BYTES} bytes")
    return content


def _line(place: str, lines: list[int]) -> str:
    match = _INDEX.match(place)
    if match is None or int(match[1]) >= len(lines):
        return place
    rest = place[match.end() :].strip()
    return f"line {lines[int(match[1])]}" + (f", {rest}" if rest else "")


def _row(one: BatchResult, lines: list[int]) -> tuple[str, ...]:
    line, secret = str(lines[one.index]), one.secret
    if secret is None:
        return line, "(deleted)", "", "", ""
    scope = Scope(secret.scope.app, secret.scope.environment, secret.scope.node)
    return line, secret.name, str(scope), str(secret.active_version), str(secret.version)

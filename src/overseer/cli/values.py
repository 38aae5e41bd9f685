"""Where a value comes from: a prompt, stdin, a file, or a generator of the server. Never the command line.

Bytes are kept exactly: ``--stdin`` and ``--file`` keep a trailing newline unless ``--trim`` is given (``echo`` writes one,
``printf %s`` does not); the prompt's newline is not part of the value.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from overseer.cli.output import say
from overseer.cli.terminal import ask_new_secret
from overseer.core.errors import InvalidInput, TooLarge
from overseer.core.secret_value import MAX_VALUE_BYTES, SecretValue

Function = TypeVar("Function", bound=Callable[..., Any])
HOW = "give the value with --stdin, --file PATH or --generate SPEC"


@dataclass(frozen=True, slots=True)
class NewValue:
    """Exactly one of a value and a generator, or neither where the command allows it."""

    value: SecretValue | None = None
    generate: str | None = None


def value_options(function: Function) -> Function:
    """``--stdin``, ``--file``, ``--trim``, ``--generate``, given to the command as ``read_from`` (see :func:`read_value`)."""

    def wrapped(*args: Any, stdin: bool, file: str | None, trim: bool, generate: str | None, **kwargs: Any) -> Any:
        return function(*args, read_from=(stdin, file, trim, generate), **kwargs)

    from functools import update_wrapper

    command: Callable[..., Any] = update_wrapper(wrapped, function)
    spec_help = "Let the server make the value: password:32, hex:32, ssh-ed25519, … ('overseer help generators' lists all)."
    command = click.option("--generate", metavar="SPEC", help=spec_help)(command)
    command = click.option("--trim", is_flag=True, help="Drop one trailing newline of --stdin or --file.")(command)
    command = click.option("--file", metavar="PATH", type=click.Path(), help="Read the value, exactly, from a file.")(command)
    stdin_help = "Read the value, exactly, from standard input."
    return click.option("--stdin", is_flag=True, help=stdin_help)(command)  # type: ignore[return-value]


def read_value(read_from: tuple[bool, str | None, bool, str | None], *, prompt: str | None) -> NewValue:
    """The new value; without an option it is asked for on the terminal, or none at all where ``prompt`` is None."""
    stdin, file, trim, generate = read_from
    if sum((stdin, file is not None, generate is not None)) > 1:
        raise click.UsageError("give only one of --stdin, --file and --generate")
    if trim and not stdin and file is None:
        raise click.UsageError("--trim goes with --stdin or --file")
    if generate is not None:
        return NewValue(generate=generate)
    if stdin:
        return NewValue(SecretValue(_trimmed(_read_stdin(), trim)))
    if file is not None:
        return NewValue(SecretValue(_trimmed(_read_file(file), trim)))
    return NewValue() if prompt is None else NewValue(ask_new_secret(prompt, instead=HOW))


def read_credential(path: str | None, stdin: bool, *, prompt: str, instead: str) -> SecretValue:
    """A token or a passphrase: from a file, stdin or a prompt, without the newline at its end."""
    from overseer.cli.terminal import ask_secret

    if path is not None and stdin:
        raise click.UsageError("give the file or --stdin, not both")
    if path is not None:
        return SecretValue(_read_file(path).rstrip(b"\r\n"))
    if stdin:
        return SecretValue(_read_stdin().rstrip(b"\r\n"))
    return ask_secret(prompt, instead=instead)


def name_argument(function: Function) -> Function:
    """The argument NAME, and a refusal of whatever follows it: a value has no place there."""
    function = click.argument("extra", nargs=-1, metavar="", expose_value=False, callback=_refuse_values_in_argv)(function)
    return click.argument("name", callback=_refuse_values_in_argv)(function)


def optional_name_argument(function: Function) -> Function:
    """As :func:`name_argument`, where a name may be left out."""
    function = click.argument("extra", nargs=-1, metavar="", expose_value=False, callback=_refuse_values_in_argv)(function)
    return click.argument("name", required=False, callback=_refuse_values_in_argv)(function)


def _refuse_values_in_argv(_context: click.Context, _parameter: click.Parameter, given: Any) -> Any:
    """What was given is not shown again by the refusal."""
    if (isinstance(given, tuple) and given) or (isinstance(given, str) and "=" in given):
        raise click.UsageError(
            "a value on the command line can be seen by every user of this machine and stays in the shell's history; "
            f"{HOW}, or type it at the prompt. What was given there should be treated as known to others"
        )
    return given


def _read_stdin() -> bytes:
    if sys.stdin.isatty():
        say("reading the value from this terminal, visibly, until Ctrl-D")
    return _bounded(sys.stdin.buffer.read(MAX_VALUE_BYTES + 3))


def _read_file(path: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            return _bounded(file.read(MAX_VALUE_BYTES + 3))
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {(error.strerror or os.strerror(5)).lower()}") from None


def _bounded(content: bytes) -> bytes:
    if len(content) > MAX_VALUE_BYTES + 2:  # a newline that is trimmed may stand beyond the limit
        raise TooLarge(f"a value has at most {MAX_VALUE_BYTES} bytes")
    return content


def _trimmed(content: bytes, trim: bool) -> bytes:
    if trim:
        content = content[:-2] if content.endswith(b"\r\n") else content.removesuffix(b"\n")
    if len(content) > MAX_VALUE_BYTES:
        raise TooLarge(f"a value has at most {MAX_VALUE_BYTES} bytes")
    return content

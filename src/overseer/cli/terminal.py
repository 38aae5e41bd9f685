"""Questions to a person: asked on the terminal itself, never on stdin or stdout, and refused where there is no terminal."""

from __future__ import annotations

import os

import click

from overseer.core.secret_value import SecretValue


def ask_secret(prompt: str, *, instead: str) -> SecretValue:
    """One hidden line. ``instead`` says how to give it without a terminal."""
    import getpass

    _need_terminal(prompt, instead)
    try:
        return SecretValue(getpass.getpass(f"{prompt}: "))
    except UnicodeError:
        raise click.UsageError(f"what was typed is not UTF-8: {instead}") from None


def ask_new_secret(prompt: str, *, instead: str) -> SecretValue:
    """The same, asked twice."""
    value = ask_secret(prompt, instead=instead)
    if value != ask_secret(f"{prompt}, again", instead=instead):
        raise click.UsageError("the two are not the same; nothing was changed")
    return value


def confirm(question: str, *, instead: str = "give --yes to do it without asking") -> None:
    """Ends the command where the answer is not yes."""
    _need_terminal(question, instead)
    with open("/dev/tty", "r+b", buffering=0) as terminal:  # noqa: PTH123 - a device
        terminal.write(f"{question} [y/N] ".encode())
        answer = terminal.readline(64).strip().lower()
    if answer not in (b"y", b"yes"):
        raise click.ClickException("nothing was changed")


def _need_terminal(prompt: str, instead: str) -> None:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        raise click.UsageError(f"no terminal to ask on ({prompt[:1].lower()}{prompt[1:]}): {instead}") from None

"""What operators bring to a seal, and what they take away: passphrases and shares, typed at the terminal or a line of stdin each;
new shares, on paper (stdout) or in a file of mode 0600. Never in an argument.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import click

from overseer.cli.output import print_own, say
from overseer.cli.terminal import ask_new_secret, ask_secret
from overseer.core.errors import ConfigurationProblem, InvalidInput, KeyProblem
from overseer.core.secret_value import SecretValue

HOW: Final = "give it with --stdin, a line each"
_LONGEST: Final = 256 * 1024


class SealMaterial:
    """The lines of stdin, or questions on the terminal. Used from one command, once."""

    def __init__(self, stdin: bool) -> None:
        self._lines = _lines() if stdin else None

    def opening(self, kind: str) -> SecretValue | None:
        """What opens a seal of ``kind`` that is there: the passphrase, or as many shares as it takes; None for other seals."""
        if kind == "passphrase":
            return self._line("passphrase of the present seal")
        if kind == "shamir":
            return self._shares()
        return None

    def new(self, kind: str) -> SecretValue | None:
        """What a new seal of ``kind`` is to be opened with, asked for twice on a terminal; None for other seals."""
        if kind != "passphrase":
            return None
        if self._lines is not None:
            return self._line("passphrase of the new seal")
        return ask_new_secret("passphrase of the new seal", instead=HOW)

    def end(self) -> None:
        """Refuse lines that nobody asked for: they may be what somebody believes to be in use."""
        if self._lines:
            raise click.UsageError(f"stdin has {len(self._lines)} more line(s) than the seals ask for; nothing was changed")

    def shares_back(self, shares: Sequence[SecretValue]) -> SecretValue:
        """The shares, typed again from the paper by whoever keeps them; with stdin, what was printed."""
        if self._lines is not None:
            return join_shares(shares)
        say("Write them down now: each is for another person. Then type as many of them as open the seal.")
        return self._shares()

    def _shares(self) -> SecretValue:
        from overseer.crypto.shares import HEAD, parse_share

        if self._lines is not None:
            given = [line for line in self._lines if line.reveal().lower().lstrip().startswith(HEAD.encode())]
            self._lines = [line for line in self._lines if line not in given]
            if not given:
                raise click.UsageError("stdin has no share for the present seal")
            return join_shares(given)
        typed: dict[int, SecretValue] = {}
        while True:
            try:
                share = parse_share(ask_secret(f"share {len(typed) + 1}", instead=HOW))
            except InvalidInput as error:
                say(f"{error.message}; type it again")
                continue
            typed[share.number] = share.text()
            if len(typed) >= share.threshold:
                return join_shares(list(typed.values()))

    def _line(self, prompt: str) -> SecretValue:
        if self._lines is None:
            return ask_secret(prompt, instead=HOW)
        if not self._lines:
            raise click.UsageError(f"stdin has no line for the {prompt}")
        return self._lines.pop(0)


def read_shares(stdin: bool) -> list[SecretValue]:
    """Shares to be sent one by one: every line of stdin, or one from the terminal."""
    if not stdin:
        return [ask_secret("share", instead=HOW)]
    found = _lines()
    if not found:
        raise click.UsageError("stdin has no share")
    return found


def join_shares(shares: Sequence[SecretValue]) -> SecretValue:
    """One a line, as a seal takes them."""
    return SecretValue(b"\n".join(share.reveal() for share in shares))


def show_shares(path: str | None) -> Callable[[Sequence[SecretValue]], None]:
    """A delivery of new shares: to the file ``path`` (new, 0600, on the disk before this returns), else to stdout.

    It raises :class:`ConfigurationProblem` or OSError where they cannot be delivered: nothing may be committed then.
    """

    def deliver(shares: Sequence[SecretValue]) -> None:
        if path is not None:
            _write(Path(path), join_shares(shares))
            say(f"the {len(shares)} shares are in {path}: give each to another person, then delete the file")
            return
        say(f"{len(shares)} shares, shown this once:")
        for share in shares:
            print_own(share.reveal().decode("ascii"))
        sys.stdout.flush()

    return deliver


def _write(path: Path, content: SecretValue) -> None:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(content.reveal() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        directory = os.open(path.absolute().parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise ConfigurationProblem(f"the shares cannot be written to {path} ({error.strerror}); nothing was changed") from None


def written_shares(path: str) -> SecretValue:
    """What :func:`show_shares` wrote, read again from the disk."""
    try:
        return SecretValue(Path(path).read_bytes())
    except OSError as error:
        raise KeyProblem(f"the shares cannot be read again from {path} ({error.strerror}); nothing was changed") from None


def _lines() -> list[SecretValue]:
    if sys.stdin.isatty():
        say("reading from this terminal, visibly, until Ctrl-D")
    content = sys.stdin.buffer.read(_LONGEST + 1)
    if len(content) > _LONGEST:
        raise click.UsageError(f"stdin has more than {_LONGEST} bytes, which no seal needs")
    return [SecretValue(line) for line in content.splitlines() if line.strip()]

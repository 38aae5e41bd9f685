"""What opens a backup (or another archive) and what it is held against, as the command line takes it: recipients, files of
identities, a passphrase that is never an argument, a checkpoint and the instance's key."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from overseer.core.errors import InvalidInput
from overseer.core.secret_value import SecretValue
from overseer.crypto.age_keys import Identity, Passphrase, Recipient, Unwrapper, Wrapper
from overseer.crypto.signed_notes import VerifierKey

if TYPE_CHECKING:
    from overseer.server.services.backup_restoring import Expected

MIN_PASSPHRASE = 12


def sealing_keys(recipients: Sequence[str], passphrase_file: str | None, what: str = "backup") -> list[Wrapper]:
    """Who will be able to open it: recipients, else a passphrase, which is asked for where no file holds it."""
    from overseer.cli.terminal import ask_new_secret

    if recipients and passphrase_file:
        raise click.UsageError("give recipients or a passphrase, not both")
    if recipients:
        return [Recipient.parse(one) for one in recipients]
    if passphrase_file:
        text = _passphrase(passphrase_file)
    else:
        text = ask_new_secret(f"passphrase of the {what}", instead="give --recipient or --passphrase-file")
    if len(text.reveal()) < MIN_PASSPHRASE:
        raise InvalidInput(f"the passphrase has {MIN_PASSPHRASE} characters or more: who gets the file can try for ever")
    return [Passphrase(text)]


def require_file(path: str) -> None:
    """A file that is not there is told before anybody is asked for its passphrase. Raises :class:`InvalidInput`."""
    if not path.startswith("s3://") and not Path(path).exists():
        raise InvalidInput(f"{path} cannot be read: no such file or directory")


def opening_keys(identity_files: Sequence[str], passphrase_file: str | None, what: str = "backup") -> list[Unwrapper]:
    """What is there to open it."""
    from overseer.cli.terminal import ask_secret

    if identity_files and passphrase_file:
        raise click.UsageError("give --identity or --passphrase-file, not both")
    if identity_files:
        return [one for file in identity_files for one in Identity.parse_file(_read(file))]
    if passphrase_file:
        return [Passphrase(_passphrase(passphrase_file))]
    return [Passphrase(ask_secret(f"passphrase of the {what}", instead="give --identity or --passphrase-file"))]


def expected_of(checkpoint: str | None, signed_by: str | None, unsigned: bool) -> Expected:
    """What the operator knows of a backup: a file with a checkpoint, the key of the recovery kit or a file that holds it, and
    whether one without a signature will do. Raises :class:`InvalidInput`."""
    from overseer.server.services.backup_restoring import Expected

    if signed_by and unsigned:
        raise click.UsageError("give --signed-by or --unsigned, not both")
    key = None
    if signed_by:
        text = signed_by if "+" in signed_by else _read(signed_by).reveal().decode("utf-8", "replace")
        key = VerifierKey.parse(text)
    return Expected(None if checkpoint is None else _checkpoint(checkpoint), key, unsigned)


def _checkpoint(file: str) -> str:
    """The note in a file."""
    try:
        return Path(file).read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        raise InvalidInput(f"{file} cannot be read as a checkpoint") from None


def _passphrase(file: str) -> SecretValue:
    return SecretValue(_read(file).reveal().rstrip(b"\r\n"))


def _read(file: str) -> SecretValue:
    try:
        return SecretValue(Path(file).read_bytes()[: 64 * 1024])
    except OSError as error:
        raise InvalidInput(f"{file} cannot be read: {(error.strerror or '').lower()}") from None

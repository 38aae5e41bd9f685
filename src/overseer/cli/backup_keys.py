"""What opens a backup, as the command line takes it: recipients, files of identities, a passphrase that is never an argument."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from overseer.core.errors import InvalidInput
from overseer.core.secret_value import SecretValue
from overseer.crypto.age_keys import Identity, Passphrase, Recipient, Unwrapper, Wrapper

MIN_PASSPHRASE = 12


def sealing_keys(recipients: Sequence[str], passphrase_file: str | None) -> list[Wrapper]:
    """Who will be able to open it: recipients, else a passphrase, which is asked for where no file holds it."""
    from overseer.cli.terminal import ask_new_secret

    if recipients and passphrase_file:
        raise click.UsageError("give recipients or a passphrase, not both")
    if recipients:
        return [Recipient.parse(one) for one in recipients]
    if passphrase_file:
        text = _passphrase(passphrase_file)
    else:
        text = ask_new_secret("passphrase of the backup", instead="give --recipient or --passphrase-file")
    if len(text.reveal()) < MIN_PASSPHRASE:
        raise InvalidInput(f"a backup's passphrase has {MIN_PASSPHRASE} characters or more: who gets the file can try for ever")
    return [Passphrase(text)]


def opening_keys(identity_files: Sequence[str], passphrase_file: str | None) -> list[Unwrapper]:
    """What is there to open it."""
    from overseer.cli.terminal import ask_secret

    if identity_files and passphrase_file:
        raise click.UsageError("give --identity or --passphrase-file, not both")
    if identity_files:
        return [one for file in identity_files for one in Identity.parse_file(_read(file))]
    if passphrase_file:
        return [Passphrase(_passphrase(passphrase_file))]
    return [Passphrase(ask_secret("passphrase of the backup", instead="give --identity or --passphrase-file"))]


def _passphrase(file: str) -> SecretValue:
    return SecretValue(_read(file).reveal().rstrip(b"\r\n"))


def _read(file: str) -> SecretValue:
    try:
        return SecretValue(Path(file).read_bytes()[: 64 * 1024])
    except OSError as error:
        raise InvalidInput(f"{file} cannot be read: {(error.strerror or '').lower()}") from None

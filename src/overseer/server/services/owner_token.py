"""The owner's token as a file of mode 0600: on the disk before the database knows its hash, so a crash can never lose it.

A file that is there already is replaced: an earlier init that did not come to its commit left a token that is worth nothing.
The token is the one secret that Overseer writes to a disk, because someone has to be let in first; exchange it for a token of
your own and delete the file. The quickstart writes an invitation in the same way, which sets the owner's password once.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path

from overseer.core.errors import ConfigurationProblem
from overseer.core.secret_value import SecretValue

FILE_NAME = "owner-token"
INVITATION_FILE_NAME = "owner-invitation"

#: Gets the new token before the transaction that makes it valid is committed.
Delivery = Callable[[SecretValue], None]


def owner_token_file(path: Path, what: str = "the owner's token") -> Delivery:
    """A delivery of ``what`` into ``path``, complete or not at all.

    It raises :class:`ConfigurationProblem` where that cannot be written.
    """

    def deliver(token: SecretValue) -> None:
        fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(token.reveal() + b"\n")
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(path)
        except OSError as error:
            fresh.unlink(missing_ok=True)
            raise ConfigurationProblem(
                f"{what} cannot be written to {path} ({error.strerror}); nothing was made"
            ) from None

    return deliver

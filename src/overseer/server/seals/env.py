"""The ``env`` seal: whoever starts the server hands the root key over, as a systemd credential or in a variable.

- A credential: ``LoadCredential=overseer-root-key:…`` or ``LoadCredentialEncrypted=…`` (TPM) gives a file in
  ``$CREDENTIALS_DIRECTORY``, on memory that only the service sees. Preferred.
- The variable ``OVERSEER_ROOT_KEY``: the 64 digits, with or without the head line. It is removed from the environment as soon
  as it is read, so no child process inherits it.

Guarantee: exactly one of the two is used; both at once is an error, not a precedence.

What it will not do: clear
``/proc/<pid>/environ``, which keeps the environment that the process began with (readable by the same user and root), which
is why the credential is better. It makes no key: the operator does.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import MutableMapping
from pathlib import Path
from typing import Final

from overseer.core.errors import KeyProblem
from overseer.core.secret_value import SecretValue
from overseer.crypto.keys import RootKey
from overseer.server.seals.contract import NewSeal
from overseer.server.seals.root_key_text import MAX_BYTES, read_root_key

VARIABLE: Final = "OVERSEER_ROOT_KEY"
CREDENTIAL: Final = "overseer-root-key"
_DIRECTORY: Final = "CREDENTIALS_DIRECTORY"


class EnvSeal:
    """The seal ``env``, over ``environment`` (``os.environ`` of the server)."""

    kind = "env"
    needs_operator = False

    def __init__(self, environment: MutableMapping[str, str]) -> None:
        self._environment = environment
        self._taken: RootKey | None = None

    def describe(self) -> str:
        return f"handed over at the start (systemd credential {CREDENTIAL} or {VARIABLE}): nothing of the key is kept by Overseer"

    async def create(self, passphrase: SecretValue | None = None) -> NewSeal:
        """The key that was handed over, as the seal of a new instance; :class:`KeyProblem` where there is none."""
        return NewSeal(await self.root_key(passphrase), b"")

    async def root_key(self, passphrase: SecretValue | None = None) -> RootKey:
        """The key that was handed over; kept for a second call, because the variable is gone after the first."""
        if passphrase is not None:
            raise KeyProblem("the env seal takes no passphrase; the setting OVERSEER_SEAL says which seal is used")
        if self._taken is None:
            self._taken = await asyncio.to_thread(self._take)
        return self._taken

    def _take(self) -> RootKey:
        text = self._environment.pop(VARIABLE, None)
        directory = self._environment.get(_DIRECTORY)
        credential = _read_credential(Path(directory) / CREDENTIAL) if directory else None
        if text is not None and credential is not None:
            raise KeyProblem(
                f"both {VARIABLE} and the systemd credential {CREDENTIAL} are set; give the root key in one place only"
            )
        if credential is not None:
            return read_root_key(credential, f"systemd credential {CREDENTIAL}", head_required=False)
        if text is not None:
            return read_root_key(SecretValue(os.fsencode(text)), VARIABLE, head_required=False)
        raise KeyProblem(f"no root key was handed over: set the systemd credential {CREDENTIAL} or {VARIABLE}")


def _read_credential(path: Path) -> SecretValue | None:
    """systemd owns the file and its directory (its mode depends on the version), so only kind and size are checked."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise KeyProblem(f"systemd credential {CREDENTIAL} cannot be opened ({error.strerror})") from None
    try:
        return SecretValue(os.read(handle, MAX_BYTES + 1))
    except OSError as error:
        raise KeyProblem(f"systemd credential {CREDENTIAL} cannot be read ({error.strerror})") from None
    finally:
        os.close(handle)

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
from overseer.server.seals.wrapped_root import refuse_given

VARIABLE: Final = "OVERSEER_ROOT_KEY"
CREDENTIAL: Final = "overseer-root-key"
NEW_VARIABLE: Final = "OVERSEER_NEW_ROOT_KEY"
NEW_CREDENTIAL: Final = "overseer-new-root-key"
_DIRECTORY: Final = "CREDENTIALS_DIRECTORY"


class EnvSeal:
    """The seal ``env``, over ``environment`` (``os.environ`` of the server)."""

    kind = "env"
    needs_operator = False
    asks_service = False

    def __init__(self, environment: MutableMapping[str, str], *, successor: bool = False) -> None:
        """``successor``: the key that a migration is to put in place, under names of its own beside those of the present one."""
        self._environment = environment
        self._variable, self._credential = (NEW_VARIABLE, NEW_CREDENTIAL) if successor else (VARIABLE, CREDENTIAL)
        self._taken: RootKey | None = None

    def describe(self) -> str:
        return f"handed over at the start (systemd credential {CREDENTIAL} or {VARIABLE}): nothing of the key is kept by Overseer"

    async def create(self, given: SecretValue | None = None) -> NewSeal:
        """The key that was handed over, as the seal of a new instance; :class:`KeyProblem` where there is none."""
        return NewSeal(await self.root_key(given), b"")

    async def root_key(self, given: SecretValue | None = None) -> RootKey:
        """The key that was handed over; kept for a second call, because the variable is gone after the first."""
        refuse_given(given, self.kind)
        if self._taken is None:
            self._taken = await asyncio.to_thread(self._take)
        return self._taken

    def _take(self) -> RootKey:
        text = self._environment.pop(self._variable, None)
        directory = self._environment.get(_DIRECTORY)
        credential = _read_credential(Path(directory) / self._credential) if directory else None
        if text is not None and credential is not None:
            raise KeyProblem(
                f"{self._variable} and the systemd credential {self._credential} are both set; give the key in one place only"
            )
        if credential is not None:
            return read_root_key(credential, f"systemd credential {self._credential}", head_required=False)
        if text is not None:
            return read_root_key(SecretValue(os.fsencode(text)), self._variable, head_required=False)
        raise KeyProblem(f"no root key was handed over: set the systemd credential {self._credential} or {self._variable}")


def _read_credential(path: Path) -> SecretValue | None:
    """systemd owns the file and its directory (its mode depends on the version), so only kind and size are checked."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise KeyProblem(f"systemd credential {path.name} cannot be opened ({error.strerror})") from None
    try:
        return SecretValue(os.read(handle, MAX_BYTES + 1))
    except OSError as error:
        raise KeyProblem(f"systemd credential {path.name} cannot be read ({error.strerror})") from None
    finally:
        os.close(handle)

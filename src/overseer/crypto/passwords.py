"""Argon2id (RFC 9106, version 1.3): slow, memory-hard hashes of what people remember.

Guarantee: parameters are stored with each result and checked against bounds before use, so an edited row can neither weaken a
hash unnoticed nor make a server allocate all of its memory. Text is normalised (NFKC, NIST SP 800-63B section 5.1.1.2), so
the same passphrase from another keyboard is the same. Salts are 16 random bytes (RFC 9106 section 3.1).

What it will not do: judge how good a passphrase is. Callers run it in a thread: it takes a tenth of a second on purpose.
"""

from __future__ import annotations

import os
import re
import unicodedata
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from overseer.core.errors import KeyProblem
from overseer.core.secret_value import SecretValue
from overseer.crypto.keys import Key

SALT_BYTES: Final = 16
_HASH_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Argon2Parameters:
    """Memory in KiB, passes, lanes; within :meth:`check`'s bounds."""

    memory_kib: int
    iterations: int
    lanes: int

    def check(self) -> None:
        """:class:`KeyProblem` outside of 19 MiB to 1 GiB, 1 to 16 passes, 1 to 8 lanes (the lower ends are OWASP's)."""
        if not (19_456 <= self.memory_kib <= 1_048_576 and 1 <= self.iterations <= 16 and 1 <= self.lanes <= 8):
            raise KeyProblem("stored Argon2id parameters are outside of the allowed range; they were changed or are damaged")


#: Log-in passwords: OWASP Password Storage Cheat Sheet, 19 MiB, 2 passes, 1 lane (checked often, beside other work).
PASSWORD_PARAMETERS: Final = Argon2Parameters(19_456, 2, 1)
#: The passphrase of a seal: RFC 9106 section 4, second recommended option, 64 MiB, 3 passes, 4 lanes (derived once a start).
PASSPHRASE_PARAMETERS: Final = Argon2Parameters(65_536, 3, 4)

# The PHC string as `cryptography` writes it; the numbers are bounded before a hash is computed.
_PHC: Final = re.compile(r"\$argon2id\$v=19\$m=(\d{1,8}),t=(\d{1,4}),p=(\d{1,3})\$[A-Za-z0-9+/]{22,86}\$[A-Za-z0-9+/]{43}")


def new_salt() -> bytes:
    """A random salt."""
    return os.urandom(SALT_BYTES)


def derive_key(passphrase: SecretValue, salt: bytes, parameters: Argon2Parameters) -> Key:
    """32 bytes of key from ``passphrase``; :class:`KeyProblem` for parameters out of bounds."""
    parameters.check()
    return Key(_argon2id(salt, parameters).derive(_normalised(passphrase)))


def hash_password(password: SecretValue, parameters: Argon2Parameters = PASSWORD_PARAMETERS) -> str:
    """The PHC string ``$argon2id$v=19$m=…,t=…,p=…$salt$hash`` to store."""
    parameters.check()
    return _argon2id(new_salt(), parameters).derive_phc_encoded(_normalised(password))


def password_matches(password: SecretValue, stored: str) -> bool:
    """True where ``password`` is the one of ``stored``; in constant time. :class:`KeyProblem` for a damaged ``stored``."""
    _parameters(stored).check()
    try:
        Argon2id.verify_phc_encoded(_normalised(password), stored)
    except InvalidKey:
        return False
    return True


def needs_rehash(stored: str, parameters: Argon2Parameters = PASSWORD_PARAMETERS) -> bool:
    """True where ``stored`` was made with other parameters than today's: hash anew after the next successful log-in."""
    return _parameters(stored) != parameters


def _argon2id(salt: bytes, parameters: Argon2Parameters) -> Argon2id:
    return Argon2id(
        salt=salt,
        length=_HASH_BYTES,
        iterations=parameters.iterations,
        lanes=parameters.lanes,
        memory_cost=parameters.memory_kib,
    )


def _parameters(stored: str) -> Argon2Parameters:
    match = _PHC.fullmatch(stored)
    if match is None:
        raise KeyProblem("a stored password hash is damaged")
    memory, iterations, lanes = (int(number) for number in match.groups())
    return Argon2Parameters(memory, iterations, lanes)


def _normalised(text: SecretValue) -> bytes:
    try:
        return unicodedata.normalize("NFKC", text.reveal().decode("utf-8")).encode("utf-8")
    except UnicodeDecodeError:
        return text.reveal()  # bytes from a file are taken as they are

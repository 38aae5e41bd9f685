"""The ``passphrase`` seal: a passphrase that nobody stores wraps the root key, which lies wrapped in the database.

Guarantee: the passphrase is stretched with Argon2id (RFC 9106; parameters and salt stored beside the result and authenticated
with it) into a key that opens the wrapped root key and nothing else, so a new passphrase re-wraps 32 bytes and not the
keyring. A wrong one is found by the tag; nothing is written.

What it will not do: survive a guessable passphrase: whoever steals the database can try offline, at the price of 64 MiB and
three passes a guess. It opens only with an operator, so a restart ends sealed.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Final

from overseer.core.errors import DecryptionFailed, InvalidInput, KeyProblem, Sealed
from overseer.core.secret_value import SecretValue
from overseer.crypto.aead import Aead
from overseer.crypto.framing import frame, unsigned
from overseer.crypto.keys import RootKey
from overseer.crypto.passwords import PASSPHRASE_PARAMETERS, Argon2Parameters, derive_key, new_salt
from overseer.server.seals.contract import NewSeal

MIN_CHARACTERS: Final = 12
_FORMAT: Final = 1
_LABEL: Final = b"overseer passphrase seal v1"


@dataclass(frozen=True, slots=True)
class PassphraseConfig:
    """What the database keeps: JSON of these fields, bytes in hexadecimal.

    Evolution rule: ``format`` is the first thing read. Another KDF or cipher is a new number and every number ever released
    stays readable; stronger parameters need no new number. ``tests/vectors/passphrase-seal-v1.json`` must open forever.
    """

    parameters: Argon2Parameters
    salt: bytes
    wrapped: bytes

    def serialise(self) -> bytes:
        p = self.parameters
        fields = {
            "format": _FORMAT,
            "kdf": "argon2id",
            "memory_kib": p.memory_kib,
            "iterations": p.iterations,
            "lanes": p.lanes,
            "salt": self.salt.hex(),
            "wrapped": self.wrapped.hex(),
        }
        return json.dumps(fields, separators=(",", ":")).encode("ascii")

    @classmethod
    def parse(cls, config: bytes) -> PassphraseConfig:
        """What :meth:`serialise` gave, else :class:`KeyProblem`."""
        try:
            fields = json.loads(config)
            if (fields["format"], fields["kdf"]) != (_FORMAT, "argon2id"):
                raise ValueError("format")
            numbers = [fields[name] for name in ("memory_kib", "iterations", "lanes")]
            if any(type(number) is not int for number in numbers):
                raise ValueError("parameters")
            parsed = cls(Argon2Parameters(*numbers), bytes.fromhex(fields["salt"]), bytes.fromhex(fields["wrapped"]))
            if len(parsed.salt) < 16:
                raise ValueError("salt")
        except (ValueError, KeyError, TypeError, RecursionError):
            raise KeyProblem("the stored configuration of the passphrase seal is damaged or of a newer version") from None
        return parsed

    def associated(self) -> bytes:
        """Parameters and salt, authenticated by the wrap."""
        p = self.parameters
        return frame(_LABEL, unsigned(p.memory_kib), unsigned(p.iterations), unsigned(p.lanes), self.salt)


class PassphraseSeal:
    """The seal ``passphrase``; ``config`` is what the database keeps, None for an instance that is to be made."""

    kind = "passphrase"
    needs_operator = True
    asks_service = False

    def __init__(self, config: bytes | None, parameters: Argon2Parameters = PASSPHRASE_PARAMETERS) -> None:
        self._config = config
        self._parameters = parameters

    def describe(self) -> str:
        return "a passphrase that nobody stores: protects a stolen machine too; every start waits for `overseer seal unseal`"

    async def create(self, given: SecretValue | None = None) -> NewSeal:
        """A new root key wrapped under the passphrase (:class:`InvalidInput` where it is missing or too short)."""
        if self._config is not None:
            raise KeyProblem("the passphrase seal exists already; change the passphrase instead")
        root_key = RootKey.generate()
        return NewSeal(root_key, await self._wrap(root_key, given))

    async def root_key(self, given: SecretValue | None = None) -> RootKey:
        """The root key; :class:`Sealed` without a passphrase, :class:`KeyProblem` with a wrong one."""
        if self._config is None:
            raise KeyProblem("the database holds no passphrase seal; this instance was made with another seal, or not yet")
        if given is None:
            raise Sealed("the server waits for its passphrase: run `overseer seal unseal`")
        config = PassphraseConfig.parse(self._config)
        key = await asyncio.to_thread(derive_key, given, config.salt, config.parameters)
        try:
            return RootKey(Aead(key.reveal()).open(config.wrapped, config.associated()))
        except (DecryptionFailed, ValueError):
            raise KeyProblem("the passphrase is wrong (or the stored seal was changed); nothing was written") from None

    async def change_passphrase(self, old: SecretValue, new: SecretValue) -> bytes:
        """The configuration to store for the same root key under ``new``; errors as :meth:`root_key` and :meth:`create`."""
        return await self._wrap(await self.root_key(old), new)

    async def _wrap(self, root_key: RootKey, passphrase: SecretValue | None) -> bytes:
        if passphrase is None or len(passphrase.reveal().decode("utf-8", "replace")) < MIN_CHARACTERS:
            raise InvalidInput(f"the passphrase of the seal has at least {MIN_CHARACTERS} characters")
        salt = new_salt()
        key = await asyncio.to_thread(derive_key, passphrase, salt, self._parameters)
        unwrapped = PassphraseConfig(self._parameters, salt, b"")
        # The derived key is used for this one message: its salt is new each time.
        wrapped = Aead(key.reveal()).seal(root_key.reveal(), unwrapped.associated())
        return PassphraseConfig(self._parameters, salt, wrapped).serialise()

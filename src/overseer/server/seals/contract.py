"""What a seal is: the thing outside of the database that yields the root key.

Guarantee of every seal: it gives the root key or raises :class:`KeyProblem` (wrong, missing, unreadable, not private; says
what to do), or :class:`Sealed` where an operator must act first. It writes nothing while opening. Whether a key belongs to
the instance is the keyring's question: its check value answers before anything is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from overseer.core.secret_value import SecretValue
from overseer.crypto.keys import RootKey


@dataclass(frozen=True, slots=True)
class NewSeal:
    """A seal just made: the root key, and what the database keeps for it (empty where the seal keeps nothing there)."""

    root_key: RootKey
    config: bytes


class Seal(Protocol):
    """One kind of seal, configured."""

    @property
    def kind(self) -> str:
        """The word that the setting begins with: ``file``, ``env``, ``passphrase``."""

    @property
    def needs_operator(self) -> bool:
        """True where a start ends sealed until someone unseals; False where the seal opens by itself."""

    def describe(self) -> str:
        """One line for people: where the key is, and what that protects against. Never a key."""

    async def create(self, passphrase: SecretValue | None = None) -> NewSeal:
        """Make the seal of a new instance. :class:`KeyProblem` where there is one already; nothing is overwritten."""

    async def root_key(self, passphrase: SecretValue | None = None) -> RootKey:
        """The root key; with the operator's ``passphrase`` where :attr:`needs_operator`, else without."""

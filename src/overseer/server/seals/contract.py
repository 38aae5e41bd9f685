"""What a seal is: the thing outside of the database that yields the root key.

Guarantee of every seal: it gives the root key or raises :class:`KeyProblem` (wrong, missing, unreadable, not private; says
what to do), :class:`Sealed` where an operator must act first, or :class:`NotReady` where the service behind it does not answer
now. It writes nothing while opening. Whether a key belongs to the instance is the keyring's question: its check value answers
before anything is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from overseer.core.secret_value import SecretValue
from overseer.crypto.keys import RootKey


@dataclass(frozen=True, slots=True)
class NewSeal:
    """A seal just made: the root key, what the database keeps for it (empty where the seal keeps nothing there), and the shares
    where people keep it, which are shown once."""

    root_key: RootKey
    config: bytes
    shares: tuple[SecretValue, ...] = ()


class Seal(Protocol):
    """One kind of seal, configured."""

    @property
    def kind(self) -> str:
        """The word that the setting begins with: ``file``, ``env``, ``passphrase``, ``shamir``, ``awskms``, ``vault-transit``."""

    @property
    def needs_operator(self) -> bool:
        """True where a start ends sealed until someone unseals; False where the seal opens by itself."""

    @property
    def asks_service(self) -> bool:
        """True where the key comes over a network and by what the database keeps, so that it may come late."""

    def describe(self) -> str:
        """One line for people: where the key is, and what that protects against. Never a key."""

    async def create(self, given: SecretValue | None = None) -> NewSeal:
        """Make a new seal with a new root key. :class:`KeyProblem` where there is one already; nothing is overwritten.

        ``given`` is what the operator brings: the new passphrase.
        """

    async def root_key(self, given: SecretValue | None = None) -> RootKey:
        """The root key; where :attr:`needs_operator`, with what the operator brings: the passphrase, or shares one a line."""

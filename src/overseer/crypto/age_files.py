"""age files (age-encryption.org/v1), through pyrage, the Rust implementation. X25519 and SSH recipients.

Guarantees: an error says which recipient or that no identity fits, and holds neither a key nor text of the file. What it will not
do: passphrases (a key derived from one belongs to backups), plugins (they are programs that somebody would have to trust).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from overseer.core.errors import ConfigurationProblem, DecryptionFailed, InvalidInput, Problem
from overseer.core.secret_value import SecretValue

SUFFIX: Final = ".age"
_IDENTITY: Final = "AGE-SECRET-KEY-1"
_MISSING: Final = "age files need the package pyrage: pip install 'overseer[age]'"


def _pyrage() -> Any:
    try:
        import pyrage
    except ImportError:
        raise ConfigurationProblem(_MISSING) from None
    return pyrage


def encrypt_to(plaintext: SecretValue, recipients: Sequence[str], *, armored: bool = False) -> bytes:
    """``plaintext`` for every one of ``recipients`` (``age1…``, ``ssh-ed25519 …``, ``ssh-rsa …``).

    Raises :class:`InvalidInput`.
    """
    age = _pyrage()
    if not recipients:
        raise InvalidInput("name at least one recipient: an age public key (age1…) or an SSH public key")
    known = [_recipient(age, text.strip(), number) for number, text in enumerate(recipients)]
    sealed: bytes = age.encrypt(plaintext.reveal(), known, armored=armored)
    return sealed


def _recipient(age: Any, text: str, number: int) -> Any:
    kind = age.ssh.Recipient if text.startswith("ssh-") else age.x25519.Recipient
    try:
        return kind.from_str(text)
    except (age.RecipientError, ValueError):
        rule = "is no age recipient: an age public key (age1…) or an SSH public key (ssh-ed25519, ssh-rsa)"
        raise InvalidInput(rule, problems=[Problem(f"recipients[{number}]", rule, "bad_recipient")]) from None


def decrypt_with(sealed: bytes, identities: Sequence[SecretValue]) -> SecretValue:
    """What one of ``identities`` opens. Raises :class:`DecryptionFailed`."""
    age = _pyrage()
    known = [_identity(age, one) for one in identities]
    try:
        return SecretValue(age.decrypt(sealed, known))
    except (age.DecryptError, ValueError):
        raise DecryptionFailed("no identity opens this age file, or it was changed") from None


def _identity(age: Any, identity: SecretValue) -> Any:
    raw = identity.reveal()
    try:
        if raw.startswith(b"-----BEGIN"):
            return age.ssh.Identity.from_buffer(raw)
        return age.x25519.Identity.from_str(raw.decode("ascii").strip())
    except (age.IdentityError, UnicodeError, ValueError):
        raise InvalidInput("an identity is a line AGE-SECRET-KEY-1…, or an OpenSSH private key without a passphrase") from None


def identities_of(content: bytes) -> list[SecretValue]:
    """The identities of a key file: its lines ``AGE-SECRET-KEY-1…``, or the one SSH key that it is.

    Raises :class:`InvalidInput`.
    """
    if content.startswith(b"-----BEGIN"):
        return [SecretValue(content)]
    found = [SecretValue(line) for line in _lines(content) if line.startswith(_IDENTITY)]
    if not found:
        raise InvalidInput("the key file holds no age identity (a line that begins with AGE-SECRET-KEY-1)")
    return found


def _lines(content: bytes) -> Iterable[str]:
    return (line.strip() for line in content.decode("ascii", "replace").splitlines())


def new_identity() -> tuple[SecretValue, str]:
    """A new X25519 identity and its recipient."""
    identity = _pyrage().x25519.Identity.generate()
    return SecretValue(str(identity)), str(identity.to_public())

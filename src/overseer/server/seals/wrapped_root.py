"""A root key that another service wrapped, as the database keeps it; and what several seals ask of their input.

Guarantee: what is stored is a ciphertext of the service and nothing that opens it.
"""

from __future__ import annotations

import json
from typing import Final
from uuid import UUID

from overseer.core.errors import KeyProblem
from overseer.core.secret_value import SecretValue
from overseer.crypto.keys import RootKey

_FORMAT: Final = 1
PURPOSE: Final = "overseer root key"


def serialise_wrapped(ciphertext: str) -> bytes:
    """What the database keeps: JSON of ``format`` and the service's own text.

    Evolution rule: ``format`` is read first; a change of what is wrapped, or of how it is bound to the instance, is a new number
    and this one stays readable.
    """
    return json.dumps({"format": _FORMAT, "ciphertext": ciphertext}, separators=(",", ":")).encode("utf-8")


def parse_wrapped(config: bytes | None, kind: str) -> str:
    """The ciphertext, else :class:`KeyProblem`."""
    if config is None:
        raise KeyProblem(f"the database holds no {kind} seal; this instance was made with another seal, or not yet")
    try:
        fields = json.loads(config)
        if fields["format"] != _FORMAT or not isinstance(fields["ciphertext"], str):
            raise ValueError("format")
    except (ValueError, KeyError, TypeError, RecursionError):
        raise KeyProblem(f"the stored configuration of the {kind} seal is damaged or of a newer version") from None
    return str(fields["ciphertext"])


def unwrapped(plaintext: bytes, kind: str) -> RootKey:
    """The root key in what the service gave back, else :class:`KeyProblem`."""
    try:
        return RootKey(plaintext)
    except ValueError:
        raise KeyProblem(f"what the {kind} seal unwrapped is no root key; nothing was written") from None


def bound_to(instance_id: UUID | None) -> UUID:
    """The instance that a wrap is bound to; a programming error without one."""
    if instance_id is None:
        raise RuntimeError("this seal is bound to an instance, which was not given")
    return instance_id


def refuse_given(given: SecretValue | None, kind: str) -> None:
    """:class:`KeyProblem` where an operator brings something to a seal that takes nothing."""
    if given is not None:
        raise KeyProblem(f"the {kind} seal takes no passphrase and no shares; the setting OVERSEER_SEAL says which seal is used")

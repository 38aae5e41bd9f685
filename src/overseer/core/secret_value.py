"""Plaintext as a type.

A ``SecretValue`` shows itself as ``«redacted»`` in ``repr``, ``str`` and ``format``, and refuses pickling,
copying into JSON, iteration and comparison by order. ``reveal()`` is the only way out, so a search for ``.reveal()`` finds
every place where plaintext leaves its type.

What Python cannot promise: ``bytes`` are immutable and freed memory is not wiped; a core dump or a debugger
that reads the process can see values. The server and the agent therefore forbid core dumps.
"""

from __future__ import annotations

import hmac
from typing import Final, NoReturn

REDACTED: Final = "«redacted»"
MAX_VALUE_BYTES: Final = 1024 * 1024


class SecretValue:
    """The bytes of a secret (0 to 1,048,576 of them, checked by the services), without a way to print them by accident."""

    __slots__ = ("__value",)

    def __init__(self, value: bytes | str) -> None:
        self.__value = value.encode("utf-8") if isinstance(value, str) else bytes(value)

    def reveal(self) -> bytes:
        """The plaintext. Every call is a place of disclosure."""
        return self.__value

    def __len__(self) -> int:
        return len(self.__value)

    def __bool__(self) -> bool:
        return True  # an empty value is a value

    def __eq__(self, other: object) -> bool:
        # Constant time in the content, so that equality is no oracle for a prefix.
        return isinstance(other, SecretValue) and hmac.compare_digest(self.__value, other.__value)

    __hash__ = None  # type: ignore[assignment]  # a hash of plaintext would be a guessing oracle

    def __repr__(self) -> str:
        return f"SecretValue({REDACTED})"

    def __str__(self) -> str:
        return REDACTED

    def __format__(self, spec: str) -> str:
        return REDACTED

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a SecretValue cannot be pickled or copied")

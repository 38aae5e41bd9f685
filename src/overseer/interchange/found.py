"""What a reader of a format gives: names as they stand in the file, with values; and how it refuses a file.

Guarantee: no message holds a value. A name from a file is shown only as far as it is printable and short.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from overseer.core.errors import InvalidInput, Problem
from overseer.core.secret_value import SecretValue

MAX_FILE_BYTES: Final = 16 * 1024 * 1024
MAX_SHOWN: Final = 100


@dataclass(frozen=True, slots=True)
class Found:
    """One value of a file; ``place`` says where it stood (a service, a path), empty where the name says it all."""

    name: str
    value: SecretValue
    place: str = ""


class Refusals:
    """Gathers what is wrong with the entries of one file, so that all of it is told at once."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def add(self, name: str, rule: str, code: str) -> None:
        """One entry that cannot be taken."""
        self.problems.append(Problem(shown(name), rule, code))

    def stop(self, message: str) -> None:
        """Raise :class:`InvalidInput` with every problem; nothing where there is none."""
        if self.problems:
            raise InvalidInput(message, problems=self.problems)


def shown(name: str) -> str:
    """A name for people."""
    return name[:MAX_SHOWN] if name.isprintable() else ascii(name[:MAX_SHOWN])[1:-1]


def broken(what: str, place: str = "") -> InvalidInput:
    """The error for a file that is not of its format; ``what`` quotes nothing of it."""
    return InvalidInput(f"{place}: {what}", problems=[Problem(place, what, "broken_file")]) if place else InvalidInput(what)


def decoded(data: bytes) -> str:
    """The text of a file, without a byte order mark. Raises :class:`InvalidInput`."""
    if len(data) > MAX_FILE_BYTES:
        raise broken(f"a file to import has at most {MAX_FILE_BYTES} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise broken("the file is not UTF-8 text") from None

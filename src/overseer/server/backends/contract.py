"""What a backend is to Overseer: three questions, asked over connections that the caller opened and bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from overseer.core.backend_references import BackendReference
from overseer.core.secret_value import SecretValue

#: Names that a list gives at most: one more than an import takes, which thereby knows that there are more.
MOST_LISTED: Final = 5001


class Stage(StrEnum):
    """Where it went wrong. The first four are an absence, through which a kept value may help; the others never are."""

    DNS = "dns"
    CONNECT = "connect"
    TIMEOUT = "timeout"
    UNAVAILABLE = "unavailable"
    ADDRESS = "address"
    TLS = "tls"
    REDIRECT = "redirect"
    TOO_LARGE = "too_large"
    ANSWER = "answer"
    AUTH = "auth"
    PERMISSION = "permission"
    PATH = "path"
    FIELD = "field"


ABSENT = frozenset({Stage.DNS, Stage.CONNECT, Stage.TIMEOUT, Stage.UNAVAILABLE})


class BackendFailure(Exception):
    """``why`` tells people what is wrong and what to do; it never holds a credential, a value or what the backend said."""

    def __init__(self, stage: Stage, why: str) -> None:
        super().__init__(why)
        self.stage = stage
        self.why = why


@dataclass(frozen=True, slots=True)
class Key:
    """One setting or credential of a kind of backend; ``default`` is None where it has to be given."""

    name: str
    meaning: str
    default: str | None = None


Fetched = Mapping[BackendReference, SecretValue | BackendFailure]


class Backend(Protocol):
    """One backend, opened: it may keep a session (a token) between calls, never a value."""

    async def check(self) -> None:
        """Raise :class:`BackendFailure` where it cannot be asked as it is set up."""

    async def fetch_many(self, references: Sequence[BackendReference]) -> Fetched:
        """Each reference with its value or its own failure, in one round. Raises where nothing could be asked."""

    async def list(self, folder: str) -> Sequence[str]:
        """What is directly in ``folder``: whole paths, those of folders with a slash at the end. Never values."""

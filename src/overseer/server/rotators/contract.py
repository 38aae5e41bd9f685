"""What changes a credential at its source, in two phases: ``apply`` makes the new one work, ``retire`` ends the old one.

The steps of a run (``services/rotation_steps.py``) are prepare, apply, verify, publish, wait for the consumers, retire;
``revert`` instead of ``retire`` where something went wrong. What every rotator guarantees, and its tests hold:

- each call can be repeated, with the same values, after it was done, or half done: whoever went away in the middle is followed;
- before ``apply`` is called the old credential works, after it the new one, and in between one of them (``both_work``: both);
- ``revert`` brings back the old one whatever was done; ``retire`` never touches the new one;
- an error says which step failed at which kind of source, never a credential, and never what the source said: that may quote one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import SplitResult, urlsplit

from overseer.core.errors import InvalidInput, NotReady, Problem
from overseer.core.secret_value import SecretValue

SECONDS: Final = 10.0
DEFAULT_FIELD: Final = "password"


@dataclass(frozen=True, slots=True)
class Login:
    """A name and its password."""

    username: str
    password: SecretValue


@dataclass(frozen=True, slots=True)
class Change:
    """One run: the values of the secret before and after, and the credential that may change them at the source."""

    run: str
    secret: str
    name: str
    old_version: int
    new_version: int
    old: SecretValue
    new: SecretValue
    admin: SecretValue


class Rotator(Protocol):
    """See the module's text."""

    @property
    def both_work(self) -> bool:
        """Whether old and new credential work at the same time, from ``apply`` until ``retire`` or ``revert``."""

    def compose(self, current: SecretValue, fresh: SecretValue) -> SecretValue:
        """The next value of the secret from its current one and a fresh password. Raises :class:`InvalidInput`."""

    async def apply(self, change: Change) -> None:
        """Make the new credential work. Raises :class:`NotReady`, as all of the following."""

    async def verify(self, change: Change) -> None:
        """Use the new credential as a consumer would."""

    async def retire(self, change: Change) -> None:
        """Make the old credential useless."""

    async def revert(self, change: Change) -> None:
        """Make the old credential work and the new one useless."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a source is and whose password is changed: one user, or two that take turns (``users``).

    ``field``: where the password stands in a value that is a JSON object. ``ca``: PEM text of the only CA to trust.
    """

    url: SplitResult
    users: tuple[str, ...]
    field: str
    ca: str | None

    @property
    def host(self) -> str:
        return self.url.hostname or ""

    def login(self, value: SecretValue) -> Login:
        """The login that a value of the secret is. Raises :class:`InvalidInput` where it is none of these users'."""
        parts = json_object(value)
        if parts is None:
            if len(self.users) != 1:
                raise _wrong(f"with two users the value is a JSON object with username and {self.field}")
            return Login(self.users[0], value)
        password, username = parts.get(self.field), parts.get("username", self.users[0] if len(self.users) == 1 else None)
        if not isinstance(password, str) or username not in self.users:
            raise _wrong(f"the value has no {self.field}, or a username that is not one of the rotator's users")
        return Login(username, SecretValue(password))

    def next_value(self, current: SecretValue, fresh: SecretValue) -> SecretValue:
        """The value with ``fresh`` as the password, of the other user where two take turns; all else stays."""
        login, parts = self.login(current), json_object(current)
        if parts is None:
            return fresh
        others = [user for user in self.users if user != login.username]
        named = {"username": others[0]} if others else {}
        return SecretValue(json.dumps({**parts, **named, self.field: fresh.reveal().decode("ascii")}))


def read_target(fields: Mapping[str, Any], schemes: Sequence[str], most_users: int = 2) -> Target:
    """The target that a rotator's fields describe. Raises :class:`InvalidInput` with the rule, never a field's content."""
    url, users, field, ca = (fields.get(name) for name in ("url", "users", "field", "ca"))
    try:
        parts = urlsplit(url) if isinstance(url, str) else urlsplit("")
        port_fits = parts.port is None or parts.port > 0
    except ValueError:
        parts, port_fits = urlsplit(""), False
    if parts.scheme not in schemes or not parts.hostname or not port_fits or parts.username or parts.password or parts.fragment:
        begins = " or ".join(f"{one}://" for one in schemes)
        raise _wrong(f"url begins with {begins}, names a host and holds no credential", "url")
    given = users if isinstance(users, list) else []
    names = all(isinstance(one, str) and 0 < len(one) <= 100 and one.isprintable() for one in given)
    if not names or len(set(given)) != len(given) or not min(1, most_users) <= len(given) <= most_users:
        raise _wrong("users is a list of one user, or of two that take turns", "users")
    if not isinstance(field, str | None) or not isinstance(ca, str | None) or (ca and "BEGIN CERTIFICATE" not in ca):
        raise _wrong("field is text, ca a certificate in PEM", "field")
    return Target(parts, tuple(given), field or DEFAULT_FIELD, ca or None)


def admin_login(change: Change, fields: Mapping[str, Any]) -> Login:
    """The login of the administrator: a JSON object with username and password, or a password of ``admin_user``.

    Raises :class:`InvalidInput`.
    """
    parts, user = json_object(change.admin), fields.get("admin_user")
    if parts is not None and isinstance(parts.get("username"), str) and isinstance(parts.get("password"), str):
        return Login(parts["username"], SecretValue(parts["password"]))
    if parts is None and isinstance(user, str):
        return Login(user, change.admin)
    raise _wrong("the administrator's credential is a JSON object with username and password, or a password beside admin_user")


def json_object(value: SecretValue) -> dict[str, Any] | None:
    """The JSON object that a value is, None where it is none."""
    try:
        parts = json.loads(value.reveal())
    except (ValueError, RecursionError):
        return None
    return parts if isinstance(parts, dict) else None


def failed(kind: str, step: str, why: str = "it does not answer as it should") -> NotReady:
    """A step that may be tried again."""
    return NotReady(f"{kind}, {step}: {why}", retry_after=5)


def _wrong(rule: str, field: str = "value") -> InvalidInput:
    return InvalidInput(rule, problems=[Problem(f"body.rotator.{field}", rule, "bad_rotator")])

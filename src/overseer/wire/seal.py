"""Seal status, unsealing and health."""

from __future__ import annotations

from overseer.wire.messages import Answer, Request


class SealStatus(Answer, frozen=True):
    """``kind``: file, env or passphrase."""

    sealed: bool
    kind: str
    initialised: bool


class Unseal(Request, frozen=True):
    """For the passphrase seal."""

    passphrase: str


class Health(Answer, frozen=True):
    """``status``: ok, sealed, or unavailable; ``checks`` a word per part."""

    status: str
    checks: dict[str, str] = {}

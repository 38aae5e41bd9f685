"""Seal status, unsealing and health."""

from __future__ import annotations

from datetime import datetime

from overseer.wire.messages import Answer, Request


class ShareProgress(Answer, frozen=True):
    """How many different shares were given of the ``threshold`` that open the seal, of ``count`` that exist."""

    given: int
    threshold: int
    count: int


class SealStatus(Answer, frozen=True):
    """``kind``: file, env, passphrase, shamir, awskms or vault-transit; ``setting`` is the kind that this server is configured
    for, another one after a change of the seal; ``since``: when this process was sealed or opened; ``progress``: while a
    seal by shares waits for them."""

    sealed: bool
    kind: str
    initialised: bool
    setting: str = ""
    since: datetime | None = None
    progress: ShareProgress | None = None


class Unseal(Request, frozen=True):
    """``passphrase`` for the passphrase seal; one ``share`` for the shamir seal, with ``anew`` as the first of a new start."""

    passphrase: str | None = None
    share: str | None = None
    anew: bool = False


class Health(Answer, frozen=True):
    """``status``: ok, sealed, or unavailable; ``checks`` a word per part."""

    status: str
    checks: dict[str, str] = {}

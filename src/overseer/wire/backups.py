"""Backups that the server made, was asked for, or failed to make. Never their content."""

from __future__ import annotations

from datetime import datetime

from overseer.wire.messages import Answer, Request


class BackupCreate(Request, frozen=True):
    """``target``: the NAME of a table [backup.NAME] of the server's configuration."""

    target: str


class BackupTargetView(Answer, frozen=True):
    """A table [backup.NAME] of the configuration of the server that answers. Never a passphrase.

    ``recipients``: age public keys that can open its backups; none where a passphrase does. ``schedule``: cron, UTC; None where
    backups are made when they are asked for alone. ``next_at``: when it comes round next. All three ``keep_…`` 0: all stay.
    """

    name: str
    to: str
    recipients: list[str]
    schedule: str | None
    next_at: datetime | None
    keep_last: int
    keep_daily: int
    keep_weekly: int


class BackupView(Answer, frozen=True):
    """One backup. ``target`` is '' where the command line made it on the server's machine. ``reason``: asked, schedule, local.

    ``state``: waiting (for the leader), running, succeeded, failed. ``error`` is the code of a failure, with a colon and
    what it says where that is known, ``size`` in bytes, ``rows`` of all tables, ``log_size`` how many audit rows were sealed
    then. ``removed_at``: retention took its file.
    """

    id: str
    target: str
    reason: str
    state: str
    file: str
    size: int | None
    rows: int | None
    log_size: int | None
    error: str
    asked_by: str | None
    asked_at: datetime
    finished_at: datetime | None
    removed_at: datetime | None

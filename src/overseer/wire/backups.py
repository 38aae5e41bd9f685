"""Backups that the server made, was asked for, or failed to make. Never their content."""

from __future__ import annotations

from datetime import datetime

from overseer.wire.messages import Answer, Request


class BackupCreate(Request, frozen=True):
    """``target``: the NAME of a table [backup.NAME] of the server's configuration."""

    target: str


class BackupView(Answer, frozen=True):
    """One backup. ``target`` is '' where the command line made it on the server's machine. ``reason``: asked, schedule, local.

    ``state``: waiting (for the leader), running, succeeded, failed. ``error`` is the code of a failure, ``size`` in bytes,
    ``rows`` of all tables, ``log_size`` how many audit rows were sealed then. ``removed_at``: retention took its file.
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

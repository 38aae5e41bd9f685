"""The state of the keyring, never a key; rotation and verification."""

from __future__ import annotations

from datetime import datetime

from overseer.wire.messages import Answer, Request


class KeyView(Answer, frozen=True):
    """One key. ``encryptions_reserved`` counts a key-encryption key's uses, in blocks of 2^20; others do not encrypt.

    ``rows`` is how much is still wrapped by an old term of the key-encryption key; None for every other key.
    """

    purpose: str
    term: int
    created_at: datetime
    encryptions_reserved: int
    rows: int | None = None


class RotationView(Answer, frozen=True):
    """A rotation of the key-encryption key to ``term``. ``reason``: asked, age, count, or found (rows under old terms were left).

    ``state``: running or finished. ``rewrapped`` data keys went to the new term so far, ``remaining`` rows are under older ones;
    ``unreadable`` of them do not open: `overseer key verify` names them.
    """

    id: str
    term: int
    reason: str
    state: str
    rewrapped: int
    remaining: int
    unreadable: int
    started_by: str | None
    started_at: datetime
    finished_at: datetime | None


class KeyringView(Answer, frozen=True):
    """``newest_term`` of the key-encryption keys encrypts. ``rotation_due``: it is replaced within seconds, because it is older
    than ``rotation_due_at`` or has ``encryptions_allowed`` behind it. ``rotation``: the last one, running or not."""

    keys: list[KeyView]
    newest_term: int
    rotation_due: bool
    rotation_due_at: datetime | None = None
    encryptions_allowed: int = 1 << 31
    rotation: RotationView | None = None


class KeyVerify(Request, frozen=True):
    """Open the next rows: those after ``cursor``, the first ones without it."""

    cursor: str | None = None


class UnreadableRow(Answer, frozen=True):
    """A row that does not open. ``kind`` is its table, ``id`` its row; ``secret_id`` and the like stand in ``what``.

    ``code``: changed (a byte, or the row was moved), unknown_term, unknown_format, or keyring (the stored keyring itself).
    """

    kind: str
    id: str | None
    what: str
    code: str


class KeyVerification(Answer, frozen=True):
    """A part of a verification: ``checked`` rows were opened, ``unreadable`` of them did not; ``next_cursor`` None at the end."""

    checked: int
    unreadable: list[UnreadableRow]
    next_cursor: str | None

"""The transparency log: checkpoints, its keys, proofs, canonical rows, and how it stands. Bytes are standard base64."""

from __future__ import annotations

from datetime import datetime

from overseer.wire.messages import Answer


class CheckpointView(Answer, frozen=True):
    """A signed head of the log. ``note`` is the whole (C2SP tlog-checkpoint): keep it elsewhere; the rest repeats it."""

    size: int
    root: str
    seq: int
    incarnation: int
    horizon: int
    timeline: int
    at: datetime
    key_term: int
    note: str


class LogKeyView(Answer, frozen=True):
    """A key that signs checkpoints larger than ``since_size``. ``statement`` introduces it, signed by the key before, too."""

    term: int
    verifier_key: str
    since_size: int
    statement: str | None


class LogKeysView(Answer, frozen=True):
    """The log's name and keys. Rows before ``first`` were removed on purpose: ``retention`` is the signed statement of it, and
    ``frontier`` what a tree of that size is continued from."""

    origin: str
    keys: list[LogKeyView]
    first: int
    frontier: str
    retention: str | None


class InclusionProof(Answer, frozen=True):
    """That the row ``record`` (its canonical bytes) stands at ``index`` of the log of ``checkpoint`` (RFC 9162 section 2.1.3)."""

    row: str
    index: int
    size: int
    record: str
    leaf: str
    hashes: list[str]
    checkpoint: str


class ConsistencyProof(Answer, frozen=True):
    """That the log of ``old_size`` rows is the beginning of the one of ``new_size`` (RFC 9162 section 2.1.4)."""

    old_size: int
    new_size: int
    hashes: list[str]
    old_checkpoint: str
    new_checkpoint: str


class RecordsView(Answer, frozen=True):
    """Sealed rows from ``first`` on as canonical bytes, with the leaf hashes that were stored when they were sealed, joined, and
    the checkpoints among them. ``size`` is how many rows are sealed."""

    first: int
    size: int
    records: list[str]
    leaves: str
    checkpoints: list[str]


class SelfCheckView(Answer, frozen=True):
    """The server's own comparison of rows with the log; it runs all the time, a part at a time, from the beginning again."""

    started_at: datetime
    finished_at: datetime | None
    checked_size: int
    next_index: int
    problems: list[str]


class IntegrityView(Answer, frozen=True):
    """``state``: ``ok``; ``new`` (nothing is sealed yet); ``behind`` (a row has waited for over five seconds to be sealed);
    ``broken`` (the self-check found a difference, or the newest checkpoint does not verify)."""

    state: str
    checkpoint: CheckpointView | None
    unsealed_rows: int
    unsealed_seconds: float
    waits_for: list[str]
    self_check: SelfCheckView | None

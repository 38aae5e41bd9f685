"""Signed tree heads of the audit log (C2SP tlog-checkpoint), and what else its key signs: its successor, and retention.

A checkpoint says: at this size the log had this root. Its extension lines say how it came about: the sequence number, the
incarnation and the *horizon* (every transaction below it was over, so no row can come before the last one that is counted), the
server's timeline and the time. Whoever keeps one elsewhere can prove later that the log was rewritten or cut.

A new key is introduced by a note that both the old key and the new one sign. It names the size from which on the new key signs,
so the old key, should it leak, cannot sign a longer log; who trusts the old key follows the chain to the newest.

Evolution rule: ``tests/vectors/audit-log-v1.json`` must verify forever. Further extension lines may be appended; readers take
the ones they know by their first word. Another meaning of a line gets another word.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from overseer.core.errors import InvalidInput
from overseer.crypto.merkle_log import HASH_BYTES
from overseer.crypto.signatures import SigningKey
from overseer.crypto.signed_notes import VerifierKey, is_signed_by, join_note, line_of, signature_line, split_note

_ROTATION: Final = "overseer/audit-key-rotation/v1"
_RETENTION: Final = "overseer/audit-retention/v1"
_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,18}")
_NUMBERS: Final = ("seq", "incarnation", "horizon", "timeline")
_ORIGIN: Final = re.compile(r"overseer/[0-9a-f-]{36}")  # no label of another kind of note can be one
_NO_CHECKPOINT: Final = "this is no checkpoint of an Overseer audit log"
_NO_RETENTION: Final = "this is no statement about rows that were removed from an Overseer audit log"
_NO_ROTATION: Final = "this is no statement that replaces the key of an Overseer audit log"


def log_origin(instance_id: UUID) -> str:
    """The name of an instance's log and of the keys that sign it."""
    return f"overseer/{instance_id}"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The tree head; ``root`` has 32 bytes, ``at`` is UTC to the microsecond."""

    origin: str
    size: int
    root: bytes
    seq: int
    incarnation: int
    horizon: int
    timeline: int
    at: datetime

    def text(self) -> str:
        """What is signed."""
        return (
            f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"
            f"seq {self.seq}\nincarnation {self.incarnation}\nhorizon {self.horizon}\ntimeline {self.timeline}\n"
            f"time {self.at.astimezone(UTC).isoformat(timespec='microseconds')}\n"
        )

    def sign(self, key: SigningKey) -> bytes:
        """The signature: 64 bytes over :meth:`text`."""
        return key.sign(self.text().encode())

    def note(self, public: bytes, signature: bytes) -> str:
        """The signed note, for a signature that :meth:`sign` made."""
        return join_note(self.text(), [line_of(VerifierKey(self.origin, public), signature)])

    @classmethod
    def parse(cls, note: str) -> Checkpoint:
        """The checkpoint of a note, whoever signed it. Raises :class:`InvalidInput`."""
        lines = split_note(note)[0].split("\n")[:-1]
        fields = dict(line.partition(" ")[::2] for line in reversed(lines[3:]))  # the first line of a word counts
        try:
            origin, size, root = lines[:3]
            seq, incarnation, horizon, timeline = (_number(fields[word]) for word in _NUMBERS)
            at = datetime.fromisoformat(fields["time"])
            root_hash = base64.b64decode(root, validate=True)
            found = cls(origin, _number(size), root_hash, seq, incarnation, horizon, timeline, at)
        except (ValueError, KeyError, binascii.Error):
            raise InvalidInput(_NO_CHECKPOINT) from None
        if len(found.root) != HASH_BYTES or at.tzinfo is None or not _ORIGIN.fullmatch(origin):
            raise InvalidInput(_NO_CHECKPOINT)
        return found


@dataclass(frozen=True, slots=True)
class LogKey:
    """A key that signs checkpoints: from ``since_size`` on (a checkpoint larger than that, or the first one). ``since_root`` is
    the log's there, as the statement that introduces the key says (b"": the first key has none)."""

    term: int
    key: VerifierKey
    since_size: int = 0
    since_root: bytes = b""


def introduce_key(origin: str, size: int, root: bytes, old: SigningKey, new: SigningKey) -> str:
    """The statement that ``new`` signs what grows beyond ``size``; ``root`` is the log's there. Signed by both keys."""
    keys = [VerifierKey(origin, key.public) for key in (old, new)]
    text = f"{_ROTATION}\n{origin}\n{size}\n{base64.b64encode(root).decode()}\n{keys[0]}\n{keys[1]}\n"
    return join_note(text, [signature_line(origin, old, text), signature_line(origin, new, text)])


@dataclass(frozen=True, slots=True)
class Introduction:
    """What such a statement says."""

    size: int
    root: bytes
    old: VerifierKey
    new: VerifierKey

    @classmethod
    def parse(cls, note: str) -> Introduction:
        """Raises :class:`InvalidInput` for anything that is not signed by both of its keys."""
        lines = split_note(note)[0].split("\n")[:-1]
        try:
            label, origin, size, root, old, new = lines
            found = cls(_number(size), base64.b64decode(root, validate=True), VerifierKey.parse(old), VerifierKey.parse(new))
        except (ValueError, binascii.Error):
            raise InvalidInput(_NO_ROTATION) from None
        names = {origin, found.old.name, found.new.name}
        if label != _ROTATION or len(names) > 1 or not (is_signed_by(note, found.old) and is_signed_by(note, found.new)):
            raise InvalidInput(_NO_ROTATION)
        return found


def retire_rows(origin: str, size: int, root: bytes, key: SigningKey) -> str:
    """The statement that the rows before ``size``, where the log's root was ``root``, were removed on purpose (retention)."""
    text = f"{_RETENTION}\n{origin}\n{size}\n{base64.b64encode(root).decode()}\n"
    return join_note(text, [signature_line(origin, key, text)])


def retired_size(statement: str, chain: Sequence[LogKey]) -> tuple[int, bytes]:
    """Size and root of such a statement. Raises :class:`InvalidInput` where no key of the chain has signed it.

    A key that was replaced speaks of what it signed and of nothing later: should it leak, it cannot say that the rest may go.
    """
    try:
        label, origin, size, root = split_note(statement)[0].split("\n")[:-1]
        found = _number(size), base64.b64decode(root, validate=True)
    except (ValueError, binascii.Error):
        raise InvalidInput(_NO_RETENTION) from None
    ends = [key.since_size for key in chain[1:]] + [found[0]]
    signers = [key.key for key, end in zip(chain, ends, strict=True) if key.key.name == origin and found[0] <= end]
    if label != _RETENTION or not any(is_signed_by(statement, key) for key in signers):
        raise InvalidInput(_NO_RETENTION)
    return found


def key_chain(first: VerifierKey, statements: Sequence[str]) -> list[LogKey]:
    """The keys of a log from ``first`` on. Raises :class:`InvalidInput` where a statement does not follow from the one before."""
    chain = [LogKey(1, first)]
    for statement in statements:
        introduced = Introduction.parse(statement)
        last = chain[-1]
        if introduced.old != last.key or introduced.size < last.since_size:
            raise InvalidInput("the statements about the log's keys do not follow from each other")
        chain.append(LogKey(last.term + 1, introduced.new, introduced.size, introduced.root))
    return chain


def signer_of(note: str, chain: Sequence[LogKey]) -> LogKey | None:
    """The key of the chain that signed the checkpoint and was to sign at its size; None where there is none."""
    size = Checkpoint.parse(note).size
    for place, key in enumerate(chain):
        until = chain[place + 1].since_size if place + 1 < len(chain) else None
        begun = size > key.since_size or place == 0
        if begun and (until is None or size <= until) and is_signed_by(note, key.key):
            return key
    return None


def _number(text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise ValueError(text)
    return int(text)

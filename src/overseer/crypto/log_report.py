"""What a verification found, whether it read an export or a database."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from overseer.core.audit_record import record_key
from overseer.core.errors import InvalidInput
from overseer.crypto.checkpoints import Checkpoint, LogKey, key_chain, retired_size
from overseer.crypto.log_verification import Finding, LogCheck, check_origin
from overseer.crypto.merkle_log import Frontier
from overseer.crypto.signed_notes import VerifierKey


@dataclass(frozen=True, slots=True)
class Trust:
    """What whoever verifies kept elsewhere: the log's public key (the first, or any later one), and checkpoints."""

    key: VerifierKey | None = None
    checkpoints: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LogHead:
    """What a log says of itself: its name, its keys with the statements that introduce them (None for the first), how many rows
    at its beginning were removed on purpose (with the signed statement), and the right edge of the tree at that size."""

    origin: str
    keys: tuple[tuple[str, str | None], ...]
    first: int = 0
    frontier: bytes = b""
    retention: str | None = None


@dataclass(frozen=True, slots=True)
class LogReport:
    """``sealed`` rows make up the log from index ``first`` on; ``keys`` has the ids of rows that findings begin and end with,
    by their place among the rows read."""

    origin: str
    first: int
    sealed: int
    unsealed: int
    checkpoints: int
    newest: Checkpoint | None
    findings: tuple[Finding, ...]
    keys: dict[int, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def verified(self) -> bool:
        return not self.findings


def prepared(head: LogHead, trust: Trust) -> tuple[Callable[[Sequence[str]], LogCheck], tuple[str, ...]]:
    """A maker of checks that takes the log's own checkpoints, and warnings about what was not given.

    Raises :class:`InvalidInput` where keys, checkpoints or the statement about removed rows do not belong to each other.
    """
    chain = _chain(head, trust.key)
    check_origin(trust.checkpoints, head.origin)
    warnings = []
    if trust.key is None:
        warnings.append("the public key is the one that lies beside the rows: who can rewrite both is not found. Give --key")
    if not trust.checkpoints:
        warnings.append("no checkpoint was given: that the end was not cut off is not shown. Give --checkpoint")
    base = Frontier()
    if head.first:
        if head.retention is None or retired_size(head.retention, chain) != (head.first, _root(head)):
            raise InvalidInput("the log begins in the middle, and no signed statement says that its beginning was removed")
        base = Frontier.parse(head.first, head.frontier)
        if any(Checkpoint.parse(note).size < head.first for note in trust.checkpoints):
            warnings.append("a checkpoint that was given counts only rows that were removed on purpose: it shows nothing")

    def check(stops: Sequence[str]) -> LogCheck:
        return LogCheck(chain, stops, trust.checkpoints, head.first, base.copy())

    return check, tuple(warnings)


def keys_of(findings: Sequence[Finding], record_at: Callable[[int], bytes]) -> dict[int, str]:
    """The ids of the rows that findings speak of, by their place among the rows read."""
    keys = {}
    for one in findings:
        if one.found is not None:
            for place in {one.found, one.found + one.count - 1}:
                try:
                    keys[place] = "{}.{}.{}".format(*record_key(record_at(place)))
                except ValueError:
                    keys[place] = "no audit row"
    return keys


def _chain(head: LogHead, trusted: VerifierKey | None) -> list[LogKey]:
    first, *later = head.keys or [("", None)]
    chain = key_chain(VerifierKey.parse(first[0]), [statement or "" for _, statement in later])
    if [str(one.key) for one in chain] != [text for text, _ in head.keys] or any(one.key.name != head.origin for one in chain):
        raise InvalidInput("the log's keys are not those that its statements introduce")
    if trusted is not None and trusted not in [one.key for one in chain]:
        raise InvalidInput(
            f"the log is not signed by the key that was given, nor by one that it introduced ({trusted.name}): it is "
            "another log, or its keys were replaced"
        )
    return chain


def _root(head: LogHead) -> bytes:
    try:
        return Frontier.parse(head.first, head.frontier).root()
    except ValueError:
        raise InvalidInput("the right edge of the tree at the log's beginning is damaged") from None

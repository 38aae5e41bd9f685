"""Whether rows are the log that was signed, and where they are not.

:class:`LogCheck` takes leaf hashes in order, as they are read, and compares the tree with every checkpoint on its way: nothing
is kept but the right edge. Only where something differs, :func:`diagnose` compares the leaves themselves with the leaf hashes
that were stored when they were sealed, and says which rows were changed, taken out, put in, moved or cut off.

What it cannot find: rows cut off together with every checkpoint that counted them, where no checkpoint is kept elsewhere; and
what was forged before it was sealed.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from overseer.core.errors import InvalidInput
from overseer.crypto.checkpoints import Checkpoint, LogKey, signer_of
from overseer.crypto.merkle_log import Frontier

#: Findings of one kind side by side are one; more than this many are not listed.
MOST_FINDINGS: Final = 1000


@dataclass(frozen=True, slots=True)
class Finding:
    """Rows ``index`` to ``index`` + ``count`` - 1 of the log. ``kind`` is changed, removed, inserted, moved, truncated,
    unsigned, rewritten or impossible; ``found`` says where among the rows that were read, from 0."""

    kind: str
    index: int
    count: int = 1
    found: int | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class _Stop:
    """What was signed about the log at a size: a checkpoint with its ``note``, or the statement that introduces a key."""

    size: int
    root: bytes
    words: str
    note: str = ""
    checkpoint: Checkpoint | None = None
    kept: bool = False

    @classmethod
    def of(cls, note: str, *, kept: bool = False) -> _Stop:
        found = Checkpoint.parse(note)
        words = "a checkpoint that was kept elsewhere" if kept else "a checkpoint"
        return cls(found.size, found.root, words, note, found, kept)

    @classmethod
    def introducing(cls, key: LogKey) -> _Stop:
        return cls(key.since_size, key.since_root, f"the statement that introduces the log's key {key.term}")


@dataclass
class LogCheck:
    """One reading of a log. ``first`` and ``frontier`` where its beginning was removed on purpose or is not in the export.

    ``stops`` are the log's own checkpoints, ``kept`` those kept elsewhere, in any order; all have to hold. One that comes with
    the rows is given to :meth:`head`. What the statements about the keys of ``chain`` say of the log has to hold as well: it is
    signed by a key that the one before it, should that leak, cannot go behind.
    """

    chain: Sequence[LogKey]
    stops: Iterable[str] = ()
    kept: Iterable[str] = ()
    first: int = 0
    frontier: Frontier = field(default_factory=Frontier)
    findings: list[Finding] = field(default_factory=list)
    newest: Checkpoint | None = None
    checkpoints: int = 0

    def __post_init__(self) -> None:
        stops = [_Stop.of(note) for note in self.stops] + [_Stop.of(note, kept=True) for note in self.kept]
        stops += [_Stop.introducing(key) for key in self.chain[1:]]
        self._stops = sorted(stops, key=lambda one: (one.size, one.kept), reverse=True)
        self._good = self._kept_good = self.first
        self._last: Checkpoint | None = None
        while self._stops and self._stops[-1].size < self.first:
            self._stops.pop()  # what came before is not there to be compared
        self._pass_stops()

    @property
    def size(self) -> int:
        """Leaves so far, those before ``first`` included."""
        return self.frontier.size

    @property
    def good_size(self) -> int:
        """The size of the largest checkpoint before anything differed."""
        return self._good

    def feed(self, leaves: Sequence[bytes]) -> None:
        """The next leaf hashes."""
        position = 0
        while self._stops and self._stops[-1].size - self.size <= len(leaves) - position:
            end = position + self._stops[-1].size - self.size
            self.frontier.extend(leaves[position:end])
            position = end
            self._pass_stops()
        self.frontier.extend(leaves[position:] if position else leaves)

    def head(self, note: str) -> None:
        """A checkpoint that stands at this place. Raises :class:`InvalidInput` for what is no checkpoint."""
        self._compare(_Stop.of(note))

    def finish(self) -> None:
        """After the last leaf: what was signed about a larger log shows that it was cut."""
        for stop in reversed(self._stops):
            self._compare(stop)
        self._stops = []

    def _pass_stops(self) -> None:
        while self._stops and self._stops[-1].size == self.size:
            self._compare(self._stops.pop())

    def _compare(self, stop: _Stop) -> None:
        start = self._kept_good if stop.kept else self._good
        if stop.checkpoint is not None:
            self.checkpoints += 1
            if signer_of(stop.note, self.chain) is None:
                self._find("unsigned", stop, start, f"{stop.words} is not signed by the log's key")
                return
        if stop.size > self.size:
            self._find("truncated", stop, self.size, f"{stop.words} counts {stop.size} rows, {self.size} are there")
        elif stop.size != self.size or stop.root != self.frontier.root():
            self._find("rewritten", stop, start, f"the rows do not have the root that {stop.words} says")
        else:
            self._good = max(self._good, stop.size)
            self._kept_good = max(self._kept_good, stop.size) if stop.kept else self._kept_good
        if stop.checkpoint is not None:
            self._remember(stop, stop.checkpoint, start)

    def _remember(self, stop: _Stop, checkpoint: Checkpoint, start: int) -> None:
        """Compare a checkpoint with the one before it."""
        if not stop.kept:
            if self._last is not None and not _follows(self._last, checkpoint):
                self._find("unsigned", stop, start, "checkpoints contradict each other")
            self._last = checkpoint
        if self.newest is None or checkpoint.size > self.newest.size:
            self.newest = checkpoint

    def _find(self, kind: str, stop: _Stop, start: int, detail: str) -> None:
        start = min(start, stop.size)
        if len(self.findings) < MOST_FINDINGS:
            self.findings.append(Finding(kind, start, max(1, stop.size - start), None, detail))


def _follows(earlier: Checkpoint, later: Checkpoint) -> bool:
    """Whether one log can have had both heads, by what they say beside the root."""
    if earlier.size == later.size:
        return earlier.root == later.root
    places = [(one.seq, one.size, (one.incarnation, one.horizon)) for one in (earlier, later)]
    return all(a < b for a, b in zip(*places, strict=True))


def locate(expected: Sequence[bytes], found: Sequence[bytes], first: int = 0) -> list[Finding]:
    """How ``found`` leaves differ from those that were ``expected``; both begin at index ``first`` of the log."""
    start = 0
    while start < min(len(expected), len(found)) and expected[start] == found[start]:
        start += 1
    end = 0
    while end < min(len(expected), len(found)) - start and expected[-1 - end] == found[-1 - end]:
        end += 1
    wanted, seen = expected[start : len(expected) - end], found[start : len(found) - end]
    places = {leaf: place for place, leaf in enumerate(wanted)}
    matched = [places.pop(leaf, None) for leaf in seen]  # a second copy of a row matches nothing
    kept = _longest_rise([place for place in matched if place is not None])
    findings = _gaps(matched, kept, len(wanted))
    at_end = start + len(wanted) == len(expected)
    shifted = [
        Finding(
            "truncated" if one.kind == "removed" and at_end and one.index + one.count == len(wanted) else one.kind,
            one.index + start + first,
            one.count,
            None if one.found is None else one.found + start,
        )
        for one in findings
    ]
    return shifted[:MOST_FINDINGS]


def _gaps(matched: Sequence[int | None], kept: set[int], wanted: int) -> list[Finding]:
    """Findings between the rows that stayed in order: a row in the place of another was changed."""
    moved = {place for place in matched if place is not None} - kept
    findings: list[Finding] = []
    extra: list[int] = []
    next_wanted = 0

    def close(until: int) -> None:
        missing = [place for place in range(next_wanted, until) if place not in moved]
        for place, at in zip(missing, extra, strict=False):
            _add(findings, "changed", place, at)
        for place in missing[len(extra) :]:
            _add(findings, "removed", place, None)
        for at in extra[len(missing) :]:
            _add(findings, "inserted", until, at)
        extra.clear()

    for at, place in enumerate(matched):
        if place is None:
            extra.append(at)
        elif place in moved:
            _add(findings, "moved", place, at)
        else:
            close(place)
            next_wanted = place + 1
    close(wanted)
    return findings


def _add(findings: list[Finding], kind: str, index: int, found: int | None) -> None:
    last = findings[-1] if findings else None
    if last is not None and last.kind == kind:
        beside = last.index + (0 if kind == "inserted" else last.count) == index
        next_found = found is None or (last.found is not None and last.found + last.count == found)
        if beside and next_found:
            findings[-1] = Finding(kind, last.index, last.count + 1, last.found)
            return
    findings.append(Finding(kind, index, 1, found))


def _longest_rise(places: Sequence[int]) -> set[int]:
    """The members of a longest rising subsequence of distinct numbers."""
    tails: list[int] = []
    ends: list[int] = []  # positions in places of those tails
    before: list[int] = [-1] * len(places)
    for position, place in enumerate(places):
        length = bisect_left(tails, place)
        before[position] = ends[length - 1] if length else -1
        if length == len(tails):
            tails.append(place)
            ends.append(position)
        else:
            tails[length], ends[length] = place, position
    kept = set()
    position = ends[-1] if ends else -1
    while position >= 0:
        kept.add(places[position])
        position = before[position]
    return kept


def diagnose(check: LogCheck, again: Callable[[], LogCheck], expected: Sequence[bytes], found: Sequence[bytes]) -> list[Finding]:
    """What is wrong with ``found``, the leaves that ``check`` was not content with.

    ``expected`` are the leaf hashes that were stored at sealing. They lie where the rows lie, so they are believed as far as
    signed checkpoints confirm them (``again`` gives a new check); beyond that, checkpoints only say between which sizes.
    """
    stored = again()
    stored.feed(expected)
    stored.finish()
    findings = locate(expected[: stored.good_size - check.first], found, check.first)
    broken = [one for one in stored.findings if one.kind in ("rewritten", "truncated")]
    if broken and findings and findings[-1].kind == "inserted":
        last = findings[-1]
        if last.found is not None and last.found + last.count == len(found):
            findings.pop()  # rows beyond what the stored hashes can tell
    rewritten = [one for one in broken if one.kind == "rewritten"][:1]
    truncated = [one for one in broken if one.kind == "truncated"][-1:]
    return [*findings, *rewritten, *truncated, *(one for one in check.findings if one.kind == "unsigned")]


def check_origin(notes: Iterable[str], origin: str) -> None:
    """Raises :class:`InvalidInput` where one of the checkpoints is of another log."""
    for note in notes:
        if Checkpoint.parse(note).origin != origin:
            raise InvalidInput(f"the checkpoint is of another log than {origin}: compare logs with checkpoints of their own")

"""Every way to tamper with a list of rows is found and located."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overseer.core.errors import InvalidInput
from overseer.crypto.checkpoints import Checkpoint, LogKey, introduce_key, key_chain, log_origin
from overseer.crypto.log_verification import Finding, LogCheck, check_origin, diagnose, locate
from overseer.crypto.merkle_log import Frontier, leaf_hash
from overseer.crypto.signatures import SigningKey
from overseer.crypto.signed_notes import VerifierKey

ORIGIN = log_origin(UUID(int=7))
KEY, OTHER = SigningKey(bytes([1]) * 32), SigningKey(bytes([2]) * 32)
CHAIN = key_chain(VerifierKey(ORIGIN, KEY.public), [])
LEAVES = [leaf_hash(bytes([n % 256, n // 256])) for n in range(700)]
NEW = leaf_hash(b"forged")


def head(size: int, leaves: list[bytes] = LEAVES, key: SigningKey = KEY, seq: int | None = None) -> str:
    tree = Frontier()
    tree.extend(leaves[:size])
    seq = size if seq is None else seq
    checkpoint = Checkpoint(ORIGIN, size, tree.root(), seq, 1, 700 + size, 1, datetime(2030, 1, 1, tzinfo=UTC))
    return checkpoint.note(key.public, checkpoint.sign(key))


HEADS = [head(size) for size in (3, 250, 256, 300, 512, 690, 700)]


def checked(leaves: list[bytes], heads: list[str] = HEADS, step: int = 100, kept: tuple[str, ...] = ()) -> LogCheck:
    check = LogCheck(CHAIN, heads, kept)
    for start in range(0, len(leaves), step):
        check.feed(leaves[start : start + step])
    check.finish()
    return check


def found_in(
    leaves: list[bytes], expected: list[bytes] = LEAVES, heads: list[str] = HEADS, kept: tuple[str, ...] = ()
) -> list[Finding]:
    """The findings without their words."""
    check = checked(leaves, heads, kept=kept)
    assert check.findings
    found = diagnose(check, lambda: LogCheck(CHAIN, heads, kept), expected, leaves)
    return [replace(one, detail="") for one in found]


@pytest.mark.parametrize("step", [1, 7, 256, 1000])
def test_the_log_that_was_signed(step: int) -> None:
    check = checked(LEAVES, step=step)
    assert (check.findings, check.size, check.good_size, check.checkpoints) == ([], 700, 700, 7)
    assert check.newest is not None
    assert check.newest.size == 700


@pytest.mark.parametrize(
    ("leaves", "findings"),
    [
        ([*LEAVES[:5], NEW, *LEAVES[6:]], [Finding("changed", 5, 1, 5)]),
        ([*LEAVES[:5], *LEAVES[6:]], [Finding("removed", 5)]),
        ([*LEAVES[:5], *LEAVES[9:]], [Finding("removed", 5, 4)]),
        ([*LEAVES[:5], NEW, *LEAVES[5:]], [Finding("inserted", 5, 1, 5)]),
        ([NEW, *LEAVES], [Finding("inserted", 0, 1, 0)]),
        ([*LEAVES[:5], LEAVES[6], LEAVES[5], *LEAVES[7:]], [Finding("moved", 6, 1, 5)]),
        ([*LEAVES[:5], LEAVES[4], *LEAVES[5:]], [Finding("inserted", 5, 1, 5)]),
        (LEAVES[:650], [Finding("truncated", 650, 50)]),
        ([], [Finding("truncated", 0, 700)]),
        (LEAVES[4:], [Finding("removed", 0, 4)]),
        ([NEW, *LEAVES[1:600], *LEAVES[601:]], [Finding("changed", 0, 1, 0), Finding("removed", 600)]),
    ],
)
def test_tampering_is_located(leaves: list[bytes], findings: list[Finding]) -> None:
    assert found_in(leaves) == findings


def test_what_follows_the_newest_checkpoint_is_no_matter_of_it() -> None:
    check = checked([*LEAVES, NEW])
    assert (check.findings, check.good_size, check.size) == ([], 700, 701)


def test_without_the_stored_hashes_checkpoints_say_between_what() -> None:
    changed = [*LEAVES[:400], NEW, *LEAVES[401:]]
    [finding] = found_in(changed, expected=changed)
    assert (finding.kind, finding.index, finding.count) == ("rewritten", 300, 212)
    [finding] = found_in(changed, expected=[])
    assert (finding.kind, finding.index) == ("truncated", 0)
    early = [NEW, *changed[1:]]
    assert found_in(early, expected=changed)[0] == Finding("changed", 0, 1, 0)


def test_a_checkpoint_kept_elsewhere_shows_a_cut_and_a_new_history() -> None:
    cut = LEAVES[:512]
    heads = [head(size) for size in (3, 250, 256, 300, 512)]
    assert checked(cut, heads).findings == []
    assert found_in(cut, cut, heads, (head(700),)) == [Finding("truncated", 512, 188)]
    other = [*LEAVES[:600], NEW, *LEAVES[601:]]
    rewritten = [head(size, other) for size in (3, 512, 690, 700)]
    assert checked(other, rewritten).findings == []
    assert found_in(other, other, rewritten, (head(250), head(700))) == [Finding("rewritten", 250, 450)]
    assert found_in(LEAVES, kept=(head(300, key=OTHER),)) == [Finding("unsigned", 0, 300)]


def test_checkpoints_that_nobody_trusted_signed() -> None:
    heads = [head(3), head(300, key=OTHER), head(700)]
    [finding] = found_in(LEAVES, heads=heads)
    assert (finding.kind, finding.index) == ("unsigned", 3)
    contradicting = [head(3, seq=9), head(300, seq=8), head(700)]
    assert [one.kind for one in found_in(LEAVES, heads=contradicting)] == ["unsigned"]
    check = LogCheck(two_keys(300), [head(300), head(700, key=OTHER)])
    check.feed(LEAVES)
    check.finish()
    assert check.findings == []


def two_keys(size: int, root: bytes | None = None) -> list[LogKey]:
    """The keys of a log that went over to another one at a size."""
    tree = Frontier()
    tree.extend(LEAVES[:size])
    return key_chain(VerifierKey(ORIGIN, KEY.public), [introduce_key(ORIGIN, size, root or tree.root(), KEY, OTHER)])


def test_a_replaced_key_that_leaked_cannot_go_behind_the_statement_that_replaced_it() -> None:
    """Who holds it signs another history, or cuts the log to where it still signed; what the new key signed as well tells."""
    other = [*LEAVES[:100], NEW, *LEAVES[101:300]]
    for leaves, kind, index in ((other, "rewritten", 290), (LEAVES[:290], "truncated", 290), ([], "truncated", 0)):
        check = LogCheck(two_keys(300), [head(size, leaves) for size in (250, 290, 300) if size <= len(leaves)])
        check.feed(leaves)
        check.finish()
        assert [(one.kind, one.index) for one in check.findings if "key 2" in one.detail] == [(kind, min(index, 300))]
        assert diagnose(check, lambda: LogCheck(two_keys(300)), leaves, leaves)
    removed = Frontier()
    removed.extend(LEAVES[:512])
    check = LogCheck(two_keys(300, bytes([1]) * 32), [head(700, key=OTHER)], (), 512, removed)
    check.feed(LEAVES[512:])
    check.finish()
    assert check.findings == []  # what came before is not there to be compared


def test_a_log_whose_beginning_is_gone_on_purpose() -> None:
    base = Frontier()
    base.extend(LEAVES[:300])

    def fresh() -> LogCheck:
        return LogCheck(CHAIN, HEADS, (), 300, base.copy())

    check = fresh()
    check.feed(LEAVES[300:])
    check.finish()
    assert (check.findings, check.size) == ([], 700)
    wrong = fresh()
    rows = [*LEAVES[300:400], NEW, *LEAVES[401:]]
    wrong.feed(rows)
    wrong.finish()
    assert diagnose(wrong, fresh, LEAVES[300:], rows) == [Finding("changed", 400, 1, 100)]


@given(st.data())
def test_any_edit_is_noticed_and_what_is_found_explains_it(data: st.DataObject) -> None:
    """Findings are complete: undoing them gives back the log."""
    size = data.draw(st.integers(1, 40))
    expected, found = LEAVES[:size], list(LEAVES[:size])
    for number in range(data.draw(st.integers(1, 5))):
        place = data.draw(st.integers(0, len(found)))
        match data.draw(st.sampled_from(["insert", "remove", "change", "move"])):
            case "insert":
                found.insert(place, leaf_hash(b"x" + bytes([number])))
            case "remove" if place < len(found):
                del found[place]
            case "change" if place < len(found):
                found[place] = leaf_hash(b"y" + bytes([number]))
            case "move" if place < len(found):
                found.insert(data.draw(st.integers(0, len(found) - 1)), found.pop(place))
    findings = locate(expected, found)
    assert bool(findings) == (found != expected)
    counts = {kind: sum(one.count for one in findings if one.kind == kind) for kind in ("removed", "truncated", "inserted")}
    assert len(found) - len(expected) == counts["inserted"] - counts["removed"] - counts["truncated"]
    wrong_places = {n for one in findings if one.found is not None for n in range(one.found, one.found + one.count)}
    rest = [leaf for at, leaf in enumerate(found) if at not in wrong_places]
    gone = [one for one in findings if one.kind != "inserted"]
    missing = {n for one in gone for n in range(one.index, one.index + one.count)}
    assert rest == [leaf for at, leaf in enumerate(expected) if at not in missing]


def test_a_checkpoint_of_another_log_is_refused() -> None:
    check_origin(HEADS, ORIGIN)
    with pytest.raises(InvalidInput, match="another log"):
        check_origin(HEADS, log_origin(UUID(int=8)))

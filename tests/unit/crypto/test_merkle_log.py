"""The tree against published vectors, against a naive tree for every small size, and against damage."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overseer.crypto.log_tiles import TILE_WIDTH, new_pieces, range_roots, tile_pieces, tiles_for
from overseer.crypto.merkle_log import (
    EMPTY_ROOT,
    Frontier,
    complete_subtrees,
    consistency_holds,
    consistency_ranges,
    fold,
    inclusion_holds,
    inclusion_ranges,
    leaf_hash,
    split_hashes,
    subtree_root,
)

PUBLISHED = json.loads((Path(__file__).parents[2] / "vectors" / "published.json").read_text("utf-8"))["rfc_6962"]
LEAVES = [leaf_hash(number.to_bytes(4, "big")) for number in range(600)]
MOST = 65  # every pair of sizes below


def naive_root(leaves: list[bytes]) -> bytes:
    """RFC 9162 section 2.1.1, as it is written there."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return hashlib.sha256(b"\x01" + naive_root(leaves[:k]) + naive_root(leaves[k:])).digest()


def naive_inclusion(index: int, leaves: list[bytes]) -> list[bytes]:
    """RFC 9162 section 2.1.3.1."""
    if len(leaves) == 1:
        return []
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    if index < k:
        return [*naive_inclusion(index, leaves[:k]), naive_root(leaves[k:])]
    return [*naive_inclusion(index - k, leaves[k:]), naive_root(leaves[:k])]


def naive_consistency(old: int, leaves: list[bytes], known: bool = True) -> list[bytes]:
    """RFC 9162 section 2.1.4.1."""
    if old == len(leaves):
        return [] if known else [naive_root(leaves)]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    if old <= k:
        return [*naive_consistency(old, leaves[:k], known), naive_root(leaves[k:])]
    return [*naive_consistency(old - k, leaves[k:], False), naive_root(leaves[:k])]


def tiles_of(count: int) -> dict[tuple[int, int], list[bytes]]:
    """Tiles of the first leaves, grown seven leaves at a time."""
    frontier, tiles = Frontier(), dict[tuple[int, int], list[bytes]]()
    for start in range(0, count, 7):
        part = LEAVES[start : min(start + 7, count)]
        for piece in new_pieces(start, part, frontier.extend(part)):
            tile = tiles.setdefault((piece.level, piece.number), [])
            assert len(tile) == piece.first
            tile += split_hashes(piece.hashes)
    return tiles


def test_the_published_roots() -> None:
    leaves = [leaf_hash(bytes.fromhex(text)) for text in PUBLISHED["leaves"]]
    assert [one.hex() for one in leaves] == PUBLISHED["leaf_hashes"]
    roots = []
    frontier = Frontier()
    for leaf in leaves:
        roots.append(frontier.root().hex())
        frontier.append(0, leaf)
    assert [*roots, frontier.root().hex()] == PUBLISHED["roots"]


@pytest.mark.parametrize("v", PUBLISHED["inclusion"])
def test_the_published_inclusion_proofs(v: dict[str, object]) -> None:
    leaves = [bytes.fromhex(text) for text in PUBLISHED["leaf_hashes"]]
    index, size = int(str(v["index"])), int(str(v["size"]))
    made = range_roots(inclusion_ranges(index, size), {(0, 0): leaves})
    assert [one.hex() for one in made] == v["proof"]
    assert inclusion_holds(leaves[index], index, size, made, bytes.fromhex(PUBLISHED["roots"][size]))


@pytest.mark.parametrize("v", PUBLISHED["consistency"])
def test_the_published_consistency_proofs(v: dict[str, object]) -> None:
    leaves = [bytes.fromhex(text) for text in PUBLISHED["leaf_hashes"]]
    old, new = int(str(v["old"])), int(str(v["new"]))
    made = range_roots(consistency_ranges(old, new), {(0, 0): leaves})
    assert [one.hex() for one in made] == v["proof"]
    roots = [bytes.fromhex(text) for text in PUBLISHED["roots"]]
    assert consistency_holds(old, roots[old], new, roots[new], made)


@pytest.mark.parametrize("size", range(1, MOST))
def test_every_proof_of_every_small_tree(size: int) -> None:
    tiles, root = tiles_of(size), naive_root(LEAVES[:size])
    frontier = Frontier()
    frontier.extend(LEAVES[:size])
    assert frontier.root() == root
    for index in range(size):
        ranges = inclusion_ranges(index, size)
        proof = range_roots(ranges, tiles)
        assert tiles_for(ranges) <= set(tiles)
        assert proof == naive_inclusion(index, LEAVES[:size])
        for other in range(size):
            assert inclusion_holds(LEAVES[other], index, size, proof, root) == (other == index)
            assert inclusion_holds(LEAVES[index], other, size, proof, root) == (other == index)
        assert not inclusion_holds(LEAVES[index], index, size, [*proof, root], root)
        assert not proof or not inclusion_holds(LEAVES[index], index, size, proof[:-1], root)
    for old in range(size + 1):
        proof = range_roots(consistency_ranges(old, size), tiles)
        old_root = naive_root(LEAVES[:old])
        assert proof == (naive_consistency(old, LEAVES[:size]) if old else [])
        assert consistency_holds(old, old_root, size, root, proof)
        assert not consistency_holds(old, LEAVES[599], size, root, proof)
        assert not consistency_holds(old, old_root, size, LEAVES[599], proof) or old == 0
        assert not consistency_holds(old, old_root, size, root, [*proof, root])
        assert not proof or not consistency_holds(old, old_root, size, root, proof[:-1])


@given(st.integers(1, 600), st.data())
def test_proofs_over_several_tiles(size: int, data: st.DataObject) -> None:
    index, old = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size))
    tiles, root = tiles_of(size), naive_root(LEAVES[:size])
    assert inclusion_holds(LEAVES[index], index, size, range_roots(inclusion_ranges(index, size), tiles), root)
    proof = range_roots(consistency_ranges(old, size), tiles)
    assert consistency_holds(old, naive_root(LEAVES[:old]), size, root, proof)
    if proof:
        flipped = data.draw(st.integers(0, len(proof) - 1))
        proof[flipped] = bytes([proof[flipped][0] ^ 1]) + proof[flipped][1:]
        assert not consistency_holds(old, naive_root(LEAVES[:old]), size, root, proof)


@given(st.lists(st.integers(0, 300), max_size=6))
def test_a_tree_grows_in_any_steps(steps: list[int]) -> None:
    leaves, frontier, pieces = (LEAVES * 3)[: sum(steps)], Frontier(), []
    position = 0
    for step in steps:
        part = leaves[position : position + step]
        pieces += new_pieces(position, part, frontier.extend(part))
        position += step
        frontier = Frontier.parse(frontier.size, frontier.joined())
    assert (frontier.size, frontier.root()) == (len(leaves), naive_root(leaves))
    of_leaves = [one for piece in pieces if piece.level == 0 for one in split_hashes(piece.hashes)]
    of_tiles = [one for piece in pieces if piece.level == 1 for one in split_hashes(piece.hashes)]
    assert of_leaves == leaves
    full = len(leaves) // TILE_WIDTH
    assert of_tiles == [subtree_root(leaves[n * TILE_WIDTH : (n + 1) * TILE_WIDTH]) for n in range(full)]


def test_the_third_level_of_tiles() -> None:
    frontier = Frontier(65536 - 256, split_hashes(b"".join(LEAVES[: (65536 - 256).bit_count()])))
    complete = frontier.extend(LEAVES[:256])
    assert [level for level, _ in complete] == [8, 16]
    pieces = new_pieces(65536 - 256, LEAVES[:256], complete)
    assert [(piece.level, piece.number, piece.first) for piece in pieces] == [(0, 255, 0), (1, 0, 255), (2, 0, 0)]


def test_what_is_no_tree() -> None:
    assert Frontier().root() == EMPTY_ROOT == fold([])
    assert complete_subtrees(5, 5) == []
    assert tile_pieces(0, 3, []) == []
    for size, joined in ((1, b""), (3, bytes(32)), (1, bytes(31)), (-1, bytes(32))):
        with pytest.raises(ValueError, match="32 bytes"):
            Frontier.parse(size, joined)
    frontier = Frontier(1, [LEAVES[0]])
    with pytest.raises(ValueError, match="multiple"):
        frontier.append(1, LEAVES[1])
    for index, size in ((0, 0), (5, 5), (-1, 3)):
        with pytest.raises(ValueError, match="not in the tree"):
            inclusion_ranges(index, size)
        assert not inclusion_holds(LEAVES[0], index, size, [], LEAVES[0])
    with pytest.raises(ValueError, match="not larger"):
        consistency_ranges(3, 2)
    assert not consistency_holds(3, LEAVES[0], 2, LEAVES[0], [])
    with pytest.raises(IndexError):
        range_roots([(0, 4)], {(0, 0): LEAVES[:3]})

"""The Merkle tree of the audit log: RFC 6962 section 2.1 and RFC 9162 section 2.1, with SHA-256.

Guarantees: a root of *n* leaves commits to each of them and to their order; leaves and inner nodes are hashed under different
prefixes, so neither can stand in for the other (a second pre-image would be a break of SHA-256). Proofs are made from ranges
of leaves and checked by the RFC's own algorithms, which share no code with the making.

What it will not do: store hashes. :class:`Frontier` keeps the few that are needed to go on; the rest lies in tiles
(:mod:`overseer.crypto.log_tiles`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final

HASH_BYTES: Final = 32
#: The root of no leaves at all (RFC 9162 section 2.1.1).
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()

_sha256 = hashlib.sha256
_BLOCK_LEVEL: Final = 8
_BLOCK: Final = 1 << _BLOCK_LEVEL


def leaf_hash(record: bytes) -> bytes:
    """The hash of one record as a leaf."""
    return _sha256(b"\x00" + record).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node."""
    return _sha256(b"\x01" + left + right).digest()


def subtree_root(hashes: Sequence[bytes]) -> bytes:
    """The root over ``hashes``, whose number is a power of two."""
    while len(hashes) > 1:
        pairs = iter(hashes)
        hashes = [_sha256(b"\x01" + left + right).digest() for left, right in zip(pairs, pairs, strict=True)]
    return hashes[0]


def fold(hashes: Sequence[bytes]) -> bytes:
    """The root over complete subtrees that stand side by side, the largest first."""
    if not hashes:
        return EMPTY_ROOT
    root = hashes[-1]
    for left in reversed(hashes[:-1]):
        root = node_hash(left, root)
    return root


class Frontier:
    """The right edge of a tree: the roots of its complete subtrees, the largest first; enough to append and to give the root."""

    __slots__ = ("_hashes", "size")

    def __init__(self, size: int = 0, hashes: Iterable[bytes] = ()) -> None:
        """ValueError where ``hashes`` is not one hash for each bit of ``size``."""
        self.size = size
        self._hashes = list(hashes)
        if size < 0 or len(self._hashes) != size.bit_count() or any(len(one) != HASH_BYTES for one in self._hashes):
            raise ValueError("a frontier has one hash of 32 bytes for each bit that is set in its size")

    @classmethod
    def parse(cls, size: int, joined: bytes) -> Frontier:
        """What :meth:`joined` gave. Raises ValueError."""
        return cls(size, split_hashes(joined))

    def copy(self) -> Frontier:
        """Another one to go on with."""
        return Frontier(self.size, self._hashes)

    def joined(self) -> bytes:
        """The stored form: the hashes one after the other."""
        return b"".join(self._hashes)

    def root(self) -> bytes:
        """The root of the tree as it is now."""
        return fold(self._hashes)

    def append(self, level: int, root: bytes) -> list[tuple[int, bytes]]:
        """Append a complete subtree of 2^``level`` leaves where the size is a multiple of that; a leaf has level 0.

        Returns every subtree that is complete now, as (level, root), the smallest first.
        """
        if self.size & ((1 << level) - 1):
            raise ValueError("a subtree is appended at a multiple of its own size")
        complete = [(level, root)]
        while self.size >> level & 1:
            root = node_hash(self._hashes.pop(), root)
            self.size -= 1 << level
            level += 1
            complete.append((level, root))
        self.size += 1 << level
        self._hashes.append(root)
        return complete

    def extend(self, leaves: Sequence[bytes]) -> list[tuple[int, bytes]]:
        """Append leaves; returns the subtrees of 256, 65,536, … leaves that became complete, as (level, root), in order."""
        complete = []
        position = 0
        while position < len(leaves):
            if self.size % _BLOCK == 0 and len(leaves) - position >= _BLOCK:
                made = self.append(_BLOCK_LEVEL, subtree_root(leaves[position : position + _BLOCK]))
                position += _BLOCK
            else:
                made = self.append(0, leaves[position])
                position += 1
            complete += [(level, root) for level, root in made if level and level % _BLOCK_LEVEL == 0]
        return complete


def split_hashes(joined: bytes) -> list[bytes]:
    """Hashes that stand one after the other. Raises ValueError for a part of one."""
    if len(joined) % HASH_BYTES:
        raise ValueError("hashes have 32 bytes each")
    return [joined[start : start + HASH_BYTES] for start in range(0, len(joined), HASH_BYTES)]


def complete_subtrees(start: int, end: int) -> list[tuple[int, int]]:
    """The complete subtrees that leaves ``start`` to ``end`` consist of, left to right, as (level, number within that level)."""
    found = []
    while start < end:
        level = (end - start).bit_length() - 1
        if start:
            level = min(level, (start & -start).bit_length() - 1)
        found.append((level, start >> level))
        start += 1 << level
    return found


def inclusion_ranges(index: int, size: int) -> list[tuple[int, int]]:
    """The ranges of leaves whose roots prove leaf ``index`` in a tree of ``size`` (RFC 9162 section 2.1.3.1). ValueError."""
    if not 0 <= index < size:
        raise ValueError("the leaf is not in the tree")
    start, end, ranges = 0, size, []
    while end - start > 1:
        middle = start + _left_half(end - start)
        if index < middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((start, middle))
            start = middle
    return ranges[::-1]


def consistency_ranges(old: int, new: int) -> list[tuple[int, int]]:
    """The ranges whose roots prove that a tree of ``old`` leaves begins one of ``new`` (RFC 9162 section 2.1.4.1). ValueError."""
    if not 0 <= old <= new:
        raise ValueError("the older tree is not larger than the newer")
    if old in (0, new):
        return []
    start, end, ranges, known = 0, new, [], True
    while old != end:
        middle = start + _left_half(end - start)
        if old <= middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((start, middle))
            start, known = middle, False
    if not known:
        ranges.append((start, end))
    return ranges[::-1]


def _left_half(count: int) -> int:
    """The largest power of two below ``count``."""
    return 1 << (count - 1).bit_length() - 1


def inclusion_holds(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """True where ``proof`` shows that ``leaf`` (a leaf's hash) stands at ``index`` of the tree (RFC 9162 section 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    fn, sn, found = index, size - 1, leaf
    for one in proof:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            found = node_hash(one, found)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            found = node_hash(found, one)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and found == root


def consistency_holds(old: int, old_root: bytes, new: int, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """True where ``proof`` shows that the older tree is the beginning of the newer (RFC 9162 section 2.1.4.2).

    Every tree begins with the empty one, and with itself; both are shown by an empty proof.
    """
    if old == new:
        return not proof and old_root == new_root
    if old == 0:
        return not proof and old_root == EMPTY_ROOT
    if not 0 < old < new:
        return False
    path = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    if not path:
        return False
    fn, sn = old - 1, new - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    older = newer = path[0]
    for one in path[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            older, newer = node_hash(one, older), node_hash(one, newer)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            newer = node_hash(newer, one)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and older == old_root and newer == new_root

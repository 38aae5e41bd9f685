"""The hashes of the log's tree as tiles (C2SP tlog-tiles): rows of up to 256 hashes that are written once.

A tile of level 0 holds the hashes of 256 leaves; one of level *l* holds the roots of 256 full tiles of level *l* - 1. Every
complete subtree lies in one tile or is the root over a part of one, so a proof over ten million rows reads a handful of tiles.
A tile is stored in *pieces*, as it grows, so nothing that was stored is ever written again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from overseer.crypto.merkle_log import complete_subtrees, fold, subtree_root

TILE_HEIGHT: Final = 8
TILE_WIDTH: Final = 1 << TILE_HEIGHT

#: Level and number of a tile.
Tile = tuple[int, int]


@dataclass(frozen=True, slots=True)
class TilePiece:
    """Hashes ``first``, ``first`` + 1, … of the tile ``number`` of ``level``, one after the other in ``hashes``."""

    level: int
    number: int
    first: int
    hashes: bytes


def tile_pieces(level: int, start: int, hashes: Sequence[bytes]) -> list[TilePiece]:
    """``hashes`` of ``level`` from number ``start`` on, cut at the ends of tiles."""
    pieces = []
    position = 0
    while position < len(hashes):
        number, first = divmod(start + position, TILE_WIDTH)
        part = hashes[position : position + TILE_WIDTH - first]
        pieces.append(TilePiece(level, number, first, b"".join(part)))
        position += len(part)
    return pieces


def new_pieces(size: int, leaves: Sequence[bytes], complete: Sequence[tuple[int, bytes]]) -> list[TilePiece]:
    """What a tree of ``size`` leaves has to store when it grows by ``leaves``; ``complete`` is what ``Frontier.extend`` gave."""
    pieces = tile_pieces(0, size, leaves)
    for level in sorted({level for level, _ in complete}):
        pieces += tile_pieces(level // TILE_HEIGHT, size >> level, [root for at, root in complete if at == level])
    return pieces


def tiles_for(ranges: Sequence[tuple[int, int]]) -> set[Tile]:
    """The tiles that hold the roots of ``ranges`` of leaves."""
    return {_place(level, number)[0] for start, end in ranges for level, number in complete_subtrees(start, end)}


def range_roots(ranges: Sequence[tuple[int, int]], tiles: Mapping[Tile, Sequence[bytes]]) -> list[bytes]:
    """The root of each range. Raises KeyError for a tile that is not there, IndexError for one that is too short."""
    return [fold([_subtree(level, number, tiles) for level, number in complete_subtrees(start, end)]) for start, end in ranges]


def _subtree(level: int, number: int, tiles: Mapping[Tile, Sequence[bytes]]) -> bytes:
    tile, first, count = _place(level, number)
    part = tiles[tile][first : first + count]
    if len(part) != count:
        raise IndexError(f"tile {tile[1]} of level {tile[0]} is too short")
    return subtree_root(part)


def _place(level: int, number: int) -> tuple[Tile, int, int]:
    """The tile that holds a complete subtree, and which of its hashes the subtree's root is over."""
    tile_level, height = divmod(level, TILE_HEIGHT)
    tile_number, first = divmod(number << height, TILE_WIDTH)
    return (tile_level, tile_number), first, 1 << height

"""Small parts of a Compose file as plain structures whose leaves still know where they stand.

Only for the few nodes that the reader of bundles must understand (``env_file``, ``include``, ``extends``, ``secrets``, volumes);
aliases and merge keys are followed within a budget. Everything else of the file stays events.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import yaml

from overseer.compose.document import Document, DocumentFault

MAX_NODES: Final = 200_000
_MAX_DEPTH: Final = 40


@dataclass(frozen=True, slots=True)
class Leaf:
    """A scalar: its text, the index of its event, and whether it was written without quotes."""

    text: str
    index: int
    plain: bool

    @property
    def is_true(self) -> bool:
        """True where Compose reads a switch that is on."""
        return self.text.lower() in {"true", "yes", "on", "y"}


Node = Leaf | list[Any] | dict[str, Any] | None


@dataclass(slots=True)
class Budget:
    """How many nodes may still be built: a node counts one, and one more for each 64 characters of its text."""

    left: int


class Reader:
    """Builds nodes of one document within a budget, which several readers may share."""

    def __init__(self, document: Document, budget: Budget | None = None) -> None:
        self.document = document
        self._budget = Budget(MAX_NODES) if budget is None else budget

    def node(self, index: int) -> Node:
        """The node whose events begin at ``index``, ``None`` where there is none. :class:`DocumentFault` past the budget."""
        return self._node(index, 0)[0]

    def _node(self, index: int, depth: int) -> tuple[Node, int]:
        events = self.document.events
        self._budget.left -= 1
        if self._budget.left < 0 or depth > _MAX_DEPTH:
            raise DocumentFault(1, 1, "the file's aliases expand to too much", "alias_bomb")
        if index >= len(events):
            return None, index
        event = events[index]
        kind = type(event)
        if kind is yaml.ScalarEvent:
            self._budget.left -= len(event.value) // 64
            return Leaf(event.value, index, not event.style), index + 1
        if kind is yaml.AliasEvent:
            target = self.document.anchors.get(index)
            return (None if target is None else self._node(target, depth + 1)[0]), index + 1
        if kind is yaml.SequenceStartEvent:
            return self._sequence(index + 1, depth)
        if kind is yaml.MappingStartEvent:
            return self._mapping(index + 1, depth)
        return None, index + 1

    def _sequence(self, index: int, depth: int) -> tuple[Node, int]:
        events, items = self.document.events, []
        while index < len(events) and type(events[index]) is not yaml.SequenceEndEvent:
            item, index = self._node(index, depth + 1)
            items.append(item)
        return items, index + 1

    def _mapping(self, index: int, depth: int) -> tuple[Node, int]:
        events = self.document.events
        pairs: dict[str, Any] = {}
        merged: list[Node] = []
        while index < len(events) and type(events[index]) is not yaml.MappingEndEvent:
            key, index = self._node(index, depth + 1)
            value, index = self._node(index, depth + 1)
            if isinstance(key, Leaf):
                if key.text == "<<":  # in quotes too: with a tag Compose merges that as well, without one it refuses it
                    merged += value if isinstance(value, list) else [value]
                else:
                    pairs[key.text] = value
        for node in merged:
            if isinstance(node, dict):
                for name, value in node.items():
                    pairs.setdefault(name, value)
        return pairs, index + 1

"""Walking a document over the automaton of places.

Guarantees: an alias is walked again at the place where it is used, once per different use and within a budget, so an alias bomb
ends quickly and in bounded memory; nothing recurses on the depth of the file.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import yaml

from overseer.compose.document import MAX_DEPTH, Document, DocumentFault
from overseer.compose.positions import ROOT, Kind, Place

MAX_STEPS: Final = 1_000_000
MAX_ALIAS_DEPTH: Final = 64

_SCALAR: Final = yaml.ScalarEvent
_ALIAS: Final = yaml.AliasEvent
_MAPPING: Final = yaml.MappingStartEvent
_ENDS: Final = frozenset({yaml.MappingEndEvent, yaml.SequenceEndEvent})
_STARTS: Final = frozenset({yaml.MappingStartEvent, yaml.SequenceStartEvent})
_IN_A_KEY: Final = Place(Kind.KEY)
_IN_A_KEY.other = _IN_A_KEY.items = _IN_A_KEY
_OPEN_KEY: Final = "\0open"


class Scalar(NamedTuple):
    """A scalar that holds a dollar, at one use: ``event`` is its number, ``key`` the mapping key it stands under."""

    event: int
    value: str
    kind: Kind
    pair: bool
    service: str
    key: str
    splits: bool = False
    by_alias: bool = False


class Capture(NamedTuple):
    """A node that the reader of bundles asked for (``positions.Place.capture``): its events begin at ``event``."""

    name: str
    service: str
    event: int


class _Frame:
    """An open mapping or list. ``key`` is ``None`` where a mapping's next node is a key, empty for a list."""

    __slots__ = ("every", "is_mapping", "items", "key", "place", "service")

    def __init__(self, is_mapping: bool, place: Place, items: Place, service: str) -> None:
        self.is_mapping, self.place, self.items, self.service = is_mapping, place, items, service
        self.key: str | None = None if is_mapping else ""
        #: The place of every value here, whatever its key (but "<<"), or ``None``.
        self.every = place.other if is_mapping and not place.keys and not place.service_names else None

    def target(self) -> tuple[Place, str]:
        """The place of the node that comes next, and the service it belongs to."""
        if not self.is_mapping:
            return self.items, self.service
        if self.key == "<<":
            return self.place, self.service
        key = self.key or ""
        return self.place.child(key), key if self.place.service_names else self.service


class Walk:
    """Gathers the scalars with a dollar and the captured nodes of a document."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.scalars: list[Scalar] = []
        self.captures: list[Capture] = []
        self._steps = MAX_STEPS
        self._in_alias = False
        self._seen: set[tuple[int, int, str]] = set()

    def run(self, root: Place = ROOT) -> Walk:
        """Walk every document of the file; :class:`DocumentFault` past the limits of depth and work."""
        for index, event in enumerate(self.document.events):
            if type(event) is yaml.DocumentStartEvent:
                self._node(index + 1, _Frame(False, root, root, ""), 0)
        return self

    def _node(self, start: int, head: _Frame, alias_depth: int) -> None:  # noqa: PLR0912 - one flat loop, for speed
        """Walk the one node that begins at ``start`` as an item of the list ``head``."""
        events, kept, by_alias = self.document.events, self.scalars.append, self._in_alias
        stack: list[_Frame] = []
        index = start
        for index in range(start, len(events)):
            event = events[index]
            kind = type(event)
            if kind is _SCALAR:
                if head.key is None:
                    head.key = self._key(index, event.value, head)
                    continue
                value = event.value
                if "$" in value:
                    place, service = (head.every, head.service) if head.every and head.key != "<<" else head.target()
                    kept(Scalar(index, value, place.kind, place.pair, service, head.key, place.splits, by_alias))
                    if place.capture and head.is_mapping:
                        self.captures.append(Capture(place.capture, service, index))
                elif head.place.captures and head.is_mapping:
                    self._captured(index, head)
            elif kind in _ENDS:
                head = stack.pop()
                if head.key is _OPEN_KEY:  # the end of a key that is a mapping or a list itself
                    head.key = ""
                    continue
            elif kind in _STARTS:
                stack.append(head)
                head = self._enter(index, event, head, len(stack))
                continue
            elif kind is _ALIAS:
                if head.key is None:
                    target = events[self.document.anchors.get(index, index)]
                    head.key = self._key(index, target.value if type(target) is _SCALAR else "", head)
                    continue
                self._alias(index, head, alias_depth)
            if head.is_mapping:
                head.key = None
            if not stack:
                break
        self._steps -= index - start + 1
        if self._steps < 0:
            raise DocumentFault(1, 1, "the file's aliases expand to too much", "alias_bomb")

    def _key(self, index: int, key: str, head: _Frame) -> str:
        if "$" in key:
            self.scalars.append(Scalar(index, key, Kind.KEY, False, head.service, key))
        return key

    def _captured(self, index: int, head: _Frame) -> None:
        place, service = head.target()
        if place.capture:
            self.captures.append(Capture(place.capture, service, index))

    def _enter(self, index: int, event: Any, head: _Frame, depth: int) -> _Frame:
        """The frame of a mapping or list that begins here."""
        if depth > MAX_DEPTH:
            mark = event.start_mark
            raise DocumentFault(mark.line + 1, mark.column + 1, f"nested more than {MAX_DEPTH} deep", "too_deep")
        is_mapping = type(event) is _MAPPING
        if head.key is None:
            head.key = _OPEN_KEY
            return _Frame(is_mapping, _IN_A_KEY, _IN_A_KEY, head.service)
        place, service = head.target()
        merged = head.is_mapping and head.key == "<<"
        if place.capture and not merged:
            self.captures.append(Capture(place.capture, service, index))
        # The items of a list below "<<" are mappings that are merged into this very place.
        frame = _Frame(is_mapping, place, place if merged else place.item(), service)
        if not is_mapping:
            frame.key = head.key
        return frame

    def _alias(self, index: int, head: _Frame, depth: int) -> None:
        """Walk the anchored node again at the place where it is used."""
        target = self.document.anchors.get(index)
        place, service = head.target()
        if target is None or (target, id(place), service) in self._seen:
            return
        self._seen.add((target, id(place), service))
        if place.capture and head.is_mapping and head.key != "<<" and type(self.document.events[target]) is _SCALAR:
            self.captures.append(Capture(place.capture, service, target))  # other nodes are captured when they are entered
        if depth >= MAX_ALIAS_DEPTH:
            mark = self.document.events[index].start_mark
            raise DocumentFault(mark.line + 1, mark.column + 1, "aliases are nested too deeply", "alias_bomb")
        outer = _Frame(False, place, place, service)
        outer.key = head.key or ""
        before, self._in_alias = self._in_alias, True
        self._node(target, outer, depth + 1)
        self._in_alias = before

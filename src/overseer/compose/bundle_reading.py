"""Reading a bundle file by file, as Compose would reach them: the work behind ``references`` and ``placeholders``.

Keeps, for every file that Compose reads, what was found in it (:class:`FileScan`), so that replacing needs no second parse.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from overseer.compose import dotenv
from overseer.compose.bundle import Bundle, below_root, resolve
from overseer.compose.captures import Captures, Delivered, Origin
from overseer.compose.document import MAX_EVENTS, Document, DocumentFault, decode, locate, parse
from overseer.compose.dotenv import Entry
from overseer.compose.grammar import Reference, Scan, Token, scan
from overseer.compose.lines import Lines
from overseer.compose.nodes import MAX_NODES, Budget
from overseer.compose.positions import TEXT_TAGS, Kind, refusal
from overseer.compose.reading_limits import DIFFERENT, ENV_BYTES, EXTENSIONS, FILE_USES, READS, USES, Limit, Meter
from overseer.compose.walk import Capture, Scalar, Walk
from overseer.core.errors import Problem
from overseer.core.identifiers import NAME_RULE, is_name

MAX_PROBLEMS = 10_000


@dataclass(slots=True)
class FileScan:
    """One file that Compose reads. ``tokens``: event index to tokens (YAML), or entry number to tokens (dotenv)."""

    path: str
    document: Document | None = None
    text: str = ""
    entries: list[Entry] = field(default_factory=list)
    tokens: dict[int, tuple[Token, ...]] = field(default_factory=dict)
    places: dict[int, tuple[tuple[int, int], ...]] = field(default_factory=dict)  # of each token: line and column
    count: int = 0  # tokens of a dotenv file


@dataclass(frozen=True, slots=True)
class _Definition:
    """A top-level secret."""

    external: bool
    name: str
    file: str
    origin: Origin


class Reading:
    """Everything that reading found. ``extends`` maps (file, service) to what it extends."""

    def __init__(self, bundle: Bundle, refused: frozenset[Kind]) -> None:
        self.bundle = bundle
        self.refused = refused
        self.problems: list[Problem] = []
        self.inline: list[Origin] = []
        self.delivered: list[Delivered] = []
        self.scans: dict[str, FileScan] = {}
        self.main: set[str] = set()
        self.variables: dict[str, None] = {}  # names that top-level secrets and configs take their text from
        self.own_variables: set[str] = set()  # included files with variables of their own
        self.extends: dict[tuple[str, str], set[tuple[str, str]]] = {}
        self._definitions: dict[str, _Definition] = {}
        self._uses: list[tuple[str, Origin]] = []
        self._todo: deque[tuple[str, str, tuple[str, ...]]] = deque()
        self._read: set[tuple[str, str]] = set()
        self._parsed: dict[str, tuple[Document, list[Capture]] | None] = {}
        self._different: set[Reference] = set()
        self._meter = Meter()
        self._events = MAX_EVENTS  # of all files together
        self.nodes = Budget(MAX_NODES)  # of all files together
        self._users: dict[tuple[str, str], set[str]] = {}
        self._sorted_users: dict[tuple[str, str], tuple[str, ...]] = {}

    def problem(self, file: str, place: tuple[int, int], rule: str, code: str) -> None:
        """Note a problem; the text of ``rule`` never quotes a value. Past :data:`MAX_PROBLEMS` the rest is not told."""
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(Problem(f"{file}:{place[0]}:{place[1]}", rule, code))

    def spend(self, limit: Limit, path: str, amount: int = 1) -> bool:
        """Count against a limit; False past it, and the first time a problem of the file ``path``."""
        return self._meter.spend(limit, amount, lambda told: self.problem(path, (1, 1), told.rule, told.code))

    def run(self) -> None:
        """Read from the main files on until nothing new is reached."""
        mains = self.bundle.main_files()
        if not mains:
            self.problems.append(Problem("", "the bundle holds no Compose file (compose.yaml)", "no_compose_file"))
            return
        base = self.bundle.project_directory()
        for path in mains:
            if path in self.bundle.files:
                self.queue(path, base, main=True, chain=())
            else:
                self.problems.append(Problem(path, "this Compose file is not in the bundle", "missing_file"))
        self.dotenv(resolve(base, ".env"), "", "")
        while self._todo:
            path, base, chain = self._todo.popleft()
            self._yaml(path, base, chain)
        self._resolve_services()
        self._deliver()

    def queue(self, path: str, base: str, *, main: bool, chain: tuple[str, ...]) -> None:
        """Read a Compose file later, once per base directory."""
        if main:
            self.main.add(path)
        if (path, base) not in self._read and self.spend(READS, path):
            self._read.add((path, base))
            self._todo.append((path, base, (*chain, path)))

    # -- one file ---------------------------------------------------------------------------------------------------------

    def _yaml(self, path: str, base: str, chain: tuple[str, ...]) -> None:
        try:
            if path not in self._parsed:
                self._parsed[path] = None  # of a file that cannot be read the problem is told once
                self._parsed[path] = self._parse(path)
            parsed = self._parsed[path]
            if parsed is not None:
                Captures(self, parsed[0], path, base, chain).read(parsed[1])
        except DocumentFault as fault:
            self.problem(path, (fault.line, fault.column), fault.rule, fault.code)

    def _parse(self, path: str) -> tuple[Document, list[Capture]]:
        document = parse(self.bundle.files[path], self._events)
        self._events -= len(document.events)
        for fault in document.faults:
            self.problem(path, (fault.line, fault.column), fault.rule, fault.code)
        walk = Walk(document).run()
        file = self.scans.setdefault(path, FileScan(path, document))
        seen: dict[int, Scan] = {}
        for scalar in walk.scalars:
            self._scalar(file, document, scalar, seen)
        return document, walk.captures

    def _scalar(self, file: FileScan, document: Document, scalar: Scalar, seen: dict[int, Scan]) -> None:
        """One use of a scalar; ``seen`` are those of the file that were looked at: by an alias each may be used often."""
        found = seen.get(scalar.event)
        if found is None:
            found = seen[scalar.event] = scan(scalar.value)
            if found.faults and len(self.problems) < MAX_PROBLEMS:
                places = locate(document, scalar.event, scalar.value, [fault.offset for fault in found.faults])
                for fault, place in zip(found.faults, places, strict=True):
                    self.problem(file.path, place, fault.rule, fault.code)
        if not found.tokens or not self._counted(found.tokens, len(found.tokens), file.path):
            return
        if scalar.event in file.places:
            places = list(file.places[scalar.event])
        else:
            places = locate(document, scalar.event, scalar.value, [token.start for token in found.tokens])
        for token, place in zip(found.tokens, places, strict=True):
            refused = refusal(_kind(document, scalar, token), self.refused)
            if refused is not None:
                self.problem(file.path, place, *refused)
        file.tokens[scalar.event], file.places[scalar.event] = found.tokens, tuple(places)
        self.inline.append(
            Origin(file.path, scalar.kind, scalar.service, scalar.key, tuple(places), found.tokens, file.path),
        )

    def _counted(self, tokens: Iterable[Token], count: int, path: str) -> bool:
        """Count uses of references; past a limit one problem, and ``False``: nothing more is kept."""
        if not self.spend(USES, path, count):
            return False
        return self.different((token.reference for token in tokens), path)

    def different(self, references: Iterable[Reference], path: str) -> bool:
        """Count the references that were not met before."""
        before = len(self._different)
        self._different.update(references)
        return self.spend(DIFFERENT, path, len(self._different) - before)

    def dotenv(self, path: str, service: str, owner: str, kind: Kind = Kind.ENV_FILE) -> None:
        """Read an env_file (or ``.env``, or a label_file) of the bundle, if it is there."""
        if path not in self.bundle.files or not self.spend(FILE_USES, path):
            return
        file = self.scans.get(path)
        try:
            if file is None:
                file = self.scans[path] = FileScan(path, None)  # also of a file that breaks the grammar: it is read once
                self._dotenv(file)
        except DocumentFault as fault:
            self.problem(path, (fault.line, fault.column), fault.rule, fault.code)
            return
        except dotenv.DotenvFault as fault:
            self.problem(path, Lines(file.text if file else "").at(fault.offset), fault.rule, "broken_env_file")
            return
        if not file.count or not self._counted(itertools.chain.from_iterable(file.tokens.values()), file.count, path):
            return
        refused = refusal(kind, self.refused)
        for number, tokens in file.tokens.items():
            key = file.entries[number].key
            if refused is not None:
                for place in file.places[number]:
                    self.problem(path, place, *refused)
            self.inline.append(Origin(path, kind, service, key, file.places[number], tokens, owner))

    def _dotenv(self, file: FileScan) -> None:
        data = self.bundle.files[file.path]
        if not self.spend(ENV_BYTES, file.path, len(data)):
            return
        file.text = decode(data)
        file.entries = dotenv.entries(file.text)
        lines = Lines(file.text)
        for number, entry in enumerate(file.entries):
            self._entry(file, number, entry, lines)
        file.count = sum(map(len, file.tokens.values()))

    def _entry(self, file: FileScan, number: int, entry: Entry, lines: Lines) -> None:
        found = Scan((), (), ()) if entry.quote == "'" else scan(entry.text)
        for fault in found.faults:
            place = lines.at(entry.raw_span(fault.offset, fault.offset + 1)[0])
            self.problem(file.path, place, fault.rule, fault.code)
        if found.tokens:
            file.tokens[number] = found.tokens
            starts = (entry.raw_span(token.start, token.end)[0] for token in found.tokens)
            file.places[number] = tuple(lines.at(start) for start in starts)

    # -- after all files --------------------------------------------------------------------------------------------------

    def define(self, key: str, external: bool, name: str, file: str, origin: Origin) -> None:
        """A top-level secret; a later file wins."""
        self._definitions[key] = _Definition(external, name, file, origin)

    def use(self, key: str, origin: Origin) -> None:
        """A service's ``secrets:`` entry."""
        self._uses.append((key, origin))

    def _deliver(self) -> None:
        for key, origin in self._uses:
            definition = self._definitions.get(key)
            if definition is None:
                continue
            if definition.external:
                name, external = definition.name, True
            elif below_root(definition.file, self.bundle.secrets_root) == "file":
                name, external = definition.file.rstrip("/").rpartition("/")[2], False
            else:
                continue
            if is_name(name):
                self.delivered.append(Delivered(Reference(name), external, origin))
            elif self.services_of(origin):
                rule = f"give the name of the secret with 'name:'; {NAME_RULE}"
                self.problem(definition.origin.file, definition.origin.places[0], rule, "bad_name")

    def _resolve_services(self) -> None:
        """Which services of the project each (file, service) ends in, through ``extends``; cycles are problems."""
        starts = {(origin.owner, origin.service) for origin in self.inline if origin.service}
        starts |= {(origin.owner, origin.service) for _, origin in self._uses if origin.service}
        starts |= {(found.origin.owner, found.origin.service) for found in self.delivered if found.origin.service}
        for start in sorted(self.extends.keys() | starts):
            file, service = start
            if file not in self.main:
                continue
            seen, todo = {start}, [start]
            while todo:
                for following in self.extends.get(todo.pop(), ()):
                    if not self.spend(EXTENSIONS, file):
                        return
                    if following == start and len(self.problems) < MAX_PROBLEMS:
                        self.problems.append(Problem(file, f"service {service} extends itself in a circle", "extends_cycle"))
                    if following not in seen:
                        seen.add(following)
                        todo.append(following)
            for one in seen:
                self._users.setdefault(one, set()).add(service)

    def services_of(self, origin: Origin) -> tuple[str, ...]:
        """The project's services that ``origin`` ends in; empty for none or for text outside services."""
        if not origin.service:
            return ()
        key = (origin.owner, origin.service)
        if key not in self._sorted_users:
            self._sorted_users[key] = tuple(sorted(self._users.get(key, ())))
        return self._sorted_users[key]

    def is_live(self, origin: Origin) -> bool:
        """False for text in a file that was only read for another service's ``extends``."""
        if not origin.service:
            return not origin.owner or origin.owner in self.main
        return bool(self.services_of(origin))


def _kind(document: Document, scalar: Scalar, token: Token) -> Kind:
    """The kind of place of one token: the part before "=" in a list is a key, a scalar with a type's tag is typed."""
    if scalar.pair:
        equals = scalar.value.find("=")
        if equals < 0 or token.start < equals:
            return Kind.KEY
    return scalar.kind if document.events[scalar.event].tag in TEXT_TAGS else Kind.TYPED


def read_bundle(bundle: Bundle, refused: frozenset[Kind]) -> Reading:
    """Read all that Compose would read of ``bundle``; problems are gathered, not raised."""
    reading = Reading(bundle, refused)
    reading.run()
    reading.inline = [origin for origin in reading.inline if reading.is_live(origin)]
    reading.delivered = [found for found in reading.delivered if reading.is_live(found.origin)]
    return reading

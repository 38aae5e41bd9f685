"""Plaintext secrets of a project, and the same project with references in their place. Pure: bytes in, bytes out.

Looked at: the ``environment`` of services, env_files and ``.env``. Guarantees: only the characters of a value change (a scalar of
YAML is written anew in double quotes), every other byte stays; one value under one name is one secret, and a long value is one
secret whatever its keys; a value that Compose would put together from variables is left alone. Where an image is known to read a
variable from a file, and that is wanted, the variable gets its other name and a path, and the service a mount (``file_form``).
Whether something is a secret is a judgement (``plaintext``): people look at the list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from overseer.compose import plaintext
from overseer.compose.bundle import Bundle
from overseer.compose.bundle_reading import FileScan
from overseer.compose.document import Document, DocumentFault, locate, splice
from overseer.compose.dotenv_values import value_of
from overseer.compose.edits import replaced
from overseer.compose.file_form import FileForm, environment_leaves, file_edits, file_forms
from overseer.compose.grammar import scan
from overseer.compose.lines import Lines
from overseer.compose.nodes import Reader
from overseer.compose.references import find_references
from overseer.compose.walk import Walk
from overseer.core.identifiers import is_name
from overseer.core.secret_value import SecretValue

#: ASCII, so that a scalar of YAML, which is written anew in double quotes, shows it and no escapes.
MASK: Final = "<redacted>"
#: From this length on equal values are no accident: they are one credential. Shorter ones (``postgres``) may be two.
SHARED_LENGTH: Final = 12


@dataclass(frozen=True, slots=True)
class Finding:
    """A plaintext secret: its place for people, why it looks like one, its value, and the name that it gets.

    ``event`` (YAML) or ``entry`` (dotenv) is where it stands; ``span`` is the part of the text there that is the value.
    """

    file: str
    line: int
    column: int
    owner: str
    key: str
    why: str
    value: SecretValue
    span: tuple[int, int]
    event: int = -1
    entry: int = -1
    name: str = ""
    whole: bool = True


@dataclass(frozen=True)
class Adoption:
    """``files`` are those that change, with references; ``masked`` the same ones with a mask where a value stood; ``forms`` the
    variables that became files."""

    findings: tuple[Finding, ...]
    files: Mapping[str, bytes] = field(repr=False)
    masked: Mapping[str, bytes] = field(repr=False)
    forms: tuple[FileForm, ...] = ()

    def secrets(self) -> dict[str, SecretValue]:
        """Each name with its value."""
        return {one.name: one.value for one in self.findings}


def adopt(bundle: Bundle, *, prefix: str = "", as_files: bool = False, separate: bool = False) -> Adoption:
    """What would become of ``bundle``. Names of secrets begin with ``prefix``; ``as_files``: where the image can read files;
    ``separate``: a secret for each key, also where their values are the same."""
    scans = find_references(bundle, allow_persisting=True).scans
    findings = _named([one for path in sorted(scans) for one in _in_file(scans[path])], prefix, separate)
    forms = file_forms(bundle, scans, findings) if as_files else {}
    by_file: dict[str, list[tuple[Finding, FileForm | None]]] = {}
    for position, one in enumerate(findings):
        by_file.setdefault(one.file, []).append((one, forms.get(position)))
    files, masked = {}, {}
    for path, found in by_file.items():
        files[path] = _rewritten(scans[path], found, lambda one: f"${{SECRET:{one.name}}}")
        masked[path] = _rewritten(scans[path], [(one, None) for one, _ in found], lambda _: MASK)
    return Adoption(tuple(findings), files, masked, tuple(forms.values()))


def _in_file(file: FileScan) -> Iterator[Finding]:
    try:
        yield from _in_yaml(file, file.document) if file.document is not None else _in_dotenv(file)
    except DocumentFault:
        return


def _in_yaml(file: FileScan, document: Document) -> Iterator[Finding]:
    reader, seen = Reader(document), set[int]()
    for capture in Walk(document).run().captures:
        if capture.name != "environment":
            continue
        for key, leaf, start in environment_leaves(reader.node(capture.event)):
            if leaf.index in seen:
                continue  # an anchor that several services use
            seen.add(leaf.index)
            text = leaf.text[start:]
            found = None if _looked_up(text) else _judged(key, text)
            if found is not None:
                (begin, end), why = found
                value = SecretValue(text[begin:end].replace("$$", "$"))
                line, column = locate(document, leaf.index, leaf.text, [-1])[0]
                span = (start + begin, start + end)
                yield Finding(file.path, line, column, capture.service, key, why, value, span, event=leaf.index)


def _in_dotenv(file: FileScan) -> Iterator[Finding]:
    lines = Lines(file.text)
    owner = file.path.rpartition("/")[2].strip(".").partition(".")[0]
    for number, entry in enumerate(file.entries):
        if entry.quote != "'" and _looked_up(entry.text):
            continue
        whole = value_of(entry, {})
        found = _judged(entry.key, whole)
        if found is None:
            continue
        (begin, end), why = found
        if whole != entry.text or entry.quote == "'" or "\\" in file.text[entry.start : entry.end]:
            begin, end = 0, len(whole)  # what is written is not what is meant: the whole value goes
        line, column = lines.at(entry.start)
        value, everything = SecretValue(whole[begin:end]), (begin, end) == (0, len(whole))
        yield Finding(file.path, line, column, owner, entry.key, why, value, (begin, end), entry=number, whole=everything)


def _looked_up(text: str) -> bool:
    return "$" in text.replace("$$", "") or bool(scan(text).tokens)


def _judged(key: str, text: str) -> tuple[tuple[int, int], str] | None:
    """The part of the value that is secret, and why; a password inside a URL goes alone."""
    for start, end, why in plaintext.tokens(text):
        if "URL" in why:
            return (start, end), why
        return (0, len(text)), why
    reason = plaintext.in_variable(key, text.replace("$", ""))  # dollars that are left are text
    return None if not text or reason is None else ((0, len(text)), reason)


def _named(found: list[Finding], prefix: str, separate: bool) -> list[Finding]:
    """One name for one value; where a key has several values, its service or file tells them apart, then a number.

    A value that several keys share has the name of the first that is nothing but the value: ``db-password``, not that of a URL.
    """
    taken: dict[str, SecretValue] = {}
    shared: list[tuple[SecretValue, str]] = []
    named: dict[int, Finding] = {}
    for position in sorted(range(len(found)), key=lambda position: "URL" in found[position].why):
        one = found[position]
        plain = one.key.lower().replace("_", "-").strip("-.") or "secret"
        if "URL" in one.why:
            plain += "-password"
        same = [name for value, name in shared if value == one.value]
        for name in same or _candidates(prefix, plain, one.owner):
            if is_name(name) and taken.setdefault(name, one.value) == one.value:
                named[position] = replace(one, name=name)
                if not same and len(one.value) >= SHARED_LENGTH and not separate:
                    shared.append((one.value, name))
                break
    return [named[position] for position in sorted(named)]


def _candidates(prefix: str, plain: str, owner: str) -> Iterator[str]:
    yield prefix + plain
    if owner:
        yield f"{prefix}{owner}-{plain}"
    for number in range(2, 1000):
        yield f"{prefix}{plain}-{number}"


def _rewritten(
    file: FileScan, found: Sequence[tuple[Finding, FileForm | None]], word: Callable[[Finding], str]
) -> bytes:
    if file.document is not None:
        values = {}
        for one, form in found:
            if form is None:
                text = file.document.events[one.event].value
                values[one.event] = text[: one.span[0]] + word(one) + text[one.span[1] :]
        return splice(file.document, values, file_edits(file.document, [(one, form) for one, form in found if form]))
    edits = []
    for one, _ in found:
        entry = file.entries[one.entry]
        span = (entry.start, entry.end) if one.whole else entry.raw_span(*one.span)
        edits.append((*span, word(one)))
    return replaced(file.text, sorted(edits)).encode("utf-8")

"""Rendering a whole project, or one env file, by the splice way: all problems of all files at once, and one text.

Several Compose files become the documents of one text, which Compose merges in their order exactly as files given with -f.
What Compose reads by itself (``include``, ``extends``, ``env_file``, ``label_file``, ``.env``) is no part of that text: a
reference there is a problem, because it would reach Compose as it is written.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Final

import yaml

from overseer.cli.compose_project import Project
from overseer.cli.compose_values import Supply
from overseer.compose.bundle import Bundle
from overseer.compose.grammar import Reference
from overseer.compose.lines import by_place
from overseer.compose.placing import Rendered
from overseer.compose.references import BundleScan, Form, Occurrence, find_references
from overseer.compose.render import render_file
from overseer.core.errors import Problem, ReferencesRefused
from overseer.core.secret_value import SecretValue

_BOM: Final = b"\xef\xbb\xbf"
_MALFORMED: Final = frozenset({"malformed_reference", "quote_reference", "reference_in_message", "unterminated"})
_NOT_IN_OUTPUT: Final = (
    "Compose reads this file by itself, so this reference would stay as it is written; "
    "render that file apart and name the result, or use 'overseer deploy', which renders every file"
)


@dataclass(frozen=True)
class RenderedProject:
    """``text`` is plaintext; ``references`` what was looked up; ``warnings`` what people should know."""

    text: SecretValue
    references: tuple[Reference, ...]
    warnings: tuple[Problem, ...]


def render_project(project: Project, scan: BundleScan, supply: Supply, *, allow_persisting: bool) -> RenderedProject:
    """Render the project's main files. :class:`ReferencesRefused` with every problem of every file."""
    values = _with_stand_ins(supply)
    gathered = _Gathered()
    names = project.bundle.main_files()
    for name in names:
        label = project.label(name)
        gathered.add(
            partial(
                render_file,
                project.bundle.files[name],
                values,
                path=label,
                advice=supply.advice,
                allow_persisting=allow_persisting,
            )
        )
    for problem in scan.problems:
        if problem.code in _MALFORMED and problem.place.partition(":")[0] not in names:
            gathered.problems.append(project.labelled(problem))
    for one in scan.occurrences:
        place = project.label(one.place)
        if one.file not in names:
            gathered.problems.append(Problem(place, _NOT_IN_OUTPUT, "not_in_output"))
        elif one.form is not Form.INLINE:
            rule = f'secret "{one.reference}" is delivered as a file by a deployment alone; this stays as it is written'
            gathered.warnings.append(Problem(place, rule, "delivered_as_file"))
        elif one.reference in supply.refused:
            gathered.problems.append(Problem(place, supply.refused[one.reference], "secret_unavailable"))
    return gathered.result(join_documents, complete=not supply.withheld)


def render_env(data: bytes, label: str, scan: BundleScan, supply: Supply) -> RenderedProject:
    """Render one env file, scanned by :func:`scan_env`. :class:`ReferencesRefused` with every problem."""
    from overseer.compose.render_env import render_env_file

    gathered = _Gathered()
    gathered.add(partial(render_env_file, data, _with_stand_ins(supply), path=label, advice=supply.advice))
    for one in scan.occurrences:
        if one.reference in supply.refused:
            place = f"{label}:{one.line}:{one.column}"
            gathered.problems.append(Problem(place, supply.refused[one.reference], "secret_unavailable"))
    return gathered.result(b"".join, complete=not supply.withheld)


def scan_env(data: bytes) -> BundleScan:
    """The references of an env file, read as the ``.env`` of an empty project."""
    return find_references(Bundle({"compose.yaml": b"services: {}\n", ".env": data}, ("compose.yaml",)), allow_persisting=True)


def rendered_references(scan: BundleScan, names: Collection[str]) -> list[Occurrence]:
    """The uses that rendering the files ``names`` replaces."""
    return [one for one in scan.occurrences if one.file in names and one.form is Form.INLINE]


def join_documents(parts: Iterable[bytes]) -> bytes:
    """Files as the documents of one text; a single file is left byte for byte."""
    joined = b""
    for part in parts:
        if not joined:
            joined = part
            continue
        text = part.removeprefix(_BOM)
        if not joined.endswith(b"\n"):
            joined += b"\n"
        joined += _separator(text) + text
    return joined


def _separator(text: bytes) -> bytes:
    """What must stand before a file that follows another one: an empty document would be an error to Compose."""
    try:
        start = next((one for one in yaml.parse(text, yaml.CSafeLoader) if isinstance(one, yaml.DocumentStartEvent)), None)
    except yaml.YAMLError:  # without a reference it is Compose that says so
        return b"---\n"
    if start is None:
        return b""
    return b"...\n" if start.version or start.tags else b"" if start.explicit else b"---\n"


class _Gathered:
    """The results and problems of several files."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.references: dict[Reference, None] = {}
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []

    def add(self, render: Callable[[], Rendered]) -> None:
        try:
            rendered = render()
        except ReferencesRefused as error:
            self.problems += error.problems
            return
        self.parts.append(rendered.text.reveal())
        self.references |= dict.fromkeys(rendered.references)
        self.warnings += rendered.warnings

    def result(self, join: Callable[[list[bytes]], bytes], *, complete: bool) -> RenderedProject:
        if self.problems or not complete:
            problems = sorted(dict.fromkeys(self.problems), key=lambda one: by_place(one.place))
            raise ReferencesRefused("nothing was rendered", problems=problems)
        return RenderedProject(SecretValue(join(self.parts)), tuple(self.references), tuple(dict.fromkeys(self.warnings)))


def _with_stand_ins(supply: Supply) -> dict[Reference, SecretValue]:
    """Refused and withheld references get a word, so that what is told about them is the true reason; there is no text then."""
    return {**supply.values, **dict.fromkeys([*supply.refused, *supply.withheld], SecretValue("none"))}

"""JSON and YAML: mappings of names to values, nested ones with their names joined by dots.

A value is text exactly as it is written: YAML's ``yes`` or ``1.10`` stay these characters. Bytes that are no text are written as
``{"$base64": "…"}`` in JSON and ``!!binary`` in YAML, and read back. Lists and nulls are refused by name.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import yaml

from overseer.compose.document import too_many_directives
from overseer.core.secret_value import SecretValue
from overseer.interchange.found import Found, Refusals, broken, decoded

BASE64: Final = "$base64"
MAX_DEPTH: Final = 20
#: Of YAML, whatever becomes of it: libyaml's composer takes C stack for each level, and a process whose stack ends is gone.
MAX_NESTING: Final = 100
_DEEPER: Final[dict[type[Any], int]] = {
    yaml.MappingStartEvent: 1,
    yaml.SequenceStartEvent: 1,
    yaml.MappingEndEvent: -1,
    yaml.SequenceEndEvent: -1,
}
_BINARY: Final = "tag:yaml.org,2002:binary"


class _Text(yaml.CBaseLoader):
    """Every scalar is its text; no aliases, so that nothing expands."""


class _Bytes(str):
    """The base64 text of a YAML ``!!binary``."""


def _binary(loader: Any, node: Any) -> str:
    return _Bytes(loader.construct_scalar(node))


_Text.add_constructor(_BINARY, _binary)


def read_json(data: bytes) -> list[Found]:
    """Raises :class:`InvalidInput`."""
    return flat(load_json(data))


def read_yaml(data: bytes) -> list[Found]:
    """Raises :class:`InvalidInput`."""
    return flat(load_yaml(decoded(data)))


def load_json(data: bytes) -> Any:
    """The tree of a JSON file: numbers as they are written, no key twice. Raises :class:`InvalidInput`."""

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        tree = dict(found)
        if len(tree) != len(found):
            raise broken("the file has a key twice in one object")
        return tree

    try:
        return json.loads(decoded(data), parse_int=str, parse_float=str, parse_constant=str, object_pairs_hook=pairs)
    except (json.JSONDecodeError, RecursionError) as error:
        place = f"line {error.lineno}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        raise broken("the file is not JSON", place) from None


def load_yaml(text: str) -> Any:
    """The tree of a YAML file whose scalars are text. Raises :class:`InvalidInput`."""
    refuse_costly(text)
    try:
        return yaml.load(text, Loader=_Text)  # noqa: S506 - every scalar is text; no objects are made
    except (yaml.YAMLError, RecursionError, TypeError):
        raise broken("the file is not YAML") from None


def refuse_costly(text: str) -> None:
    """Raise :class:`InvalidInput` for text that is no YAML, and for what takes more than its length to load: an alias, whose text
    could expand without end, depth, and directives beyond count."""
    if too_many_directives(text):
        raise broken("a file to import has no more than a few %TAG directives")
    depth = 0
    try:
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            if isinstance(event, yaml.AliasEvent):
                raise broken("a file to import has no aliases")
            depth += _DEEPER.get(type(event), 0)
            if depth > MAX_NESTING:
                raise broken(f"the file is nested more than {MAX_NESTING} deep")
    except yaml.MarkedYAMLError as error:
        mark: Any = error.problem_mark or error.context_mark
        raise broken("the file is not YAML", f"line {mark.line + 1}, column {mark.column + 1}" if mark else "") from None
    except yaml.YAMLError:
        raise broken("the file is not YAML") from None


def flat(tree: Any) -> list[Found]:
    """The values of a tree of mappings. Raises :class:`InvalidInput`."""
    if not isinstance(tree, Mapping):
        raise broken("the file holds no mapping of names to values")
    refusals, found = Refusals(), []
    for name, value in _leaves(tree, "", 0, refusals):
        one = _value(value)
        if one is None:
            refusals.add(name, "is no text, number, switch or mapping", "bad_value")
        else:
            found.append(Found(name, one))
    refusals.stop("nothing was imported: some entries are no values")
    return found


def _leaves(tree: Mapping[Any, Any], prefix: str, depth: int, refusals: Refusals) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in tree.items():
        name = prefix + str(key)
        if isinstance(value, Mapping) and set(value) != {BASE64} and depth < MAX_DEPTH:
            found += _leaves(value, name + ".", depth + 1, refusals)
        else:
            found.append((name, value))
    return found


def _value(value: Any) -> SecretValue | None:
    if isinstance(value, bool):
        return SecretValue("true" if value else "false")
    try:
        if isinstance(value, _Bytes):
            return SecretValue(base64.b64decode("".join(value.split()).encode("ascii"), validate=True))
        if isinstance(value, Mapping) and set(value) == {BASE64} and isinstance(value[BASE64], str):
            return SecretValue(base64.b64decode(value[BASE64].encode("ascii"), validate=True))
        return SecretValue(value) if isinstance(value, str) else None
    except (binascii.Error, ValueError):
        return None


def write_json(secrets: Sequence[tuple[str, SecretValue]]) -> bytes:
    """An object of names and values."""
    tree: dict[str, Any] = {}
    for name, value in secrets:
        try:
            tree[name] = value.reveal().decode("utf-8")
        except UnicodeDecodeError:
            tree[name] = {BASE64: base64.b64encode(value.reveal()).decode("ascii")}
    return json.dumps(tree, ensure_ascii=True, indent=2).encode("ascii") + b"\n"


def write_yaml(secrets: Sequence[tuple[str, SecretValue]]) -> bytes:
    """A mapping whose keys and values are double-quoted: a JSON string is one of YAML's, but for pairs of surrogates."""
    lines = []
    for name, value in secrets:
        try:
            text = value.reveal().decode("utf-8")
            lines.append(f"{json.dumps(name)}: {_quoted(text)}\n")
        except UnicodeDecodeError:
            lines.append(f'{json.dumps(name)}: !!binary "{base64.b64encode(value.reveal()).decode("ascii")}"\n')
    return ("".join(lines) or "{}\n").encode("ascii")


def _quoted(text: str) -> str:
    return '"' + "".join(_character(one) for one in text) + '"'


def _character(one: str) -> str:
    if one in '"\\':
        return "\\" + one
    code = ord(one)
    if 0x20 <= code < 0x7F:
        return one
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"

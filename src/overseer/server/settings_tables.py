"""Tables of the configuration file: ``[oidc.NAME]``, ``[ci.NAME]`` and their kin, each name one thing that is set up.

A kind of table is a frozen dataclass whose fields are made with :func:`key`: name, type, default and meaning of a key stand once,
there, and the reference page is made from them. Guarantees: an unknown key, a key of the wrong type and a missing one are refused
by name at start; a value is never repeated. What a dataclass's ``__post_init__`` raises as :class:`ConfigurationProblem` is its
own rule. A table stands in the file only; no variable sets it.

A secret (a field of type ``SecretValue``) never stands in the file: ``NAME_file`` is the path of a file that holds it (one
newline at its end is cut), ``NAME = "env:VARIABLE"`` takes it from the environment.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Final, Generic, TypeVar

from overseer.core.errors import ConfigurationProblem
from overseer.core.identifiers import NAME_RULE, is_name
from overseer.core.secret_value import SecretValue

#: As they are read: kind, name, key; secrets resolved to their text. Plain data, so that it can be handed to the workers.
Tables = dict[str, dict[str, dict[str, Any]]]
Form = TypeVar("Form")

MAX_SECRET: Final = 64 * 1024
_ENV: Final = "env:"
_FILE: Final = "_file"
_TYPES: Final[dict[Any, tuple[str, Callable[[Any], bool]]]] = {
    str: ("text", lambda value: isinstance(value, str) and value != ""),
    int: ("integer", lambda value: type(value) is int),
    bool: ("boolean", lambda value: type(value) is bool),
    Path: ("path", lambda value: isinstance(value, str) and value.startswith("/")),
    tuple[str, ...]: ("list of texts", lambda value: isinstance(value, list | tuple) and all(isinstance(v, str) for v in value)),
    dict[str, str]: ("table of texts", lambda value: isinstance(value, dict) and all(isinstance(v, str) for v in value.values())),
    SecretValue: ("secret", lambda value: isinstance(value, str)),
}


@dataclass(frozen=True, slots=True)
class TableKind(Generic[Form]):
    """``word`` is the first part of the table's name, ``form`` its dataclass, ``meaning`` what one table sets up."""

    word: str
    form: type[Form]
    meaning: str

    def read(self, tables: Tables) -> dict[str, Form]:
        """The tables of this kind, checked, by name. Raises :class:`ConfigurationProblem`."""
        return {name: _form(f"[{self.word}.{name}]", self.form, table) for name, table in tables.get(self.word, {}).items()}


@dataclass(frozen=True, slots=True)
class TableKey:
    """One key as people read of it; ``default`` is None where it has to be written."""

    name: str
    type: str
    default: str | None
    meaning: str


def key(meaning: str, default: Any = MISSING) -> Any:
    """A field of a table's dataclass; without ``default`` it has to be written. A SecretValue hides itself."""
    if isinstance(default, dict):
        return dataclasses.field(default_factory=default.copy, kw_only=True, metadata={"meaning": meaning})
    return dataclasses.field(default=default, kw_only=True, metadata={"meaning": meaning})


def keys_of(form: type[Any]) -> list[TableKey]:
    """Every key of a kind of table, in the order of its fields."""
    found = []
    for field, kind in _fields(form):
        default = _shown(field.default) if field.default is not MISSING else None
        if field.default_factory is not MISSING:
            default = "empty"
        name = f"{field.name}{_FILE}, {field.name}" if kind is SecretValue else field.name
        found.append(TableKey(name, _TYPES[kind][0], default, field.metadata["meaning"]))
    return found


def read_tables(content: Mapping[str, Any], kinds: Iterable[TableKind[Any]], environment: Mapping[str, str]) -> Tables:
    """The tables in a file's ``content``, with their secrets, each checked. Raises :class:`ConfigurationProblem`."""
    tables: Tables = {}
    for kind in kinds:
        given = content.get(kind.word)
        if given is None:
            continue
        if not isinstance(given, dict) or not all(isinstance(table, dict) for table in given.values()):
            raise ConfigurationProblem(f"[{kind.word}] has no keys of its own: write [{kind.word}.NAME]")
        for name in given:
            if not is_name(name):
                raise ConfigurationProblem(f"[{kind.word}.NAME]: {NAME_RULE}")
        secrets = [field.name for field, type_ in _fields(kind.form) if type_ is SecretValue]
        tables[kind.word] = {
            name: _with_secrets(f"[{kind.word}.{name}]", table, secrets, environment) for name, table in given.items()
        }
        kind.read(tables)
    return tables


def _form(place: str, form: type[Form], table: Mapping[str, Any]) -> Form:
    fields = _fields(form)
    unknown = set(table) - {field.name for field, _ in fields}
    if unknown:
        known = ", ".join(one.name for one in keys_of(form))
        raise ConfigurationProblem(f"{place} has {len(unknown)} unknown key(s); known are {known}")
    made: dict[str, Any] = {}
    for field, kind in fields:
        word, fits = _TYPES[kind]
        if field.name not in table:
            if field.default is MISSING and field.default_factory is MISSING:
                raise ConfigurationProblem(f"{place} lacks the key {field.name} ({word})")
            continue
        if not fits(table[field.name]):
            raise ConfigurationProblem(
                f"{place}: the type of {field.name} is {word}" + (", an absolute one" if kind is Path else "")
            )
        made[field.name] = _value(kind, table[field.name])
    try:
        return form(**made)
    except ConfigurationProblem as problem:
        raise ConfigurationProblem(f"{place}: {problem.message}") from None


def _value(kind: Any, value: Any) -> Any:
    if kind == tuple[str, ...]:
        return tuple(value)
    return kind(value) if kind in (Path, SecretValue) else value


def _with_secrets(place: str, table: Mapping[str, Any], secrets: list[str], environment: Mapping[str, str]) -> dict[str, Any]:
    found = dict(table)
    for name in secrets:
        file, text = found.pop(name + _FILE, None), found.pop(name, None)
        if file is None and text is None:
            continue
        if (file is None) == (text is None):
            raise ConfigurationProblem(f"{place}: write {name}{_FILE} or {name}, not both")
        found[name] = _from_file(place, name, file) if file is not None else _from_environment(place, name, text, environment)
    return found


def _from_file(place: str, name: str, file: Any) -> str:
    if not isinstance(file, str) or not file.startswith("/"):
        raise ConfigurationProblem(f"{place}: {name}{_FILE} is an absolute path")
    try:
        with Path(file).open("rb") as opened:
            content = opened.read(MAX_SECRET + 1)
        text = content.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except (OSError, UnicodeDecodeError):
        raise ConfigurationProblem(f"{place}: the file of {name}{_FILE} cannot be read as text") from None
    if not text or len(content) > MAX_SECRET:
        raise ConfigurationProblem(f"{place}: the file of {name}{_FILE} is empty or longer than {MAX_SECRET} bytes")
    return text


def _from_environment(place: str, name: str, text: Any, environment: Mapping[str, str]) -> str:
    if not isinstance(text, str) or not text.startswith(_ENV):
        raise ConfigurationProblem(f'{place}: a secret does not stand in this file: write {name} = "{_ENV}VARIABLE"')
    value = environment.get(text.removeprefix(_ENV))
    if not value:
        raise ConfigurationProblem(f"{place}: the variable that {name} names is not set")
    return value


def _fields(form: type[Any]) -> list[tuple[dataclasses.Field[Any], Any]]:
    hints = typing.get_type_hints(form)
    return [(field, _plain(hints[field.name])) for field in dataclasses.fields(form)]


def _plain(hint: Any) -> Any:
    """``X`` of ``X | None``."""
    if typing.get_origin(hint) in (typing.Union, UnionType):
        [hint] = [one for one in typing.get_args(hint) if one is not NoneType]
    return hint


def _shown(default: Any) -> str:
    if default is None or default == ():
        return "unset" if default is None else "empty"
    if isinstance(default, bool):
        return str(default).lower()
    return ", ".join(default) if isinstance(default, tuple) else str(default)

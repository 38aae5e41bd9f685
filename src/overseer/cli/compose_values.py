"""What stands in the place of references when a project is rendered: values from a file or a server, or words that mask them.

Guarantees: a masked rendering fetches no value; a reference that is refused is never stood in for by its default; nothing that is
said about a reference holds a value.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

from overseer.cli.compose_project import read_bytes
from overseer.compose.advice import Advice
from overseer.compose.fields import select_field
from overseer.compose.grammar import Reference
from overseer.core.errors import Denied, InvalidInput, OverseerError, Unavailable
from overseer.core.scopes import Scope
from overseer.core.secret_value import SecretValue

if TYPE_CHECKING:
    from overseer.client.api import Client
    from overseer.wire.secrets import SecretView

_CHUNK: Final = 200  # names in one request; the server takes 500
_MOST_LISTED: Final = 2000
_MOST_LOOKED_UP: Final = 20


@dataclass(frozen=True)
class Supply:
    """``values`` by reference. ``refused``: why a reference gets nothing, not even its default. ``withheld``: not given because
    others were unavailable; then nothing may be rendered. What is in none of them is missing, and ``advice`` says what to do.
    """

    values: Mapping[Reference, SecretValue] = field(repr=False)
    refused: Mapping[Reference, str] = field(default_factory=dict)
    withheld: frozenset[Reference] = frozenset()
    advice: Advice = field(default_factory=Advice)


# -- from a file --------------------------------------------------------------------------------------------------------------


def read_values(path: Path) -> dict[str, SecretValue]:
    """A JSON object of names and texts. :class:`InvalidInput`, which never shows the content, where it is none."""
    import msgspec

    try:
        content = msgspec.json.decode(read_bytes(path), type=dict[str, str])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise InvalidInput(f"{path} must be a JSON object that maps names of secrets to texts") from None
    return {name: SecretValue(value) for name, value in content.items()}


def supply_from(given: Mapping[str, SecretValue], references: Iterable[Reference]) -> Supply:
    """The values for ``references``: as written (``name@3#field``), else the field of ``name@3``, else by the name alone.

    A pinned version is never served by the unpinned value.
    """
    found, refused = {}, {}
    for reference in references:
        whole = str(reference._replace(field=None))
        if str(reference) in given:
            found[reference] = given[str(reference)]
        elif reference.field is not None and whole in given:
            try:
                found[reference] = select_field(given[whole], reference.field, reference.name)
            except InvalidInput as error:
                refused[reference] = error.message
    known = sorted({name.partition("#")[0].partition("@")[0] for name in given})
    return Supply(found, refused, advice=Advice(known=known))


# -- from a server ------------------------------------------------------------------------------------------------------------


def masked_supply(client: Client, references: Sequence[Reference], scope: Scope[str]) -> Supply:
    """Words such as ``masked:db-password@3`` that name the version a deployment would use. Needs ``secret:list``."""
    versions, refused = available_versions(client, references, scope)
    values = {reference: SecretValue(_mask(reference, version)) for reference, version in versions.items()}
    missing = {reference.name for reference in references if reference not in values and reference not in refused}
    return Supply(values, refused, advice=advice_for(client, missing, scope))


def available_versions(
    client: Client, references: Sequence[Reference], scope: Scope[str]
) -> tuple[dict[Reference, int], dict[Reference, str]]:
    """Which version each reference would get at ``scope`` now, and why some are refused; missing ones are in neither."""
    winners: dict[str, SecretView | None] = {}
    found, refused = {}, {}
    for reference in references:
        if reference.name not in winners:
            winners[reference.name] = client.secrets.explain(reference.name, scope).winner
        winner = winners[reference.name]
        if winner is None:
            continue
        if reference.version is None:
            found[reference] = winner.active_version
        elif any(one.version == reference.version for one in client.secrets.versions(winner.id)):
            found[reference] = reference.version
        else:
            refused[reference] = _no_version(reference, winner.version)
    return found, refused


def revealed_supply(
    client: Client, references: Sequence[Reference], required: Iterable[Reference], scope: Scope[str], *, reason: str
) -> Supply:
    """The values at ``scope``. Needs ``secret:reveal`` on each; every release is audited, with ``reason``.

    ``required``: those with a use that has no default. All or nothing, but for secrets that do not exist and have a default.
    """
    names = list(dict.fromkeys(one.name for one in references if one.version is None))
    found, told = _resolved(client, names, scope, reason)
    missing = {name for name, (_, code) in told.items() if code == "missing"}
    if told and missing == told.keys() and not missing & {one.name for one in required}:  # their defaults stand in
        found, told = _resolved(client, [name for name in names if name not in missing], scope, reason)
    refused = {
        one: f'secret "{one}": {told[one.name][0]}'
        for one in references
        if one.version is None and one.name in told and one.name not in missing
    }
    whole = {Reference(name): value for name, value in found.items()}
    if told:
        refused |= _no_versions(client, [one for one in references if one.version is not None], scope)
        withheld = {one for one in references if one.version is not None or (one.name not in told and one.name not in missing)}
        return Supply({}, refused, frozenset(withheld), advice_for(client, missing, scope))
    for one in dict.fromkeys(reference._replace(field=None) for reference in references if reference.version is not None):
        value = _pinned(client, one, scope, reason)
        if isinstance(value, SecretValue):
            whole[one] = value
        elif value:
            refused |= {reference: value for reference in references if reference._replace(field=None) == one}
        else:
            missing.add(one.name)
    return _fields(references, whole, refused, advice_for(client, missing, scope))


def _resolved(
    client: Client, names: list[str], scope: Scope[str], reason: str
) -> tuple[dict[str, SecretValue], dict[str, tuple[str, str]]]:
    """All values, or none and the rule and the code of each name that is unavailable."""
    found: dict[str, SecretValue] = {}
    told: dict[str, tuple[str, str]] = {}
    for start in range(0, len(names), _CHUNK):
        chunk = names[start : start + _CHUNK]
        try:
            found |= {name: one.value for name, one in client.secrets.resolve(chunk, scope, reason=reason).items()}
        except Unavailable as error:
            problems = {problem.place: (problem.rule, problem.code) for problem in error.problems if problem.place in chunk}
            if not problems:
                raise
            told |= problems
    return ({}, told) if told else (found, {})


def _no_versions(client: Client, pinned: Sequence[Reference], scope: Scope[str]) -> dict[Reference, str]:
    """Those of the pinned versions that do not exist, as far as the caller may list them: nothing is fetched any more."""
    try:
        return available_versions(client, pinned, scope)[1]
    except OverseerError:
        return {}


def _pinned(client: Client, reference: Reference, scope: Scope[str], reason: str) -> SecretValue | str:
    """The value of one pinned version, why it is refused, or nothing where there is no such secret."""
    winner = client.secrets.explain(reference.name, scope).winner
    if winner is None:
        return ""
    try:
        return client.secrets.reveal(winner.id, version=reference.version, reason=reason).value
    except Denied as error:
        return f'secret "{reference}": {error.message}'
    except (InvalidInput, Unavailable):
        return _no_version(reference, winner.version)


def _fields(
    references: Iterable[Reference], whole: Mapping[Reference, SecretValue], refused: Mapping[Reference, str], advice: Advice
) -> Supply:
    values, more = {}, dict(refused)
    for reference in references:
        value = whole.get(reference._replace(field=None))
        if value is None:
            continue
        try:
            values[reference] = value if reference.field is None else select_field(value, reference.field, reference.name)
        except InvalidInput as error:
            more[reference] = error.message
    return Supply(values, more, advice=advice)


# -- what to say --------------------------------------------------------------------------------------------------------------


def advice_for(client: Client, missing: Iterable[str], scope: Scope[str]) -> Advice:
    """Names that were perhaps meant and scopes where a name exists, as far as the caller may list them."""
    names = sorted(missing)
    said = str(scope)
    if not names:
        return Advice(said)
    known: set[str] = set()
    elsewhere: dict[str, str] = {}
    try:
        for view in islice(client.secrets.list(), _MOST_LISTED):
            if _scope(view).covers(scope):
                known.add(view.name)
        for name in names[:_MOST_LOOKED_UP]:
            for view in islice(client.secrets.list(name=name), _MOST_LOOKED_UP):
                if view.name == name and not _scope(view).covers(scope):
                    elsewhere.setdefault(name, str(_scope(view)))
    except OverseerError:  # who may not list is told nothing
        pass
    return Advice(said, known, tuple(elsewhere.items()))


def _scope(view: SecretView) -> Scope[str]:
    return Scope(view.scope.app, view.scope.environment, view.scope.node)


def _mask(reference: Reference, version: int) -> str:
    """A plain word, so that it fits wherever a value may stand."""
    return f"masked:{reference.name}@{version}" + (f"/{reference.field}" if reference.field is not None else "")


def _no_version(reference: Reference, newest: int) -> str:
    return f'secret "{reference.name}" has no version {reference.version}; the newest is {newest}'

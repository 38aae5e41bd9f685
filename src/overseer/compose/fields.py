"""``${SECRET:name#field}``: one field of a secret whose value is a JSON object."""

from __future__ import annotations

import json
from typing import Any, Final

from overseer.core.errors import InvalidInput
from overseer.core.secret_value import SecretValue

MAX_DEPTH: Final = 100


def select_field(value: SecretValue, field: str, name: str) -> SecretValue:
    """The field ``field`` of the JSON object in ``value``: text as it is, numbers as they were written, the rest as compact JSON.

    A field of that exact name wins; otherwise dots descend into inner objects. :class:`InvalidInput` says what is missing for the
    secret ``name``, never what the value holds; also where the field's own value is nested deeper than :data:`MAX_DEPTH`.
    """
    try:
        # Numbers stay the text they were: 1.10 must not become 1.1.
        tree = json.loads(value.reveal(), parse_float=_Number, parse_int=_Number, parse_constant=_Number)
    except RecursionError:
        raise _too_deep(name) from None
    except ValueError:
        raise InvalidInput(f"secret {name} is not JSON, so it has no field {field}") from None
    found = _find(tree, field)
    if found is None:
        raise InvalidInput(f"the JSON value of secret {name} has no field {field}")
    try:
        return SecretValue(_text(found[0]))
    except RecursionError:
        raise _too_deep(name) from None


def all_fields(value: SecretValue) -> dict[str, SecretValue | None] | None:
    """Every field of the JSON object in ``value``, each as :func:`select_field` gives it, ``None`` for a null; no dots descend.

    ``None`` where the value is no object, or nested deeper than :data:`MAX_DEPTH`.
    """
    try:
        tree = json.loads(value.reveal(), parse_float=_Number, parse_int=_Number, parse_constant=_Number)
        if not isinstance(tree, dict):
            return None
        return {key: None if node is None else SecretValue(_text(node)) for key, node in tree.items()}
    except (ValueError, RecursionError):
        return None


def _too_deep(name: str) -> InvalidInput:
    return InvalidInput(f"the JSON value of secret {name} is nested deeper than {MAX_DEPTH} levels")


class _Number(str):
    __slots__ = ()


def _find(tree: Any, field: str) -> tuple[Any] | None:
    if not isinstance(tree, dict):
        return None
    if field in tree:
        return (tree[field],)
    head, dot, rest = field.partition(".")
    return _find(tree.get(head), rest) if dot else None


def _text(node: Any) -> str:
    return str(node) if isinstance(node, str) else _compact(node, MAX_DEPTH)


def _compact(node: Any, levels: int) -> str:
    if isinstance(node, _Number):
        return str(node)
    if isinstance(node, dict | list) and levels == 0:
        raise RecursionError
    if isinstance(node, dict):
        pairs = (f"{json.dumps(key, ensure_ascii=False)}:{_compact(value, levels - 1)}" for key, value in node.items())
        return "{" + ",".join(pairs) + "}"
    if isinstance(node, list):
        return "[" + ",".join(_compact(item, levels - 1) for item in node) + "]"
    return json.dumps(node, ensure_ascii=False)

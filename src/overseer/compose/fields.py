"""``${SECRET:name#field}``: one field of a secret whose value is a JSON object."""

from __future__ import annotations

import json
from typing import Any

from overseer.core.errors import InvalidInput
from overseer.core.secret_value import SecretValue


def select_field(value: SecretValue, field: str, name: str) -> SecretValue:
    """The field ``field`` of the JSON object in ``value``: text as it is, numbers as they were written, the rest as compact JSON.

    A field of that exact name wins; otherwise dots descend into inner objects. :class:`InvalidInput` says what is missing for the
    secret ``name``, never what the value holds.
    """
    try:
        # Numbers stay the text they were: 1.10 must not become 1.1.
        tree = json.loads(value.reveal(), parse_float=_Number, parse_int=_Number, parse_constant=_Number)
    except (ValueError, RecursionError):
        raise InvalidInput(f"secret {name} is not JSON, so it has no field {field}") from None
    found = _find(tree, field)
    if found is None:
        raise InvalidInput(f"the JSON value of secret {name} has no field {field}")
    return SecretValue(_text(found[0]))


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
    return str(node) if isinstance(node, str) else _compact(node)


def _compact(node: Any) -> str:
    if isinstance(node, _Number):
        return str(node)
    if isinstance(node, dict):
        return "{" + ",".join(f"{json.dumps(key, ensure_ascii=False)}:{_compact(value)}" for key, value in node.items()) + "}"
    if isinstance(node, list):
        return "[" + ",".join(map(_compact, node)) + "]"
    return json.dumps(node, ensure_ascii=False)

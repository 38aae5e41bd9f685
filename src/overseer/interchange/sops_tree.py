"""The trees of SOPS files: keys and values with their types, in the order in which SOPS digests them.

A leaf keeps how it was written, for SOPS digests ``true`` as ``True`` and ``1.50`` as ``1.5``. Comments are no part of the digest
and are passed over.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import yaml

from overseer.interchange.found import broken
from overseer.interchange.structured import refuse_costly

METADATA: Final = "sops"
_INT: Final = re.compile(r"[-+]?[0-9]+")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
MAX_DEPTH: Final = 50


@dataclass(slots=True)
class Leaf:
    """One value; ``kind`` is ``str``, ``int``, ``float``, ``bool`` or ``null``; ``path`` its keys, each with a colon."""

    text: str
    kind: str
    path: str = ""


def digested(text: str, kind: str) -> bytes:
    """What SOPS digests of a value."""
    if kind == "bool":
        return b"True" if text.lower() == "true" else b"False"
    if kind == "int":
        try:
            return str(int(text)).encode("ascii")
        except ValueError:  # the type stands beside the value and is not authenticated
            raise broken("a number of the file cannot be read") from None
    if kind == "float":
        try:
            plain = format(Decimal(repr(float(text))), "f")
        except (InvalidOperation, ValueError):
            raise broken("a number of the file cannot be read") from None
        return (plain.rstrip("0").rstrip(".") if "." in plain else plain).encode("ascii")
    return text.encode("utf-8")


def json_tree(data: str) -> Any:
    """Mappings, lists and leaves of a JSON file."""

    def leaf(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: leaf(one) for key, one in value.items()}
        if isinstance(value, list):
            return [leaf(one) for one in value]
        if value is None:
            return Leaf("", "null")
        if isinstance(value, bool):
            return Leaf(str(value), "bool")
        return value if isinstance(value, Leaf) else Leaf(value, "str")

    try:
        return leaf(json.loads(data, parse_int=lambda one: Leaf(one, "float"), parse_float=lambda one: Leaf(one, "float")))
    except (json.JSONDecodeError, RecursionError):
        raise broken("the file is not JSON") from None


def yaml_tree(text: str) -> Any:
    """Mappings, lists and leaves of a YAML file. Raises :class:`InvalidInput`."""
    refuse_costly(text)
    try:
        documents = list(yaml.compose_all(text, Loader=yaml.SafeLoader))
    except (yaml.YAMLError, RecursionError):
        raise broken("the file is not YAML") from None
    if len(documents) != 1 or not isinstance(documents[0], yaml.MappingNode):
        raise broken("a SOPS file to import is one document with a mapping")
    return _node(documents[0], 0)


def _node(node: Any, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise broken(f"the file is nested more than {MAX_DEPTH} deep")
    if isinstance(node, yaml.MappingNode):
        tree: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.value in tree:
                raise broken("a key of the file is no text, or stands twice")
            tree[key.value] = _node(value, depth + 1)
        return tree
    if isinstance(node, yaml.SequenceNode):
        return [_node(one, depth + 1) for one in node.value]
    return Leaf(node.value, _kind(node))


def _kind(node: Any) -> str:
    if node.style is not None:
        return "str"
    if node.value in {"", "~", "null", "Null", "NULL"}:
        return "null"
    if node.value in {"true", "True", "TRUE", "false", "False", "FALSE"}:
        return "bool"
    if _INT.fullmatch(node.value):
        return "int"
    return "float" if _FLOAT.fullmatch(node.value) else "str"


def leaves(tree: Any, path: str = "") -> Iterator[Leaf]:
    """The leaves of a tree, each with its path set; those of the file's own metadata are left out."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            if path or key != METADATA:
                yield from leaves(value, f"{path}{key}:")
    elif isinstance(tree, list):
        for value in tree:
            yield from leaves(value, path)
    else:
        tree.path = path
        yield tree

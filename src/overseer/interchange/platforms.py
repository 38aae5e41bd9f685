"""What other places of secrets write to a file: Vault, Infisical; and the environment of Compose services.

Only documented forms are read: ``vault kv get -format=json`` (one answer, or several one after the other) for KV version 1 and 2;
Infisical's export as a list of ``key`` and ``value``, and the list of its API (``secretKey``, ``secretValue``).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from overseer.compose.document import DocumentFault, parse
from overseer.compose.grammar import scan
from overseer.compose.nodes import Leaf, Node, Reader
from overseer.compose.walk import Walk
from overseer.core.secret_value import SecretValue
from overseer.interchange.found import Found, Refusals, broken, decoded
from overseer.interchange.structured import flat, load_json


def read_vault(data: bytes) -> list[Found]:
    """Each field of each answer is one secret. Raises :class:`InvalidInput`."""
    found: list[Found] = []
    for answer in _answers(decoded(data)):
        found += vault_fields(answer)
    return found


def vault_fields(answer: Any) -> list[Found]:
    """The fields of one answer of KV version 1 or 2. Raises :class:`InvalidInput`."""
    outer = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(outer, dict):
        raise broken("this is no answer of Vault's KV: it has no 'data'")
    second = isinstance(outer.get("metadata"), dict) and "version" in outer["metadata"] and set(outer) <= {"data", "metadata"}
    fields = outer.get("data") if second else outer
    if not isinstance(fields, dict):
        raise broken("this version of the secret is deleted: Vault gives no fields")
    return [Found(one.name, one.value) for one in flat(_as_text(fields))]


def _as_text(fields: dict[str, Any]) -> dict[str, Any]:
    """Fields that are objects or lists are kept as the JSON that Vault would give, not taken apart."""
    texts: dict[str, Any] = {}
    for key, value in fields.items():
        if isinstance(value, dict | list):
            texts[key] = json.dumps(value, default=float)
        else:
            texts[key] = str(value) if isinstance(value, int | Decimal) and not isinstance(value, bool) else value
    return texts


def _answers(text: str) -> Iterator[Any]:
    decoder = json.JSONDecoder(parse_float=Decimal)
    cursor = 0
    while cursor < len(text):
        if text[cursor].isspace():
            cursor += 1
            continue
        try:
            answer, cursor = decoder.raw_decode(text, cursor)
        except (json.JSONDecodeError, RecursionError):
            raise broken("the file is not JSON") from None
        yield from answer if isinstance(answer, list) else [answer]


def read_infisical(data: bytes) -> list[Found]:
    """Raises :class:`InvalidInput`."""
    tree = load_json(data)
    if isinstance(tree, dict) and isinstance(tree.get("secrets"), list):
        tree = tree["secrets"]
    if isinstance(tree, dict):
        return flat(tree)
    refusals, found = Refusals(), []
    for number, one in enumerate(tree if isinstance(tree, list) else []):
        fields = one if isinstance(one, dict) else {}
        key, value = fields.get("key", fields.get("secretKey")), fields.get("value", fields.get("secretValue"))
        if not isinstance(key, str) or not isinstance(value, str):
            refusals.add(f"entry {number + 1}", "has no key and value", "bad_entry")
        else:
            found.append(Found(key, SecretValue(value), f"{fields.get('secretPath', '')}/{key}".lstrip("/")))
    refusals.stop("nothing was imported: this is no export of Infisical")
    if not isinstance(tree, list):
        raise broken("this is no export of Infisical")
    return found


def read_compose(data: bytes) -> list[Found]:
    """What stands as plain text in the ``environment`` of services; Compose's own variables and references are passed over.

    Raises :class:`InvalidInput`.
    """
    try:
        document = parse(data)
        if document.fault is not None:
            raise document.fault
        captures, reader = Walk(document).run().captures, Reader(document)
        nodes = [(one.service, reader.node(one.event)) for one in captures if one.name == "environment"]
    except DocumentFault as fault:
        raise broken(fault.rule, f"line {fault.line}, column {fault.column}") from None
    return [
        Found(key, SecretValue(text), f"{service}.{key}")
        for service, node in nodes
        for key, value in environment_pairs(node)
        if (text := literal(value)) is not None
    ]


def environment_pairs(node: Node) -> Iterator[tuple[str, str]]:
    """Keys and texts of an ``environment``, in either form."""
    if isinstance(node, dict):
        yield from ((key, leaf.text) for key, leaf in node.items() if isinstance(leaf, Leaf))
    for item in node if isinstance(node, list) else []:
        if isinstance(item, Leaf) and "=" in item.text:
            key, _, value = item.text.partition("=")
            yield key, value


def literal(text: str) -> str | None:
    """The text that a container gets for ``text``, or None where Compose would look anything up."""
    if "$" in text.replace("$$", "") or scan(text).tokens:
        return None
    return text.replace("$$", "$")

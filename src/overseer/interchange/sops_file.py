"""SOPS files with age keys: YAML, JSON, dotenv and binary, as SOPS 3 writes them.

Guarantees: every value is bound to its path, and the digest over all values is checked before any of them is given,
so a value that was changed, moved, added in plain text or taken away is found. What it will not do: files whose data key needs
several parties (key groups), other key services, INI.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any, Final

from overseer.core.errors import DecryptionFailed
from overseer.core.secret_value import SecretValue
from overseer.crypto.sops_values import ONLY_ENCRYPTED, check_digest, is_encrypted, open_value
from overseer.interchange.found import Found, broken, decoded
from overseer.interchange.sops_tree import METADATA, Leaf, digested, json_tree, leaves, yaml_tree
from overseer.interchange.structured import flat

_LISTED: Final = re.compile(r"(?P<list>[a-z_]+)__list_(?P<number>[0-9]{1,3})__map_(?P<field>[a-z_]+)")
#: Opens an age file: the data key stands in one for each recipient.
OpenKey = Callable[[bytes], SecretValue]
FORMS: Final = ("yaml", "json", "dotenv", "binary")


def read_sops(data: bytes, form: str, open_key: OpenKey, *, name: str = "data") -> list[Found]:
    """The values of a file of ``form``; ``name`` is what the one value of a binary file is called.

    Raises :class:`InvalidInput` for what is no such file, :class:`DecryptionFailed` for one that does not open or verify.
    """
    text = decoded(data)
    tree = {"yaml": yaml_tree, "dotenv": _dotenv}.get(form, json_tree)(text)
    if not isinstance(tree, dict):
        raise broken("this is no SOPS file: it holds no mapping")
    metadata = _plain(tree.pop(METADATA, None))
    if not isinstance(metadata, dict) or "mac" not in metadata:
        raise broken("this is no SOPS file: it has no 'sops' with a 'mac'")
    key = _data_key(metadata, open_key)
    only_encrypted = str(metadata.get("mac_only_encrypted", "")).lower() == "true"
    check_digest(_opened(leaves(tree), key, only_encrypted=only_encrypted), _mac(metadata, key))
    if form == "binary":
        leaf = tree.get("data")
        if not isinstance(leaf, Leaf):
            raise broken("this is no binary SOPS file: it has no 'data'")
        return [Found(name, SecretValue(leaf.text))]
    return flat(_values(tree))


def _opened(found: Iterable[Leaf], key: bytes, *, only_encrypted: bool) -> Iterator[bytes]:
    """Opens each leaf in place and gives what is digested of it."""
    if only_encrypted:
        yield ONLY_ENCRYPTED
    for leaf in found:
        if leaf.kind == "null":
            continue
        encrypted = is_encrypted(leaf.text)
        if encrypted:
            plaintext, kind = open_value(key, leaf.text, leaf.path)
            try:
                leaf.text = plaintext.decode("utf-8")
            except UnicodeDecodeError:
                raise broken(f"the value of {leaf.path[:-1]} is not UTF-8 text") from None
            leaf.kind = "str" if kind in {"bytes", "time"} else kind
        if encrypted or not only_encrypted:
            yield digested(leaf.text, leaf.kind)


def _data_key(metadata: dict[str, Any], open_key: OpenKey) -> bytes:
    recipients = metadata.get("age")
    if metadata.get("key_groups") or not isinstance(recipients, list) or not recipients:
        raise broken("only SOPS files with age recipients and without key groups can be read")
    for number, one in enumerate(recipients):
        sealed = one.get("enc") if isinstance(one, dict) else None
        if not isinstance(sealed, str):
            raise broken("a recipient of the file has no 'enc'")
        try:
            return open_key(sealed.encode("utf-8")).reveal()
        except DecryptionFailed:
            if number == len(recipients) - 1:
                raise
    raise AssertionError  # the list is not empty


def _mac(metadata: dict[str, Any], key: bytes) -> bytes:
    moment = str(metadata.get("lastmodified", ""))
    try:
        datetime.fromisoformat(moment.replace("Z", "+00:00"))
    except ValueError:
        raise broken("the file's 'lastmodified' is no time") from None
    return open_value(key, str(metadata["mac"]), moment)[0]


def _plain(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _plain(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_plain(value) for value in tree]
    return tree.text if isinstance(tree, Leaf) else tree


def _values(tree: Any) -> Any:
    """As :func:`_plain` for people's values: a switch is ``true`` or ``false``, an empty one is empty."""
    if isinstance(tree, dict):
        return {key: _values(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_values(value) for value in tree]
    if tree.kind == "null":
        return None
    return tree.text.lower() if tree.kind == "bool" else tree.text


def _dotenv(text: str) -> dict[str, Any]:
    """SOPS's own, simpler grammar: one assignment a line, without quotes, a line break written as ``\\n``."""
    tree: dict[str, Any] = {METADATA: {}}
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.startswith("#"):
            continue
        key, equals, value = line.partition("=")
        if not equals:
            raise broken("a line is no assignment", f"line {number}")
        leaf = Leaf(value.replace("\\n", "\n"), "str")
        if key.startswith("sops_"):
            _set_metadata(tree[METADATA], key.removeprefix("sops_"), leaf)
        else:
            tree[key] = leaf
    return tree


def _set_metadata(metadata: dict[str, Any], key: str, leaf: Leaf) -> None:
    listed = _LISTED.fullmatch(key)
    if listed is None:
        metadata[key] = leaf
        return
    items = metadata.setdefault(listed["list"], [])
    number = int(listed["number"])
    while len(items) <= number:
        items.append({})
    items[number][listed["field"]] = leaf

"""Bodies for every route, made from the messages themselves: the least that is valid, and everything that is not."""

from __future__ import annotations

from typing import Any, Final
from uuid import uuid4

import msgspec
from hypothesis import strategies as st

from overseer.server.api.route import Route

#: Fields whose least valid text is not just a name.
_LEAST: Final[dict[str, Any]] = {
    "operations": [{"operation": "delete", "id": "0190f3c2-0000-7000-8000-000000000000"}],
    "scope": {"app": None, "environment": None, "node": None},
    "entries": [{"name": "a-name", "value": "v"}],
    "files": [{"path": "compose.yaml", "content": "services: {}"}],
    "actions": ["reveal"],
    "recipients": ["age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj"],
    "ref": "apps/shop/db",
    "settings": {},
    "decision": "refuse",
    "role": "viewer",
    "permission": "secret:reveal",
    "permissions": ["secret:list"],
    "reason": "nobody answers the telephone",
    "deployments": [],
    "holdings": [],
    "value": "v",
    "state": "succeeded",
    "action": "undeploy",
    "nonce": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    "version": 1,
    "app": "no-such-app",
    "node": "no-such-node",
    "environment": "no-such-environment",
    "principal": "me",
    "expires_in": 3600,
    "wait_seconds": 0,
    "target": "nightly",
}
_KEYS: Final = ("", "a", "\0", "a\0b", "-", "*", "é", "\ufffe", "a" * 300)
_TEXTS: Final = (*_KEYS, "x" * 70_000, "../x", "hex:32", "hex:99999999", str(uuid4()))
_TIMES: Final = ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "2030-01-01T00:00:00", "2000-01-01T00:00:00Z")


def least_body(type_: Any) -> dict[str, Any]:
    """A body that obeys the message's types, with its required fields and those that the services ask for."""
    body: dict[str, Any] = {}
    for field in msgspec.structs.fields(type_):
        if field.required or field.name in ("value", "wait_seconds"):
            body[field.name] = _LEAST.get(field.name, "a-name")
    return body


def path_of(route: Route, *, name: str = "no-such-name") -> str:
    """The route's path for things that do not exist."""
    return route.path.format_map({p: str(uuid4()) if p.endswith("_id") else name for p in route.parameters})


json_values: Final = st.recursive(
    st.none() | st.booleans() | st.sampled_from([0, -1, 1, 2**31 - 1, -(2**31) + 1, 0.5]) | st.sampled_from(_TEXTS + _TIMES),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_KEYS), inner, max_size=3),
    max_leaves=6,
)


def bodies(type_: Any) -> st.SearchStrategy[dict[str, Any]]:
    """Bodies with the message's fields and values of every kind, many of them of the right type."""
    info = msgspec.inspect.type_info(type_)
    assert isinstance(info, msgspec.inspect.StructType)
    known = {field.encode_name: values_of(field.type) for field in info.fields}
    required = {field.encode_name: known[field.encode_name] for field in info.fields if field.required}
    optional = {name: strategy for name, strategy in known.items() if name not in required}
    return st.fixed_dictionaries(required, optional=optional)


def values_of(kind: msgspec.inspect.Type) -> st.SearchStrategy[Any]:  # noqa: PLR0911  # a table
    """Values of one type, ugly but right."""
    inspect = msgspec.inspect
    match kind:
        case inspect.StrType():
            return st.sampled_from(_TEXTS)
        case inspect.IntType():
            return st.sampled_from([0, 1, -1, 60, 2**31 - 1, -(2**31) + 1])
        case inspect.BoolType():
            return st.booleans()
        case inspect.NoneType():
            return st.none()
        case inspect.DateTimeType():
            return st.sampled_from(_TIMES)
        case inspect.ListType(item_type=item):
            return st.lists(values_of(item), max_size=3)
        case inspect.DictType(value_type=value):
            return st.dictionaries(st.sampled_from(_KEYS), values_of(value), max_size=3)
        case inspect.UnionType(types=types):
            return st.one_of([values_of(one) for one in types])
        case inspect.StructType(cls=cls):
            return bodies(cls)
    return json_values

"""A refused body is explained by place and rule, and nothing of it is said back."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from overseer.core.errors import InvalidInput, OverseerError
from overseer.server.api.catalogue import ROUTES
from overseer.server.api.validation import convert_query, decode_body
from overseer.wire.deployments import BundleCreate
from overseer.wire.secrets import SecretCreate

CANARY = "cAnArY5e1f"
BODIES = sorted({route.body for route in ROUTES if route.body is not None}, key=lambda type_: type_.__name__)
QUERIES = sorted({route.query for route in ROUTES if route.query is not None}, key=lambda type_: type_.__name__)


class One(msgspec.Struct, tag="one"):
    a: int = 0


class Two(msgspec.Struct, tag="two"):
    b: int = 0


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    """Every kind of field whose refusal could quote the input."""

    word: str = ""
    choice: Literal["a", "b"] = "a"
    number: int = 0
    tagged: One | Two | None = None
    names: dict[str, int] = {}
    deep: list[dict[str, list[int]]] = []


def said(error: OverseerError) -> str:
    return error.message + "".join(f"{p.place}{p.rule}{p.code}" for p in error.problems)


def refusal(decode: Callable[[], object]) -> str:
    """What a refused input is answered, '' where it passes."""
    try:
        decode()
    except InvalidInput as error:
        return said(error)
    return ""


@pytest.mark.parametrize(
    ("body", "place", "code"),
    [
        (b'{"name":5}', "body.name", "invalid"),
        (b"{}", "body.name", "missing"),
        (b'{"name":"a","labels":{"%(c)s":5}}', "body.labels[...]", "invalid"),
        (b'{"name":"a","%(c)s":5}', "body", "unknown_field"),
        (b'{"name":"a","expires_at":"%(c)s"}', "body.expires_at", "invalid"),
        (b'{"name":"a","generate":{"%(c)s":1}}', "body.generate", "unknown_field"),
        (b'{"name":"a","generate":{"length":"%(c)s"}}', "body.generate.length", "invalid"),
        (b'{"name":"a","rotation":{"x":1e999}}', "body.rotation[...]", "invalid"),
        (b'{"name":"%(c)s"', "body", "not_json"),
        (b"%(c)s", "body", "not_json"),
        (b'{"name":"%(c)s\xff"}', "body", "not_json"),
        (b'{"name":"%(c)s\\ud800"}', "body", "not_json"),
        (b'{"name":"a","rotation":{"x":NaN}}', "body", "not_json"),
        (b'["%(c)s"]', "body", "invalid"),
        (b'{"name":"a","name":"%(c)s"}', "body", "doubled_key"),
    ],
)
def test_problems_have_a_place_and_hold_no_input(body: bytes, place: str, code: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        decode_body(body.replace(b"%(c)s", CANARY.encode()), SecretCreate)
    assert [(p.place, p.code) for p in caught.value.problems] == [(place, code)]
    assert CANARY not in said(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("body", "place", "code"),
    [({"choice": CANARY}, "body.choice", "not_allowed"), ({"tagged": {"type": CANARY}}, "body.tagged.type", "invalid")],
)
def test_an_unknown_word_is_not_said_back(body: dict[str, Any], place: str, code: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        decode_body(json.dumps(body).encode(), Strict)
    assert [(p.place, p.code) for p in caught.value.problems] == [(place, code)]
    assert CANARY not in said(caught.value)


poisoned = st.recursive(
    st.sampled_from([CANARY, CANARY + "`$.x", f"{CANARY}' - at `$.y`", 1, None, True, 2.5]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([CANARY, "`", "name", "a.b"]), inner, max_size=3),
    max_leaves=6,
)


@given(st.data())
def test_no_body_of_any_route_is_echoed(data: st.DataObject) -> None:
    type_ = data.draw(st.sampled_from([*BODIES, Strict]))
    fields = [*msgspec.structs.fields(type_)]
    body: dict[str, Any] = {f.name: data.draw(poisoned) for f in fields if data.draw(st.booleans())}
    if data.draw(st.booleans()):
        body[CANARY] = data.draw(poisoned)
    assert CANARY not in refusal(lambda: decode_body(json.dumps(body).encode(), type_))


@given(st.data())
def test_no_query_of_any_route_is_echoed(data: st.DataObject) -> None:
    type_ = data.draw(st.sampled_from(QUERIES))
    names = [f.name for f in msgspec.structs.fields(type_)]
    query = data.draw(st.dictionaries(st.sampled_from([*names, CANARY]), st.sampled_from([CANARY, "", "-1", "1"]), max_size=4))
    assert CANARY not in refusal(lambda: convert_query(query, type_))


def test_what_is_right_passes() -> None:
    assert decode_body(b'{"name":"a","value":"\\u0000\xc3\xa9"}', SecretCreate).value == "\0é"
    assert decode_body(b'{"files":[{"path":"a","content":"{{{{"}]}', BundleCreate).files[0].content == "{{{{"

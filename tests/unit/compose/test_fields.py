"""A field of a JSON value: what is nested too deeply is refused, at whatever depth."""

from __future__ import annotations

import pytest

from overseer.compose.fields import MAX_DEPTH, select_field
from overseer.core.errors import InvalidInput
from overseer.core.secret_value import SecretValue

SHAPES = pytest.mark.parametrize(("begin", "end"), [("[", "]"), ('{"a":', "}")], ids=["lists", "objects"])


@SHAPES
def test_a_value_of_the_greatest_depth_is_given(begin: str, end: str) -> None:
    inner = begin * MAX_DEPTH + "1.10" + end * MAX_DEPTH
    assert select_field(SecretValue(f'{{"f":{inner}}}'), "f", "deep").reveal().decode() == inner


@SHAPES
@pytest.mark.parametrize("levels", [MAX_DEPTH + 1, 500, 900, 100_000])
def test_a_deeper_one_is_refused_by_a_rule(begin: str, end: str, levels: int) -> None:
    value = SecretValue('{"f":' + begin * levels + "1" + end * levels + "}")
    with pytest.raises(InvalidInput, match="secret deep is nested deeper than 100 levels"):
        select_field(value, "f", "deep")


def test_depth_beside_the_field_does_not_matter() -> None:
    value = SecretValue('{"f":"text","g":' + "[" * 200 + "]" * 200 + "}")
    assert select_field(value, "f", "deep").reveal() == b"text"

"""Unquoted references with a blank in a list: Compose sees a mapping and says nothing that helps; we name the place."""

from __future__ import annotations

import pytest

from overseer.compose.bundle import Bundle
from overseer.compose.fixes import fix_file
from overseer.compose.grammar import Reference
from overseer.compose.references import find_references
from overseer.core.secret_value import SecretValue
from tests.docker.compose_language.real_compose import ComposeRefused, RealCompose


@pytest.mark.parametrize("item", ["A=${SECRET: db}", "KEY=${secret: db}", "x${ SECRET: db}y"])
def test_the_place_is_named_and_the_fix_arrives(compose: RealCompose, item: str) -> None:
    text = f"services:\n  a:\n    image: x\n    environment:\n      - {item}\n"
    files = {"compose.yaml": text.encode()}
    with pytest.raises(ComposeRefused, match="unexpected type map"):
        compose.model(files)
    (problem,) = find_references(Bundle(files)).problems
    assert (problem.place, problem.code) == (f"compose.yaml:5:{9 + item.index('$')}", "malformed_reference")
    assert "${SECRET:name}" in problem.rule
    fixed = {"compose.yaml": fix_file(files["compose.yaml"])}
    if item.endswith("}"):
        key = item.partition("=")[0]
        model = compose.spliced(fixed, {Reference("db"): SecretValue("pa$s")})
        assert model["services"]["a"]["environment"] == {key: "pa$s"}

"""Names of Compose projects: one for each app and environment, and Compose takes them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overseer.server.services.project_names import project_name

# Few letters, so that pairs that look alike are met often.
NAMES = st.from_regex(r"[aAb0_][aAb0_.-]{0,5}", fullmatch=True)
PAIRS = st.tuples(NAMES, st.none() | NAMES)


@settings(max_examples=300)
@given(st.lists(PAIRS, unique=True, min_size=2, max_size=60))
def test_no_two_places_have_one_name(pairs: list[tuple[str, str | None]]) -> None:
    names = {project_name(*pair) for pair in pairs}
    assert len(names) == len(pairs)


@given(st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", fullmatch=True), st.none() | NAMES)
def test_compose_and_the_file_system_take_every_name(app: str, environment: str | None) -> None:
    name = project_name(app, environment)
    assert re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name)
    assert len(name) <= 129


@given(st.from_regex(r"[a-z0-9][a-z0-9_]{0,5}", fullmatch=True), st.from_regex(r"[a-z0-9][a-z0-9_]{0,5}", fullmatch=True))
def test_an_app_named_like_anothers_project_has_another_project(app: str, environment: str) -> None:
    taken = project_name(app, environment)
    assert taken == f"{app}-{environment}"
    assert project_name(taken, None) != taken
    assert project_name(project_name(taken, None), None) != project_name(taken, None)


@pytest.mark.parametrize(
    ("app", "environment", "name"),
    [("shop", "demo", "shop-demo"), ("shop", None, "shop"), ("my_shop", "prod_1", "my_shop-prod_1")],
)
def test_plain_names_stay_as_they_are(app: str, environment: str | None, name: str) -> None:
    assert project_name(app, environment) == name


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("shop-prod", None), ("shop", "prod")),
        (("a-b", "c"), ("a", "b-c")),
        (("Shop", None), ("shop", None)),
        (("a.b", "c"), ("a-b", "c")),
        (("_a", "c"), ("a", "c")),
        (("x" * 100 + "a", None), ("x" * 100 + "b", None)),
        (("a" * 65, None), ("a" * 64, None)),
    ],
)
def test_pairs_that_look_alike(one: tuple[str, str | None], other: tuple[str, str | None]) -> None:
    assert project_name(*one) != project_name(*other)

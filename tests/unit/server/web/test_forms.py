"""Forms as browsers send them."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overseer.core.errors import InvalidInput
from overseer.server.web.forms import MAX_FIELDS, Form, read_form

FIELDS = st.lists(st.tuples(st.text(min_size=1, max_size=20), st.text(max_size=40)), max_size=20)


@given(FIELDS)
def test_what_a_browser_encodes_is_read(pairs: list[tuple[str, str]]) -> None:
    form = read_form(urlencode(pairs).encode("ascii"))
    assert dict(form) == dict(pairs)
    for name in form:
        assert form.all(name) == [value for key, value in pairs if key == name]


def test_what_a_form_holds_is_not_in_its_repr() -> None:
    assert "hunter2" not in repr(read_form(b"value=hunter2"))


@pytest.mark.parametrize("body", [b"a=%ff", b"a=\xc3\xa9", b"&".join(b"a=1" for _ in range(MAX_FIELDS + 1))])
def test_what_is_no_form_is_refused_without_its_content(body: bytes) -> None:
    with pytest.raises(InvalidInput) as refused:
        read_form(body)
    assert refused.value.__cause__ is None


def test_blanks_around_a_field_do_not_count_and_empty_is_not_set() -> None:
    form = read_form(b"name=+shop+&app=&days=")
    assert (form.text("name"), form.optional("app"), form.number("days", 90)) == ("shop", None, 90)
    assert (form.text("absent"), form.checked("absent"), form.checked("app")) == ("", False, True)


@pytest.mark.parametrize("text", ["x", "-1", "1e3", "٣", "1" * 10, "1.5"])
def test_a_number_is_a_whole_number(text: str) -> None:
    with pytest.raises(InvalidInput, match="days is a whole number"):
        Form([("days", text)]).number("days")


def test_dates_are_utc() -> None:
    assert Form([("at", "2027-01-31")]).moment("at") == datetime(2027, 1, 31, tzinfo=UTC)
    assert Form([("at", "2027-01-31T10:30")]).moment("at") == datetime(2027, 1, 31, 10, 30, tzinfo=UTC)
    with pytest.raises(InvalidInput, match="at is a date"):
        Form([("at", "tomorrow")]).moment("at")

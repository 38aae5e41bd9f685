"""What a row says as a name can be one, whatever a caller sent in its place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overseer.core.audit_events import AuditAction, AuditEvent, Outcome
from overseer.core.identifiers import is_name
from overseer.server.storage.audit_rows import NO_NAME, _columns, recorded_name


@pytest.mark.parametrize("text", ["", "*", "db-*", "db-password", "shop.Prod_1", "n" * 128])
def test_names_and_prefixes_of_names_stay(text: str) -> None:
    assert recorded_name(text) == text


@pytest.mark.parametrize("text", ["two words", "n" * 129, "-x", "a**", "*a", "é", "a\0", "a\n", "pa$$word", "a" * 5000 + "*"])
def test_other_texts_do_not(text: str) -> None:
    assert recorded_name(text) == NO_NAME


def test_no_name_can_be_taken_for_that() -> None:
    assert not is_name(NO_NAME)


@given(st.text(), st.text(), st.text(), st.text())
def test_all_four_names_of_a_row_are_looked_at(name: str, app: str, environment: str, node: str) -> None:
    names = {"resource_name": name, "app": app, "environment": environment, "node": node}
    columns = _columns(AuditEvent(AuditAction.APP_CREATE, Outcome.DENIED, "id", **names))  # type: ignore[arg-type]
    assert columns[11:15] == [recorded_name(text) for text in (name, app, environment, node)]

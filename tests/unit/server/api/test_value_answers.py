"""A value is text exactly where its bytes are UTF-8."""

from __future__ import annotations

import base64
from types import SimpleNamespace
from uuid import uuid4

from hypothesis import example, given
from hypothesis import strategies as st

from overseer.core.secret_value import SecretValue
from overseer.server.api.value_answers import value_answer


@given(st.binary() | st.text().map(lambda t: t.encode()))
@example(b"\xed\xa0\x80")  # a surrogate
@example(b"")
@example(b"\0")
def test_bytes_come_back_as_they_were(plain: bytes) -> None:
    revealed = SimpleNamespace(id=uuid4(), name="a", version=1, value=SecretValue(plain), stale=False)
    answer = value_answer(revealed)  # type: ignore[arg-type]
    assert (answer.value is None) != (answer.value_base64 is None)
    if answer.value is not None:
        assert answer.value.encode("utf-8") == plain
    else:
        assert base64.b64decode(answer.value_base64 or "", validate=True) == plain

"""The splice way on files without references: every byte stays, whatever the file is."""

from __future__ import annotations

import yaml
from hypothesis import given
from hypothesis import strategies as st

from overseer.compose.grammar import Reference
from overseer.compose.render import REFERENCE_BYTES, render_file
from overseer.compose.render_env import render_env_file
from overseer.core.secret_value import SecretValue

VALUES = {Reference(name): SecretValue("canary") for name in ("a", "x", "SECRET")}
SCALARS = st.text(max_size=8) | st.sampled_from(
    ["${A}", "$$", "$A", "${A:-b}", "${SECRET}", "$SECRET", "${SECRETS:-}", "!x", "*a"]
)
FILES = st.recursive(
    SCALARS | st.integers() | st.none() | st.floats(allow_nan=False) | st.booleans(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(SCALARS, inner, max_size=4),
    max_leaves=20,
)


def _unchanged(data: bytes) -> None:
    for render in (render_file, render_env_file):
        rendered = render(data, VALUES)
        assert (rendered.text.reveal(), rendered.references) == (data, ())


@given(FILES, st.booleans(), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_any_yaml_file(tree: object, flow: bool, line_end: str, bom: bool) -> None:
    text = yaml.safe_dump({"services": {"web": {"environment": tree}}}, default_flow_style=flow, allow_unicode=True)
    data = (("\ufeff" if bom else "") + text.replace("\n", line_end)).encode()
    if not REFERENCE_BYTES.search(data):
        _unchanged(data)


@given(st.binary(max_size=80) | st.text("ab:-#&*!|>'\"%@`{}[]?,\n\t $\0\x85é", max_size=60).map(str.encode))
def test_any_bytes(data: bytes) -> None:
    if not REFERENCE_BYTES.search(data):
        _unchanged(data)

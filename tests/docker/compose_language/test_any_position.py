"""Any text value in every position where a reference may stand, and several files as one text, by the real Compose."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overseer.cli.compose_rendering import join_documents
from overseer.compose.grammar import Reference
from overseer.compose.render import render_file
from overseer.core.secret_value import SecretValue
from tests.docker.compose_language.real_compose import RealCompose, secrets
from tests.docker.compose_language.test_exactness import SLOW, SPECIAL, TEXT

SERVICE = """\
  s{n}:
    image: x
    command: ["c", "${{SECRET:v{n}}}"]
    entrypoint: [e, "<${{SECRET:v{n}}}>"]
    environment:
      - LIST=${{SECRET:v{n}}}
      - 'QUOTED="${{SECRET:v{n}}}"'
    healthcheck: {{test: [CMD, "${{SECRET:v{n}}}"]}}
    labels: {{a.b: "${{SECRET:v{n}}}"}}
    annotations: {{c.d: "${{SECRET:v{n}}}"}}
    logging: {{driver: json-file, options: {{tag: "${{SECRET:v{n}}}"}}}}
    post_start: [{{command: [p, "${{SECRET:v{n}}}"]}}]
"""
NOTE = 'x-note{n}: ["${{SECRET:v{n}}}"]\n'
CONTENT = '  f{n}:\n    content: "x${{SECRET:v{n}}}y"\n'


def _in_service(service: dict[str, Any]) -> dict[str, str]:
    return {
        "command": service["command"][1],
        "entrypoint": service["entrypoint"][1],
        "list": service["environment"]["LIST"],
        "quoted": service["environment"]["QUOTED"],
        "healthcheck": service["healthcheck"]["test"][1],
        "label": service["labels"]["a.b"],
        "annotation": service["annotations"]["c.d"],
        "option": service["logging"]["options"]["tag"],
        "hook": service["post_start"][0]["command"][1],
    }


def _expected(text: str) -> dict[str, str]:
    plain = dict.fromkeys(["command", "list", "healthcheck", "label", "annotation", "option", "hook"], text)
    return {**plain, "entrypoint": f"<{text}>", "quoted": f'"{text}"'}


@settings(SLOW, max_examples=15)
@given(texts=st.lists(TEXT | SPECIAL, min_size=1, max_size=12))
def test_any_text_in_every_position(compose: RealCompose, texts: list[str]) -> None:
    numbers = range(len(texts))
    services = "".join(NOTE.format(n=n) for n in numbers) + "services:\n" + "".join(SERVICE.format(n=n) for n in numbers)
    used = services + "  all:\n    image: x\n    configs: [" + ", ".join(f"f{n}" for n in numbers) + "]\n"
    files = {"compose.yaml": (used + "configs:\n" + "".join(CONTENT.format(n=n) for n in numbers)).encode()}
    values = {Reference(f"v{n}"): SecretValue(text) for n, text in enumerate(texts)}
    model = compose.spliced(files, values)
    for n, text in enumerate(texts):
        assert _in_service(model["services"][f"s{n}"]) == _expected(text)
        assert model[f"x-note{n}"] == [text]
        assert model["configs"][f"f{n}"]["content"] == f"x{text}y"
    placed = compose.placed({"compose.yaml": services.encode()}, values)
    assert [_in_service(placed["services"][f"s{n}"]) for n in numbers] == [_expected(text) for text in texts]


FIRST = """\
services:
  a:
    image: x
    ports: ['80']
    command: [a]
    environment:
      - A=${SECRET:v}
      - B=1
    env_file: [e.env]"""
SECOND = """\
services:
  a:
    ports: !reset []
    command: !override [b, '${SECRET:v}']
    environment: {B: '${SECRET:v}'}
  b: {image: y}
"""


@pytest.mark.parametrize("head", ["", "\ufeff", "---\n", "# c\n---\n", "%YAML 1.1\n---\n", "\ufeff# c\n"])
@pytest.mark.parametrize("end", ["", "\n", "\n...\n", "\r\n"])
def test_several_files_as_documents_are_what_compose_makes_of_them_with_f(compose: RealCompose, head: str, end: str) -> None:
    values = secrets(v="pa$s ${HOME}")
    parts = [render_file(text.encode(), values).text.reveal() for text in (FIRST + end, head + SECOND, "name: shop\n")]
    files = {"a.yaml": parts[0], "b.yaml": parts[1], "c.yaml": parts[2], "e.env": b"C=3\n"}
    apart = compose.model(files, ("a.yaml", "b.yaml", "c.yaml"))
    assert apart["services"]["a"]["environment"] == {"A": "pa$s ${HOME}", "B": "pa$s ${HOME}", "C": "3"}
    assert compose.model({"all.yaml": join_documents(parts), "e.env": b"C=3\n"}, ("all.yaml",)) == apart

"""Any text value arrives exactly, by both ways, in YAML and in env_files; the two ways agree."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from overseer.compose.emit import double_quoted
from overseer.compose.grammar import Reference
from overseer.core.secret_value import SecretValue
from tests.docker.compose_language.real_compose import RealCompose

# Each example is one or two runs of a program: few examples, many values in each.
SLOW = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
SPECIAL = st.text(st.sampled_from(list("${}:-?\\\"' #\n\r\t=&*!|>%@`[],aSECRT\x85\u2028\ufeff🙂")), max_size=16)
VALUES = st.lists(TEXT | SPECIAL, min_size=1, max_size=40)

STYLES = [
    "      K{n}: ${{SECRET:v{n}}}\n",
    "      K{n}: 'a ${{SECRET:v{n}}}'\n",
    '      K{n}: "${{SECRET:v{n}}}\\n"\n',
    "      K{n}: |\n        x ${{SECRET:v{n}}}\n",
    "      K{n}: >-\n        ${{SECRET:v{n}}}\n        y\n",
    "      K{n}: p${{SECRET:v{n}}}\n        q\n",
]
AROUND = [("", ""), ("a ", ""), ("", "\n"), ("x ", "\n"), ("", " y"), ("p", " q")]


def _values(texts: list[str]) -> dict[Reference, SecretValue]:
    return {Reference(f"v{number}"): SecretValue(text) for number, text in enumerate(texts)}


@pytest.mark.parametrize("way", ["spliced", "placed"])
@SLOW
@given(texts=VALUES)
def test_any_text_in_any_style_of_scalar(compose: RealCompose, way: str, texts: list[str]) -> None:
    body = "".join(STYLES[number % len(STYLES)].format(n=number) for number in range(len(texts)))
    files = {"compose.yaml": f"services:\n  a:\n    image: x\n    environment:\n{body}".encode()}
    environment = getattr(compose, way)(files, _values(texts))["services"]["a"]["environment"]
    wanted = {}
    for number, text in enumerate(texts):
        before, after = AROUND[number % len(AROUND)]
        wanted[f"K{number}"] = before + text + after
    assert environment == wanted


ENV_STYLES = ["K{n}=${{SECRET:v{n}}}\n", "K{n}: a${{SECRET:v{n}}} # c\n", 'export K{n}="x\\"${{SECRET:v{n}}}\n"\n', "K{n}='q' \n"]
ENV_AROUND = [("", ""), ("a", ""), ('x"', "\n"), None]


@pytest.mark.parametrize("way", ["spliced", "placed"])
@SLOW
@given(texts=VALUES)
def test_any_text_in_an_env_file(compose: RealCompose, way: str, texts: list[str]) -> None:
    body = "".join(ENV_STYLES[number % len(ENV_STYLES)].format(n=number) for number in range(len(texts)))
    files = {"compose.yaml": b"services: {a: {image: x, env_file: [e.env]}}\n", "e.env": body.encode()}
    environment = getattr(compose, way)(files, _values(texts))["services"]["a"]["environment"]
    for number, text in enumerate(texts):
        around = ENV_AROUND[number % len(ENV_AROUND)]
        assert environment[f"K{number}"] == ("q" if around is None else around[0] + text + around[1])


@SLOW
@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=60), min_size=1, max_size=60))
def test_the_emitter_round_trips_any_text(compose: RealCompose, texts: list[str]) -> None:
    """Raw emission, without our renderer: what is quoted is read back, NUL included."""
    items = ", ".join(double_quoted(text.replace("$", "$$")) for text in texts)
    model = compose.model({"compose.yaml": f"services: {{a: {{image: x, command: [{items}]}}}}".encode()})
    assert model["services"]["a"]["command"] == texts


NAMES = st.sampled_from(["a", "b", "c-d", "e.f"])
PIECES = st.lists(
    st.sampled_from(["x", " ", "$$", "$SET", "$HOME2", "${HOME2:-h}", "${UNSET}", "$${SECRET:a}", "é", "#", ": ", "'", "\\", "="])
    | NAMES.map(lambda name: "${SECRET:" + name + "}")
    | NAMES.map(lambda name: "${SECRET:" + name + ":-d}")
    | NAMES.map(lambda name: "${UNSET:-${SECRET:" + name + "}}")
    | NAMES.map(lambda name: "${SECRET:none:-${SECRET:" + name + "}}"),
    max_size=6,
).map("".join)


@settings(SLOW, max_examples=40)
@given(
    texts=st.lists(PIECES, min_size=1, max_size=30),
    values=st.fixed_dictionaries({name: st.text("ab$:-? é'\"\\#", max_size=8) for name in ("a", "b", "c-d", "e.f")}),
)
def test_the_two_ways_give_the_same_model(compose: RealCompose, texts: list[str], values: dict[str, str]) -> None:
    lines = "".join(f"      - {double_quoted(f'K{number}={text}')}\n" for number, text in enumerate(texts))
    arguments = ", ".join(double_quoted(text) for text in texts)
    head = f"services:\n  a:\n    image: x\n    command: [{arguments}]\n    environment:\n"
    files = {"compose.yaml": (head + lines).encode(), ".env": b"SET=s\n"}
    secrets = {Reference(name): SecretValue(text) for name, text in values.items()}
    assert compose.spliced(files, secrets) == compose.placed(files, secrets)

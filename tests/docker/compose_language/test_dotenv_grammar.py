"""The grammar of env_files, with Compose itself as the oracle: a reference is expanded exactly where ``${A}`` would be."""

from __future__ import annotations

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from overseer.compose.bundle import Bundle
from overseer.compose.references import find_references
from tests.docker.compose_language.real_compose import ComposeRefused, RealCompose, secrets

REFERENCE = "${SECRET:a}"
PIECES = st.sampled_from(
    [
        REFERENCE,
        "${A}",
        "$A",
        "$$",
        "\\$",
        "\\",
        "\\\\",
        '\\"',
        "\\'",
        '"',
        "'",
        " ",
        "  #c",
        "#",
        "\n",
        "\r\n",
        "\t",
        "v",
        "=",
        ":",
        "é",
        "\\n",
        "\x85",
    ]
)
LINES = st.lists(
    st.tuples(
        st.sampled_from(
            ["K{n}=", "K{n}: ", "K{n} = ", "export K{n}=", "  K{n}=", "K{n}.x-y=", "# K{n}=", "K{n}", "B AD{n}=", "K[{n}]="]
        ),
        st.sampled_from(["", '"', "'"]),
        st.lists(PIECES, max_size=6).map("".join),
    ).map(lambda line: line[0] + line[1] + line[2] + line[1]),
    min_size=1,
    max_size=6,
).map(lambda lines: "".join(line.replace("{n}", str(number)) + "\n" for number, line in enumerate(lines)))


def _files(env: str) -> dict[str, bytes]:
    return {"compose.yaml": b"services: {a: {image: x, env_file: [e.env]}}\n", "e.env": env.encode(), ".env": b"A=w\n"}


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(env=LINES)
@example(env=f"K='{REFERENCE}'\nL=\"{REFERENCE}\"\nM={REFERENCE} # {REFERENCE}\n")
@example(env=f'K="a\n{REFERENCE}\nb" # c\nL=1\n')
@example(env=f'K="\\{REFERENCE}\\\\{REFERENCE}"\n')
@example(env=f"K=${REFERENCE}$${REFERENCE}\n")
@example(env=f"\ufeffK={REFERENCE}\r\nL='{REFERENCE}\r\n'\r\n")
@example(env="K=1")
@example(env=f'K=a#{REFERENCE}\nL="x" {REFERENCE}\n')
def test_compose_agrees_about_every_file(compose: RealCompose, env: str) -> None:
    try:
        expected = compose.model(_files(env.replace(REFERENCE, "${A}")))["services"]["a"].get("environment")
    except ComposeRefused:
        expected = None  # whether we refuse it too, or leave it to Compose, nothing runs
    problems = find_references(Bundle(_files(env))).problems
    if expected is None or "" in expected:
        return  # a variable without a name, which Compose prints and then does not read back: nothing runs either
    assert problems == (), "Compose reads this file"
    for way in (compose.spliced, compose.placed):
        found = way(_files(env), secrets(a="w"))["services"]["a"].get("environment")
        # Where nothing is expanded the text stays as it was written, in both files.
        assert {key: value and value.replace(REFERENCE, "${A}") for key, value in found.items()} == expected


def test_a_raw_env_file_is_text(compose: RealCompose) -> None:
    files = {"compose.yaml": b"services: {a: {image: x, env_file: [{path: e.env, format: raw}]}}\n", "e.env": b"K=${SECRET:a}\n"}
    assert find_references(Bundle(files)).references == ()
    assert compose.placed(files, {})["services"]["a"]["environment"] == {"K": "${SECRET:a}"}


def test_the_variables_of_the_bundle_carry_references(compose: RealCompose) -> None:
    files = {"compose.yaml": b"services: {a: {image: x, environment: {K: 'x-${A}'}}}\n", ".env": b'A="${SECRET:a} $$"\n'}
    for way in (compose.spliced, compose.placed):
        assert way(files, secrets(a="$v w"))["services"]["a"]["environment"] == {"K": "x-$v w $"}

"""Every row of the language's table, both ways, against the real ``docker compose config``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from overseer.compose.bundle import Bundle
from overseer.compose.grammar import Reference
from overseer.compose.placeholders import to_placeholders
from overseer.compose.references import find_references
from overseer.compose.render import render_file
from overseer.core.errors import ReferencesRefused
from overseer.core.secret_value import SecretValue
from tests.docker.compose_language.real_compose import ComposeRefused, RealCompose, secrets

PEM = "-----BEGIN KEY-----\nMIIB\tVg==\r\n  indented\n-----END KEY-----\n"
HARD_VALUES = [
    "pa$word",
    "a$$b",
    "${HOME}",
    "${SECRET:x}",
    "$HOME",
    "${",
    "$",
    "$$$",
    "yes",
    "null",
    "~",
    "1e3",
    "0o17",
    "010",
    "1_000",
    "1:30",
    ".inf",
    "2024-01-01",
    "true",
    "<<",
    "=",
    "0x1F",
    "a: b",
    "a #b",
    "- a",
    "*x",
    "&x",
    "!x",
    "@x",
    "%x",
    "{",
    "[",
    "}",
    "]",
    "'",
    '"',
    "'\"",
    "\\",
    "\\n",
    "`",
    "|",
    ">",
    "?",
    ",",
    "a,b",
    "",
    " ",
    " lead",
    "trail ",
    "\t",
    "\n",
    "\n\n",
    "a\n",
    "\na",
    "\r",
    "\r\n",
    "a\r\nb",
    PEM,
    PEM.rstrip("\n"),
    "\x85",
    "a\x85b",
    "\u2028",
    "\u2029",
    "\ufeff",
    "\ufeffa",
    "\uffff",
    "\ufffe",
    "\x80",
    "\x9f",
    "\x7f",
    "\x01",
    "\x1b[0m",
    "\x0b",
    "🙂",
    "é",
    "日本",
    "e\u0301",
    "\U0010ffff",
    "K=V",
    "=",
    "a=b=c",
    "x" * 5000,
    "a\\u0041",
    "#",
    " #",
    "---",
    "...",
    "%YAML 1.2",
]

POSITIONS: dict[str, tuple[str, Callable[[dict[str, Any]], Any]]] = {
    "mapping": ('environment: {K: "${SECRET:v}"}', lambda s: s["environment"]["K"]),
    "plain": ("environment:\n      K: ${SECRET:v}", lambda s: s["environment"]["K"]),
    "single": ("environment:\n      K: '${SECRET:v}'", lambda s: s["environment"]["K"]),
    "list": ("environment:\n      - K=${SECRET:v}", lambda s: s["environment"]["K"]),
    "literal": ("environment:\n      K: |-\n        ${SECRET:v}\n", lambda s: s["environment"]["K"]),
    "folded": ("environment:\n      K: >-\n        ${SECRET:v}\n", lambda s: s["environment"]["K"]),
    "command list": ('command: ["echo", "${SECRET:v}"]', lambda s: s["command"][1]),
    "entrypoint list": ("entrypoint:\n      - run\n      - ${SECRET:v}", lambda s: s["entrypoint"][1]),
    "healthcheck list": ('healthcheck: {test: [CMD, "${SECRET:v}"]}', lambda s: s["healthcheck"]["test"][1]),
    "label": ('labels: {l: "${SECRET:v}"}', lambda s: s["labels"]["l"]),
    "label list": ('labels: ["l=${SECRET:v}"]', lambda s: s["labels"]["l"]),
    "build argument": ('build: {context: /x, args: {a: "${SECRET:v}"}}', lambda s: s["build"]["args"]["a"]),
    "logging": ('logging: {driver: x, options: {token: "${SECRET:v}"}}', lambda s: s["logging"]["options"]["token"]),
}


def one_service(body: str) -> dict[str, bytes]:
    return {"compose.yaml": f"services:\n  a:\n    image: x\n    {body}\n".encode()}


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("way", ["spliced", "placed"])
def test_every_hard_value_arrives_exactly(compose: RealCompose, way: str, position: str) -> None:
    """One service per value, so that one run of Compose proves them all for a position."""
    body, get = POSITIONS[position]
    if position == "build argument":
        body = body.replace("/x", ".")
    values = {Reference(f"v{number}"): SecretValue(text) for number, text in enumerate(HARD_VALUES)}
    services = "".join(
        f"  s{number}:\n    image: x\n    {body.replace('SECRET:v', f'SECRET:v{number}')}\n" for number in range(len(HARD_VALUES))
    )
    model = getattr(compose, way)({"compose.yaml": f"services:\n{services}".encode()}, values)
    assert [get(model["services"][f"s{number}"]) for number in range(len(HARD_VALUES))] == HARD_VALUES


@pytest.mark.parametrize("way", ["spliced", "placed"])
@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("$${SECRET:a}", "${SECRET:a}"),
        ("$$${SECRET:a}", "$v$1"),
        ("$$$${SECRET:a}", "$${SECRET:a}"),
        ("<${SECRET:a}|${SECRET:b}>", "<v$1|two>"),
        ("${HOME2:-home}/${SECRET:a}", "home/v$1"),
        ("${DB:-${SECRET:a}}", "v$1"),
        ("${SET:-${SECRET:missing:-}}", "set"),
        ("${SET:+${SECRET:a}}", "v$1"),
        ("${DB:-x${SECRET:a}y}", "xv$1y"),
        ("${DB-${OTHER:-${SECRET:a}}}", "v$1"),
        ("${SECRET:missing:-fallback}", "fallback"),
        ("${SECRET:missing:-a b: #c}", "a b: #c"),
        ("${SECRET:missing:-${SET}}", "set"),
        ("${SECRET:missing:-${SECRET:a}}", "v$1"),
        ("${SECRET:missing:-}", ""),
        ("${SECRET:empty:-fallback}", "fallback"),
        ("${SECRET:a:-fallback}", "v$1"),
        ("${SECRET:a:-${SECRET:missing}}", "v$1"),
        ("${SECRET:a:?needed}", "v$1"),
        ("$SET${SECRET:b}", "settwo"),
        ("$SET${SECRET:missing:-x$SET}y", "setxsety"),
        ("$SET${SECRET:b:-x$SET}y", "settwoy"),
        ("$SET${SECRET:missing:-${SECRET:b}$SET}$SET", "settwosetset"),
        ("$$SET${SECRET:b}", "$SETtwo"),
        ("${DB:-$SET${SECRET:b}}", "settwo"),
        ("$SECRET:name", "plain:name"),
        ("${SECRET}", "plain"),
        ("${SECRET:-x}", "plain"),
        ("${SECRET:?x}", "plain"),
        ("${SECRET-x}", "plain"),
        ("${SECRETS:-x}", "x"),
        ("${SECRET:+x}", "x"),
    ],
)
def test_the_tokens(compose: RealCompose, way: str, written: str, expected: str) -> None:
    files = one_service(f"environment: {{K: {_quoted(written)}}}") | {".env": b"SET=set\nSECRET=plain\n"}
    model = getattr(compose, way)(files, secrets(a="v$1", b="two", empty=""))
    assert model["services"]["a"]["environment"]["K"] == expected


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


@pytest.mark.parametrize(
    ("written", "code"),
    [
        ("${secret:a}", "malformed_reference"),
        ("${Secret:a}", "malformed_reference"),
        ("${SECRET: a}", "malformed_reference"),
        ("${ SECRET:a}", "malformed_reference"),
        ("${SECRET:}", "malformed_reference"),
        ("${SECRET:-}a}", "malformed_reference"),
        ("${SECRET:a b}", "malformed_reference"),
        ("${SECRET:a@0}", "malformed_reference"),
        ("${SECRET:a@x}", "malformed_reference"),
        ("${SECRET:a#}", "malformed_reference"),
        ("${SECRET:a#f@3}", "malformed_reference"),
        ("${SECRET:a-}x", "secret_unavailable"),
        ("${SECRET:a:}", "malformed_reference"),
        ("${SECRET:a:+x}", "malformed_reference"),
        ("${SECRET:ä}", "malformed_reference"),
        ("${SECRET:.a}", "malformed_reference"),
        ("${SECRET:a@99999999999}", "malformed_reference"),
        ("${SECRET:a", "unterminated"),
        ("${SECRET:a:-x", "unterminated"),
        ("${X:-${SECRET:a}", "unterminated"),
        ("${X:?${SECRET:a}}", "reference_in_message"),
    ],
)
def test_what_is_no_reference_is_an_error_with_its_place(written: str, code: str) -> None:
    files = one_service(f"environment: {{ABC: {_quoted('xy' + written)}}}")
    with pytest.raises(ReferencesRefused) as refused:
        render_file(files["compose.yaml"], {})
    offset = written.index("${SECRET") if code == "unterminated" else 0
    assert [(problem.code, problem.place) for problem in refused.value.problems] == [(code, f"compose.yaml:4:{27 + offset}")]
    if code != "secret_unavailable":
        assert code in {problem.code for problem in find_references(Bundle(files)).problems}


@pytest.mark.parametrize(
    "value",
    ["}", "{", "a}b", "{}", "}{", "line\nbreak", "x{"],
)
def test_a_value_that_compose_cannot_express_in_a_default_is_refused(value: str) -> None:
    files = one_service('environment: {K: "${DB:-${SECRET:a}}"}')
    with pytest.raises(ReferencesRefused) as refused:
        render_file(files["compose.yaml"], secrets(a=value))
    assert [problem.code for problem in refused.value.problems] == ["value_unfit_for_expression"]
    assert value not in str(refused.value.problems[0])


@pytest.mark.parametrize("value", ["{a}", "a{b}c", ":-x", "?", "$", "${X}", "a\rb", "\x85", "{ab}{cd}", "{{x}"])
def test_a_value_that_compose_can_express_in_a_default_is_exact(compose: RealCompose, value: str) -> None:
    files = one_service('environment: {K: "<${DB:-${SECRET:a}}>", L: "${DB:-x${SECRET:a}y}"}')
    environment = compose.spliced(files, secrets(a=value))["services"]["a"]["environment"]
    assert environment == {"K": f"<{value}>", "L": f"x{value}y"}


@pytest.mark.parametrize("value", ["}", "{", "{}", "line\nbreak", "a}b"])
def test_the_placeholder_way_has_no_such_limit(compose: RealCompose, value: str) -> None:
    files = one_service('environment: {K: "${DB:-${SECRET:a}}"}')
    assert compose.placed(files, secrets(a=value))["services"]["a"]["environment"]["K"] == value


@pytest.mark.parametrize("text", ["[a, ${SECRET:a}]", "{K: ${SECRET:a}}", "[${SECRET:a}]", "[ x=${SECRET:a} ]"])
def test_an_unquoted_reference_in_flow_style_says_to_quote_it(compose: RealCompose, text: str) -> None:
    files = one_service(f"environment: {text}")
    with pytest.raises(ComposeRefused):
        compose.model(files)
    column = 18 + text.index("${") + 0
    for problems in (find_references(Bundle(files)).problems, _render_problems(files)):
        (problem,) = problems
        assert problem.code == "quote_reference"
        assert problem.place == f"compose.yaml:4:{column}"
        assert "quotes" in problem.rule


def _render_problems(files: dict[str, bytes]) -> tuple[Any, ...]:
    with pytest.raises(ReferencesRefused) as refused:
        render_file(files["compose.yaml"], {})
    return refused.value.problems


def test_an_unquoted_reference_with_a_blank_is_our_error_too(compose: RealCompose) -> None:
    files = one_service("hostname: h\n    environment:\n      K: ${SECRET: a}")
    with pytest.raises(ComposeRefused):
        compose.model(files)
    for problems in (find_references(Bundle(files)).problems, _render_problems(files)):
        assert [(problem.code, problem.place) for problem in problems] == [("malformed_reference", "compose.yaml:6:10")]


@pytest.mark.parametrize("way", ["spliced", "placed"])
def test_a_comment_sign_in_a_block_scalar_is_text(compose: RealCompose, way: str) -> None:
    body = "environment:\n      K: |\n        # ${SECRET:a}\n        b\n      # ${SECRET:ignored}\n      L: 1"
    model = getattr(compose, way)(one_service(body), secrets(a="v"))
    assert model["services"]["a"]["environment"] == {"K": "# v\nb\n", "L": "1"}


@pytest.mark.parametrize("way", ["spliced", "placed"])
def test_references_in_comments_are_ignored_and_not_fetched(compose: RealCompose, way: str) -> None:
    files = {"compose.yaml": b"# ${SECRET:one}\nservices:\n  a:\n    image: x # ${SECRET:two}\n"}
    assert find_references(Bundle(files)).references == ()
    assert getattr(compose, way)(files, {})["services"]["a"]["image"] == "x"


def test_extension_fields_are_rendered(compose: RealCompose) -> None:
    files = {"compose.yaml": b'x-top: {k: "${SECRET:a}"}\nservices: {a: {image: x, x-in: ["${SECRET:a}"]}}\n'}
    assert compose.spliced(files, secrets(a="v$"))["x-top"] == {"k": "v$"}
    # Compose prints no extension fields of services, so the text itself is looked at.
    assert render_file(files["compose.yaml"], secrets(a="v$")).text.reveal().count(b'"v$$"') == 2


@pytest.mark.parametrize("value", ["two words", "qu'ote", 'dou"ble', "", "back\\slash", "a;b", "$x"])
def test_a_command_as_text_takes_plain_words_only(value: str) -> None:
    files = one_service("command: redis-server --requirepass ${SECRET:a}")
    with pytest.raises(ReferencesRefused) as refused:
        render_file(files["compose.yaml"], secrets(a=value))
    (problem,) = refused.value.problems
    assert problem.code == "value_unfit_for_shell"
    assert "as a list" in problem.rule


@pytest.mark.parametrize("way", ["spliced", "placed"])
def test_a_plain_word_in_a_command_as_text_is_one_argument(compose: RealCompose, way: str) -> None:
    files = one_service("command: redis-server --requirepass ${SECRET:a} --x")
    model = getattr(compose, way)(files, secrets(a="p4ss-word/+="))
    assert model["services"]["a"]["command"] == ["redis-server", "--requirepass", "p4ss-word/+=", "--x"]


def test_the_placeholder_way_keeps_any_value_one_argument(compose: RealCompose) -> None:
    files = one_service("command: redis-server --requirepass ${SECRET:a} --x")
    model = compose.placed(files, secrets(a="two words 'n \"q"))
    assert model["services"]["a"]["command"] == ["redis-server", "--requirepass", "two words 'n \"q", "--x"]


@pytest.mark.parametrize("way", ["spliced", "placed"])
def test_two_documents_a_byte_order_mark_and_crlf(compose: RealCompose, way: str) -> None:
    text = "services:\n  a:\n    image: x\n    environment:\n      K: ${SECRET:a}\n      M: |\n        one\n        ${SECRET:a}\n"
    text += "---\nservices:\n  a:\n    environment:\n      L: é ${SECRET:a}\n"
    for data in (text, text.replace("\n", "\r\n"), "\ufeff" + text, "\ufeff" + text.replace("\n", "\r\n")):
        model = getattr(compose, way)({"compose.yaml": data.encode()}, secrets(a="v\n"))
        assert model["services"]["a"]["environment"] == {"K": "v\n", "L": "é v\n", "M": "one\nv\n\n"}


@pytest.mark.parametrize(
    "kind", ['environment: {K: "${SECRET:a}"}', 'environment: ["K=${SECRET:a}"]', 'command: ["${SECRET:a}"]']
)
def test_nul_and_bytes_that_are_no_text_are_refused(compose: RealCompose, kind: str) -> None:
    for value, code in ((b"a\0b", "value_has_nul"), (b"\xff\xfe", "value_not_text")):
        for way in (compose.placed, lambda files, values: render_file(files["compose.yaml"], values)):
            with pytest.raises(ReferencesRefused) as refused:
                way(one_service(kind), secrets(a=value))
            (problem,) = refused.value.problems
            assert problem.code == code
            assert problem.place.startswith("compose.yaml:4:")


def test_an_empty_value_is_set_and_not_unset(compose: RealCompose) -> None:
    for body in ('environment: {K: "${SECRET:a}"}', 'environment: ["K=${SECRET:a}"]', "environment:\n      K: ${SECRET:a}"):
        for way in (compose.spliced, compose.placed):
            assert way(one_service(body), secrets(a=""))["services"]["a"]["environment"] == {"K": ""}


@pytest.mark.parametrize(
    "text",
    [
        'services: {a: {image: x, environment: {"${SECRET:a}": v}}}',
        'services: {a: {image: x, environment: ["${SECRET:a}=v"]}}',
        'services: {a: {image: x, environment: ["K${SECRET:a}=v"]}}',
        'services: {a: {image: x, environment: ["${SECRET:a}"]}}',
        'services: {"${SECRET:a}": {image: x}}',
        'x-a: {? {"${SECRET:a}": 1} : v}',
        'volumes: {"${SECRET:a}": {}}',
    ],
)
def test_a_reference_in_a_key_is_refused(text: str) -> None:
    files = {"compose.yaml": text.encode()}
    problems = find_references(Bundle(files), allow_persisting=True).problems
    assert [problem.code for problem in problems] == ["reference_in_key"]
    assert problems[0].place == f"compose.yaml:1:{text.index('${') + 1}"
    with pytest.raises(ReferencesRefused) as refused:
        render_file(text.encode(), secrets(a="v"), allow_persisting=True)
    assert refused.value.problems == problems


@pytest.mark.parametrize(
    "body",
    [
        "ports: ['${SECRET:a}:80']",
        'ports: [{target: "${SECRET:a}"}]',
        "cpus: ${SECRET:a}",
        "privileged: ${SECRET:a}",
        'deploy: {replicas: "${SECRET:a}"}',
        "mem_limit: ${SECRET:a}",
        'healthcheck: {interval: "${SECRET:a}"}',
        "network_mode: ${SECRET:a}",
        'depends_on: ["${SECRET:a}"]',
        "env_file: ${SECRET:a}",
        'volumes: ["${SECRET:a}:/x"]',
        "restart: ${SECRET:a}",
        'secrets: ["${SECRET:a}"]',
        'profiles: ["${SECRET:a}"]',
        "pull_policy: ${SECRET:a}",
        "unknown_key: ${SECRET:a}",
        'environment: {K: !!int "${SECRET:a}"}',
        "stop_grace_period: ${SECRET:a}",
    ],
)
def test_typed_fields_and_names_are_refused_whatever_is_allowed(body: str) -> None:
    problems = find_references(Bundle(one_service(body)), allow_persisting=True).problems
    assert [problem.code for problem in problems if problem.code != "missing_file"] == ["reference_in_typed_field"]
    with pytest.raises(ReferencesRefused):
        render_file(one_service(body)["compose.yaml"], secrets(a="1"), allow_persisting=True)


@pytest.mark.parametrize(
    "body",
    [
        "image: r/${SECRET:a}",
        'labels: {l: "${SECRET:a}"}',
        'labels: ["l=${SECRET:a}"]',
        'build: {context: ., args: {k: "${SECRET:a}"}}',
        "container_name: c-${SECRET:a}",
        'annotations: {l: "${SECRET:a}"}',
        'deploy: {labels: {l: "${SECRET:a}"}}',
    ],
)
def test_metadata_is_refused_unless_allowed(body: str) -> None:
    files = {"compose.yaml": f"services:\n  a:\n    {body}\n".encode()}
    for problems in (find_references(Bundle(files)).problems, _render_problems(files)):
        assert [problem.code for problem in problems if problem.code != "secret_unavailable"] == ["reference_persists"]
    assert find_references(Bundle(files), allow_persisting=True).problems == ()
    assert b"value" in render_file(files["compose.yaml"], secrets(a="value"), allow_persisting=True).text.reveal()


@pytest.mark.parametrize(
    "body",
    [
        'command: ["${SECRET:a}"]',
        "entrypoint: x ${SECRET:a}",
        'healthcheck: {test: "x ${SECRET:a}"}',
        "hostname: ${SECRET:a}",
        'logging: {options: {t: "${SECRET:a}"}}',
        'post_start: [{command: ["${SECRET:a}"]}]',
        'sysctls: ["k=${SECRET:a}"]',
    ],
)
def test_arguments_healthchecks_and_options_are_refused_in_deployments_and_warned_about_in_files(body: str) -> None:
    files = one_service(body)
    assert [problem.code for problem in find_references(Bundle(files)).problems] == ["reference_persists"]
    rendered = render_file(files["compose.yaml"], secrets(a="value"))
    assert [warning.code for warning in rendered.warnings] == ["reference_persists"]


@pytest.mark.parametrize("way", ["spliced", "placed"])
def test_anchors_aliases_and_merge_keys_each_use_is_replaced(compose: RealCompose, way: str) -> None:
    text = """
x-common: &common
  A: ${SECRET:a}
x-list: &list ["L=${SECRET:b}"]
x-text: &text "t-${SECRET:a}"
services:
  one: {image: x, environment: *common}
  two:
    image: x
    environment:
      <<: [*common, {C: "${SECRET:c}"}]
      B: *text
  three: {image: x, environment: *list}
"""
    model = getattr(compose, way)({"compose.yaml": text.encode()}, secrets(a="1", b="2", c="3"))
    assert {name: service["environment"] for name, service in model["services"].items()} == {
        "one": {"A": "1"},
        "two": {"A": "1", "B": "t-1", "C": "3"},
        "three": {"L": "2"},
    }
    occurrences = find_references(Bundle({"compose.yaml": text.encode()})).occurrences
    assert {name for one in occurrences if one.reference.name == "a" for name in one.services} == {"one", "two"}


def test_an_anchor_that_ends_in_labels_is_refused_where_it_is_used() -> None:
    text = 'x-a: &a "${SECRET:a}"\nservices: {s: {image: x, labels: {l: *a}}}\n'
    assert [problem.code for problem in find_references(Bundle({"compose.yaml": text.encode()})).problems] == [
        "reference_persists"
    ]


@pytest.mark.parametrize("way", ["spliced", "placed"])
def test_extends_include_overrides_profiles_and_env_files(compose: RealCompose, way: str) -> None:
    files = {
        "compose.yaml": b"""
include: [sub/part.yaml]
services:
  web:
    extends: {file: base/common.yaml, service: base}
    image: x
    profiles: [debug]
    env_file: [one.env, {path: missing.env, required: false}]
""",
        "compose.override.yaml": b'services: {web: {environment: ["OVER=${SECRET:over}"]}}\n',
        "sub/part.yaml": b'services: {part: {image: x, env_file: part.env, environment: {P: "${SECRET:part}"}}}\n',
        "sub/part.env": b"PE=${SECRET:partenv}\n",
        "base/common.yaml": b"""
services:
  base: {env_file: base.env, environment: {BASE: "${SECRET:base}"}}
  unused: {image: x, environment: {U: "${SECRET:unused}"}}
""",
        "base/base.env": b"BE='${SECRET:literal}'\nBF=${SECRET:baseenv}\n",
        "one.env": b"ONE=${SECRET:one}\nTWO=${ONE}2\n",
    }
    values = secrets(over="1", part="2", partenv="3", base="4$", one="5$x", baseenv="6", unused="")
    model = getattr(compose, way)(files, values)
    assert model["services"]["web"]["environment"] == {
        "BASE": "4$",
        "BE": "${SECRET:literal}",
        "BF": "6",
        "ONE": "5$x",
        "OVER": "1",
        "TWO": "5$x2",
    }
    assert model["services"]["part"]["environment"] == {"P": "2", "PE": "3"}
    found = {one.reference.name: one.services for one in find_references(Bundle(files)).occurrences}
    web, part = ("web",), ("part",)
    assert found == {"base": web, "baseenv": web, "one": web, "over": web, "part": part, "partenv": part}


def test_a_configs_content_is_rendered(compose: RealCompose) -> None:
    files = {"compose.yaml": b'services: {a: {image: x, configs: [c]}}\nconfigs: {c: {content: "k = ${SECRET:a}\\n"}}\n'}
    assert compose.spliced(files, secrets(a="v$"))["configs"]["c"]["content"] == "k = v$\n"
    assert "configs" not in compose.placed(files, secrets(a="v$"))  # a file of ours instead


def test_a_label_file_is_metadata(compose: RealCompose) -> None:
    files = one_service("label_file: l.env") | {"l.env": b"k=${SECRET:a}\n"}
    assert [(one.code, one.place) for one in find_references(Bundle(files)).problems] == [("reference_persists", "l.env:1:3")]
    for way in (compose.spliced, compose.placed):
        assert way(files, secrets(a="v$ w"))["services"]["a"]["labels"] == {"k": "v$ w"}


def test_a_variable_that_carries_a_reference_is_judged_by_where_it_ends(compose: RealCompose) -> None:
    files = one_service('labels: {l: "${CARRIER}"}') | {".env": b"CARRIER=${SECRET:a}\n"}
    with pytest.raises(ReferencesRefused) as refused:
        compose.placed(files, secrets(a="v"), allow_persisting=False)
    assert [(problem.code, problem.place) for problem in refused.value.problems] == [("reference_persists", ".env:1:9")]
    ports = one_service('ports: ["${CARRIER}:80"]') | {".env": b"CARRIER=${SECRET:a}\n"}
    with pytest.raises(ComposeRefused):  # a placeholder is no port: Compose itself says so, before any value is there
        compose.placed(ports, secrets(a="8080"))


def test_tags_survive(compose: RealCompose) -> None:
    files = {
        "compose.yaml": b"services: {a: {image: x, environment: {K: old, GONE: x}, command: [one, two]}}\n",
        "compose.override.yaml": b"""
services:
  a:
    environment: !override
      K: !!str ${SECRET:a}
    command: !reset null
""",
    }
    for way in (compose.spliced, compose.placed):
        service = way(files, secrets(a="v"))["services"]["a"]
        assert service["environment"] == {"K": "v"}
        assert not service.get("command")


def test_all_problems_at_once_one_line_each() -> None:
    text = """services:
  a:
    image: x
    environment:
      A: '${SECRET:db-password} ${SECRET: b}'
      B: "${SECRET:other:?the other one}"
    labels: ["l=${SECRET:c}"]
"""
    with pytest.raises(ReferencesRefused) as refused:
        render_file(text.encode(), {})
    assert sorted(str(problem).partition(" ")[0] for problem in refused.value.problems) == [
        "compose.yaml:5:11:",
        "compose.yaml:5:33:",
        "compose.yaml:6:11:",
        "compose.yaml:7:17:",
        "compose.yaml:7:17:",
    ]
    assert all("\n" not in str(problem) for problem in refused.value.problems)


def test_placeholders_say_nothing_about_names_or_values() -> None:
    words = to_placeholders(Bundle(one_service('environment: {K: "${SECRET:very-special}"}')))
    assert b"very-special" not in words.files["compose.yaml"]
    assert [str(one) for one in words.mapping.values()] == ["very-special"]

"""Lint, its forms for programs, its fixes, and the small functions beside it."""

from __future__ import annotations

import json
from importlib import resources

import pytest

from overseer.compose import file_variables, plaintext
from overseer.compose.advice import Advice, near_misses
from overseer.compose.bundle import Bundle
from overseer.compose.fields import select_field
from overseer.compose.file_variables import file_variable
from overseer.compose.findings import RULES, Severity, sarif
from overseer.compose.fixes import fix_file
from overseer.compose.grammar import Reference
from overseer.compose.lint import lint_bundle
from overseer.compose.references import find_references
from overseer.compose.versions import diff_versions
from overseer.core.errors import InvalidInput
from overseer.core.secret_value import SecretValue

GITHUB = "ghp_" + "aB3dE6gH9jK2" * 3


def rules(files: dict[str, bytes] | str) -> list[tuple[str, int, str]]:
    files = {"compose.yaml": files.encode()} if isinstance(files, str) else files
    return [(found.rule, found.line, found.service) for found in lint_bundle(Bundle(files))]


def service(body: str, name: str = "a") -> str:
    return f"services:\n  {name}:\n    image: example/app\n    {body}\n"


CASES = {
    "OVS001": [
        service("environment: {DB_PASSWORD: hunter2}"),
        service("environment: [API_KEY=abc]"),
        service(f"command: [run, {GITHUB}]"),
        service("environment: {URL: 'postgres://u:pw@db/x'}"),
        service("environment: {BLOB: Zk3jV9xQ2mN8bR5tL7wY4pHs}"),
        f"# {GITHUB}\nservices: {{}}\n",
    ],
    "OVS002": [service("labels: {l: '${SECRET:a}'}"), service("build: {context: ., args: {k: '${SECRET:a}'}}")],
    "OVS003": [service("command: [x, '${SECRET:a}']"), service("healthcheck: {test: [CMD, '${SECRET:a}']}")],
    "OVS006": [
        service("volumes: ['/etc/secrets/k:/etc/k']"),
        service("volumes: [{type: bind, source: /etc/secrets/k, target: /k}]"),
    ],
    "OVS008": [service("environment: {K: '${SECRET}'}"), service("environment: {K: '$SECRET:name'}")],
    "OVS009": [
        service("environment: {K: '${SECRET:}'}"),
        service("environment: [x, ${SECRET:a}]"),
        service("ports: ['${SECRET:a}']"),
    ],
    "OVS010": [service("environment: {K: '${SECRET:a}'}")],
    "OVS012": [service("command: run ${SECRET:a}")],
}


@pytest.mark.parametrize(("rule", "text"), [(rule, text) for rule, texts in CASES.items() for text in texts])
def test_each_rule_finds_its_cases(rule: str, text: str) -> None:
    assert rule in {found for found, _, _ in rules(text)}


@pytest.mark.parametrize(
    "body",
    [
        "environment: {DB_PASSWORD_FILE: /run/secrets/db}",
        "environment: {DB_PASSWORD: '${DB_PASSWORD}'}",
        "environment: {ENABLE_TOKEN: 'true', TOKEN_TTL: '3600', PASSWORD_MIN_LENGTH: '12', SECRET_KEY: }",
        "environment: {PATH_TO: /usr/share/dictionaries/longer/path/Names9, KEYBOARD: de, MONKEY: banana, PASSENGER: x}",
        "volumes: ['/etc/secrets/k:/run/secrets/k', './x:/y']",
        "command: [x]",
        "environment: {K: '$${SECRET:a}'}",
    ],
)
def test_harmless_files_have_no_findings(body: str) -> None:
    assert rules(service(body)) == []


def test_env_files() -> None:
    files = {
        "compose.yaml": b"""services:
  a: {image: x, env_file: [e.env, {path: r.env, format: raw}]}
  b: {image: x, env_file: e.env}
""",
        "e.env": b"A=${SECRET:one}\nB='${SECRET:two}'\nMY_TOKEN=x1\nC=$SECRET\n",
        "r.env": b"R=${SECRET:three}\n",
    }
    assert rules(files) == [
        ("OVS011", 2, "a"),
        ("OVS004", 1, "a"),
        ("OVS004", 1, "b"),
        ("OVS007", 1, ""),
        ("OVS010", 1, "a"),
        ("OVS010", 1, "b"),
        ("OVS011", 2, ""),
        ("OVS001", 3, ""),
        ("OVS008", 4, ""),
    ]


def test_a_shared_anchor_gives_a_service_what_it_never_mentions() -> None:
    text = """
x-e: &e {DB: "${SECRET:db}", MAIL: "${SECRET:mail}"}
services:
  a: {image: x, environment: {<<: *e, OWN: "${SECRET:db}"}}
  b: {image: x, environment: *e}
"""
    found = [one for one in lint_bundle(Bundle({"compose.yaml": text.encode()})) if one.rule == "OVS004"]
    assert [(one.service, '"mail"' in one.message) for one in found] == [("b", False), ("a", True), ("b", True)]


def test_images_that_read_files() -> None:
    text = "services: {db: {image: 'postgres:16', environment: {POSTGRES_PASSWORD: '${SECRET:a}', POSTGRES_HOST: '${SECRET:b}'}}}"
    found = lint_bundle(Bundle({"compose.yaml": text.encode()}))
    assert [(one.rule, "POSTGRES_PASSWORD_FILE" in one.message) for one in found] == [("OVS005", True), ("OVS010", False)]


@pytest.mark.parametrize(
    ("image", "variable", "form"),
    [
        ("postgres", "POSTGRES_PASSWORD", "POSTGRES_PASSWORD_FILE"),
        ("docker.io/library/postgres:16@sha256:abc", "POSTGRES_PASSWORD", "POSTGRES_PASSWORD_FILE"),
        ("registry.local:5000/mariadb:11", "MARIADB_ROOT_PASSWORD", "MARIADB_ROOT_PASSWORD_FILE"),
        ("grafana/grafana:10", "GF_SECURITY_ADMIN_PASSWORD", "GF_SECURITY_ADMIN_PASSWORD__FILE"),
        ("lscr.io/linuxserver/sonarr", "TOKEN", "FILE__TOKEN"),
        ("postgres", "OTHER", None),
        ("example/postgres", "POSTGRES_PASSWORD", None),
        ("grafana/grafana", "GF_X__FILE", None),
        ("", "POSTGRES_PASSWORD", None),
    ],
)
def test_the_file_form_of_a_variable(image: str, variable: str, form: str | None) -> None:
    found = file_variable(image, variable)
    assert (found[0] if found else None) == form


def test_every_entry_of_the_data_file_has_a_source() -> None:
    assert len(file_variables.entries()) >= 20
    for entry in file_variables.entries():
        assert entry.images
        assert entry.names
        assert "{}" in entry.form
        assert entry.source.startswith("https://")
    assert resources.files("overseer.compose").joinpath("data/file_variables.json").is_file()


def test_no_finding_holds_a_value() -> None:
    text = service("environment: {DB_PASSWORD: hunter2-value, URL: 'x://u:pw-value@h/', T: " + GITHUB + "}")
    for found in lint_bundle(Bundle({"compose.yaml": text.encode()})):
        assert not any(value in json.dumps(found.as_json()) for value in ("hunter2-value", "pw-value", GITHUB))


def test_forms_for_programs() -> None:
    findings = lint_bundle(Bundle({"compose.yaml": CASES["OVS001"][0].encode()}))
    assert [one.as_json() for one in findings] == [
        {
            "rule": "OVS001",
            "name": "plaintext-secret",
            "severity": "error",
            "file": "compose.yaml",
            "line": 4,
            "column": 32,
            "message": "DB_PASSWORD looks like a secret",
            "service": "a",
            "fixable": False,
        }
    ]
    assert str(findings[0]) == "compose.yaml:4:32: error OVS001 DB_PASSWORD looks like a secret"
    log = sarif(findings, "1.2.3")
    assert json.loads(json.dumps(log)) == log
    (run,) = log["runs"]
    assert run["tool"]["driver"]["rules"][run["results"][0]["ruleIndex"]]["id"] == run["results"][0]["ruleId"] == "OVS001"
    assert run["results"][0]["locations"][0]["physicalLocation"]["region"] == {"startLine": 4, "startColumn": 32}


def test_rule_ids_are_stable() -> None:
    assert {rule.id: rule.name for rule in RULES.values()} == {
        "OVS001": "plaintext-secret",
        "OVS002": "reference-in-metadata",
        "OVS003": "reference-in-arguments",
        "OVS004": "unmentioned-secret",
        "OVS005": "file-variable-available",
        "OVS006": "single-file-bind",
        "OVS007": "env-file-secret",
        "OVS008": "plain-secret-variable",
        "OVS009": "refused-reference",
        "OVS010": "environment-persists",
        "OVS011": "literal-in-env-file",
        "OVS012": "command-as-text",
        "OVS013": "unavailable-secret",
    }
    assert {rule.severity for rule in RULES.values()} == set(Severity)
    assert {rule for rule, _ in [(rule, 0) for rule in CASES]} <= set(RULES)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a: '${secret:x}' # ${secret:y}\n", "a: '${SECRET:x}' # ${SECRET:y}\n"),
        ("# ${secret:y}\na: 1\n", "# ${secret:y}\na: 1\n"),
        ("a: ${SECRET: x}\r\n", "a: ${SECRET:x}\r\n"),
        ("a: '$${secret:x} $$${ Secret:x@2 }'\n", "a: '$${secret:x} $$${SECRET:x@2}'\n"),
        ("a: [x, ${SECRET:a}, b=${SECRET:b}]\n", 'a: [x, "${SECRET:a}", "b=${SECRET:b}"]\n'),
        ("\ufeffa: {k: ${SECRET:a}}", '\ufeffa: {k: "${SECRET:a}"}'),
        (service("command: run --x ${SECRET:a}"), service('command: ["run", "--x", "${SECRET:a}"]')),
        (service("command: sh -c 'echo ${SECRET:a}'"), service("command: sh -c 'echo ${SECRET:a}'")),
        (service("command: run $HOME ${SECRET:a}"), service("command: run $HOME ${SECRET:a}")),
        (service("command: run  ${SECRET:a}"), service("command: run  ${SECRET:a}")),
        ("a: ${SECRET:-x}\nb: ${secret}\n", "a: ${SECRET:-x}\nb: ${secret}\n"),
        ("a: [\n", "a: [\n"),
    ],
)
def test_fixes_are_safe_and_touch_nothing_else(before: str, after: str) -> None:
    assert fix_file(before.encode()).decode() == after
    assert fix_file(after.encode()).decode() == after


def test_fixable_findings_are_gone_after_the_fix() -> None:
    text = service("command: run ${SECRET:a}").encode() + b"x-a: ['${secret:b}']\n"
    assert any(found.fixable for found in lint_bundle(Bundle({"compose.yaml": text})))
    assert not any(found.fixable for found in lint_bundle(Bundle({"compose.yaml": fix_file(text)})))


@pytest.mark.parametrize(
    ("name", "known", "expected"),
    [
        ("db_password", ["db-password", "other"], ("db-password",)),
        ("DBPassword", ["db-password", "db_password"], ("db-password", "db_password")),
        ("api-kye", ["api-key", "mail"], ("api-key",)),
        ("x", ["db-password"], ()),
        ("a", [], ()),
    ],
)
def test_near_misses(name: str, known: list[str], expected: tuple[str, ...]) -> None:
    assert near_misses(name, known) == expected


@pytest.mark.parametrize(
    ("reference", "advice", "expected"),
    [
        (Reference("a"), Advice("app=shop env=prod"), 'secret "a" not available for app=shop env=prod; create it'),
        (Reference("db_p"), Advice(known=["db-p"]), 'secret "db_p" not available; did you mean "db-p"?'),
        (Reference("a", 9), Advice(known=["a"]), 'secret "a@9" not available; the secret exists: check version 9'),
        (Reference("a"), Advice(elsewhere=(("a", "app=blog"),)), 'secret "a" not available; it exists for app=blog: set it'),
    ],
)
def test_advice_says_what_to_do(reference: Reference, advice: Advice, expected: str) -> None:
    assert advice.unavailable(reference).startswith(expected)


@pytest.mark.parametrize(
    ("value", "field", "expected"),
    [
        ('{"a": "x$\\n"}', "a", "x$\n"),
        ('{"a": {"b": "c"}}', "a.b", "c"),
        ('{"a.b": "dot", "a": {"b": "c"}}', "a.b", "dot"),
        ('{"n": 1.10}', "n", "1.10"),
        ('{"n": 12345678901234567890}', "n", "12345678901234567890"),
        ('{"t": true}', "t", "true"),
        ('{"z": null}', "z", "null"),
        ('{"l": [1.0, "é"]}', "l", '[1.0,"é"]'),
        ('{"e": ""}', "e", ""),
    ],
)
def test_a_field_of_a_json_value(value: str, field: str, expected: str) -> None:
    assert select_field(SecretValue(value), field, "s").reveal().decode() == expected


@pytest.mark.parametrize("value", ["no json: hunter2", "[]", '"x"', '{"b": 1}', "[" * 100_000, b"\xff"])
def test_a_missing_field_says_so_without_the_value(value: str | bytes) -> None:
    with pytest.raises(InvalidInput) as refused:
        select_field(SecretValue(value), "a", "s")
    assert "hunter2" not in str(refused.value)


def test_versions_that_would_change() -> None:
    text = service("environment: ['A=${SECRET:a}', 'B=${SECRET:b}', 'C=${SECRET:c:-}', 'D=${SECRET:d}', 'E=${SECRET:e@2}']")
    scan = find_references(Bundle({"compose.yaml": text.encode()}))
    running = {Reference("a"): 1, Reference("b"): 2, Reference("gone"): 7}
    available = {Reference("a"): 1, Reference("b"): 3, Reference("e", 2): 2}
    changes = diff_versions(running, scan, available, {Reference("gone"): ["old"]})
    assert [str(change) for change in changes] == [
        "= a 1 (a)",
        "~ b 2 -> 3 (a)",
        "! d is not available (a)",
        "+ e@2 -> 2 (a)",
        "- gone 7 -> (old)",
    ]


@pytest.mark.parametrize(
    ("key", "secret"),
    [
        ("DB_PASSWORD", True),
        ("dbPassword", True),
        ("PASSWORD", True),
        ("pass", True),
        ("API_KEY", True),
        ("AWS_SECRET_ACCESS_KEY", True),
        ("JWT_SECRET", True),
        ("auth.token", True),
        ("GITEA__database__PASSWD", True),
        ("SMTP_PASS", True),
        ("PASSWORDS", True),
        ("DB_PASSWORD_FILE", False),
        ("MONKEY", False),
        ("PASSENGER", False),
        ("PUBLIC_KEY", False),
        ("TOKEN_TTL", False),
        ("KEYCLOAK_URL", False),
        ("COMPASS", False),
        ("PRIMARY_KEY_NAME", False),
    ],
)
def test_names_of_secrets(key: str, secret: bool) -> None:
    assert plaintext.is_secret_name(key) is secret

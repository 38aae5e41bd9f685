"""Finding the references of a bundle: kinds, places, services, and every problem at once."""

from __future__ import annotations

import time

import pytest

from overseer.compose.bundle import Bundle, below_root
from overseer.compose.grammar import Reference
from overseer.compose.placeholders import to_placeholders
from overseer.compose.references import Form, find_references
from overseer.core.errors import InvalidInput, ReferencesRefused, TooLarge

MISSION = b"""\
services:
  app:
    image: x
    environment:
      - DATABASE_PASSWORD=${SECRET:db-password}
      - API_KEY=${SECRET:api-key@3#token:-none}
    secrets:
      - db_password
      - source: other
    volumes:
      - /etc/secrets/api-key:/run/secrets/api-key:ro
      - {type: bind, source: /etc/secrets/tls.key, target: /tls.key}
      - /etc/secretsmore/x:/x
      - data:/data
  idle: {image: y}
secrets:
  db_password: {external: true}
  other: {external: true, name: other-name}
  unused: {external: true, name: never-fetched}
  local: {file: ./local.txt}
"""


def codes(files: dict[str, bytes], **options: bool) -> list[tuple[str, str]]:
    return [(problem.place, problem.code) for problem in find_references(Bundle(files), **options).problems]


def compose(body: str) -> dict[str, bytes]:
    return {"compose.yaml": body.encode()}


def test_the_three_forms_of_a_reference() -> None:
    scan = find_references(Bundle({"compose.yaml": MISSION}))
    assert scan.problems == ()
    found = [(str(one.reference), one.form, one.place, one.services, one.has_default) for one in scan.occurrences]
    assert found == [
        ("db-password", Form.INLINE, "compose.yaml:5:27", ("app",), False),
        ("api-key@3#token", Form.INLINE, "compose.yaml:6:17", ("app",), True),
        ("db_password", Form.EXTERNAL, "compose.yaml:8:9", ("app",), False),
        ("other-name", Form.EXTERNAL, "compose.yaml:9:17", ("app",), False),
        ("api-key", Form.FILE, "compose.yaml:11:9", ("app",), False),
        ("tls.key", Form.FILE, "compose.yaml:12:30", ("app",), False),
    ]
    assert Reference("never-fetched") not in scan.references
    assert Reference("api-key", 3, "token") not in scan.required()


@pytest.mark.parametrize(
    "volume",
    [
        "/etc/secrets:/x",
        "/etc/secrets/:/x",
        "/etc:/x",
        "/:/x",
        "/etc/secrets/a/b:/x",
        "/etc/secrets/../secrets/a:/x",
        "/etc/x/../secrets/a:/x",
        "//etc/secrets:/x",
        "/etc/./secrets:/x",
    ],
)
def test_binds_in_above_and_around_the_secrets_root_are_refused(volume: str) -> None:
    assert codes(compose(f"services: {{a: {{image: x, volumes: ['{volume}']}}}}")) == [("compose.yaml:1:36", "secrets_root_bind")]


def test_a_device_of_a_volume_is_a_bind_too() -> None:
    text = "services: {a: {image: x}}\nvolumes: {v: {driver_opts: {type: none, o: bind, device: /etc/secrets}}}\n"
    assert codes(compose(text)) == [("compose.yaml:2:58", "secrets_root_bind")]


@pytest.mark.parametrize("source", ["/etc/secrets/${NAME}", "/etc/secrets/.hidden", "/etc/secrets/a b"])
def test_a_file_below_the_root_is_named_plainly(source: str) -> None:
    text = f"services: {{a: {{image: x, volumes: [{{type: bind, source: '{source}', target: /x}}]}}}}"
    assert [code for _, code in codes(compose(text))] == ["bad_name"]


def test_the_secrets_root_can_be_elsewhere() -> None:
    bundle = Bundle(
        compose("services: {a: {image: x, volumes: ['/srv/s/a:/run/secrets/a', '/etc/secrets:/y']}}"), secrets_root="/srv/s"
    )
    scan = find_references(bundle)
    assert ([str(one) for one in scan.references], scan.problems) == (["a"], ())


@pytest.mark.parametrize(
    ("path", "relation"),
    [
        ("/etc/secrets/a", "file"),
        ("/etc/secrets/a/", "file"),
        ("/etc/secretsx", None),
        ("./etc/secrets", None),
        ("/var", None),
        ("", None),
        ("/etc/secrets/x/../a", "bad"),
        ("/etc/", "bad"),
    ],
)
def test_how_a_path_lies_to_the_root(path: str, relation: str | None) -> None:
    assert below_root(path, "/etc/secrets/") == relation


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("include: [oci://registry.example.org/x]", "remote_file"),
        ("include: [https://example.org/compose.yaml]", "remote_file"),
        ("include: [git@example.org:x.git]", "remote_file"),
        ("include: ['me@example.org:x.git']", "remote_file"),
        ("include: [GitHub.com/a/b]", "remote_file"),
        ("include: [{path: ../up.yaml}]", "path_escapes"),
        ("include: [/abs.yaml]", "path_escapes"),
        ("include: [sub/../../up.yaml]", "path_escapes"),
        ("include: [missing.yaml]", "missing_file"),
        ("include: [{path: a.yaml, project_directory: ../x}]", "path_escapes"),
        ("services: {a: {extends: {file: ../base.yaml, service: b}}}", "path_escapes"),
        ("services: {a: {extends: {file: missing.yaml, service: b}}}", "missing_file"),
        ("services: {a: {image: x, env_file: ../a.env}}", "path_escapes"),
        ("services: {a: {image: x, env_file: [missing.env]}}", "missing_file"),
        ("services: {a: {image: x, env_file: [{path: /etc/secrets/a.env}]}}", "path_escapes"),
        ("services: {a: {image: x, env_file: ~/a.env}}", "path_escapes"),
    ],
)
def test_paths_that_leave_the_bundle_are_refused(text: str, code: str) -> None:
    files = compose(text) | {"a.yaml": b"services: {}\n"}
    assert [found for _, found in codes(files)] == [code]


def test_cycles_are_found() -> None:
    files = compose("include: [a.yaml]") | {"a.yaml": b"include: [b.yaml]\n", "b.yaml": b"include: [a.yaml]\n"}
    assert codes(files) == [("b.yaml:1:11", "include_cycle")]
    files = compose("services: {a: {extends: b}, b: {extends: {service: c}}, c: {extends: {file: compose.yaml, service: a}}}")
    assert [code for _, code in codes(files)] == ["extends_cycle"] * 3


@pytest.mark.parametrize(
    "text",
    [
        "services: {a: {image: x, env_file: '${P}e.env'}}",
        "services: {a: {image: x, env_file: ['env/${STAGE:-dev}.env']}}",
        "services: {a: {image: x, env_file: [{path: $P, required: false}]}}",
        "services: {a: {image: x, env_file: ['a$$b.env']}}",
        "services: {a: {image: x, label_file: ['${P}e.env']}}",
        "services: {a: {extends: {file: '${P}a.yaml', service: a}}}",
        "include: ['${P}a.yaml']",
        "include: [{path: ['${P}a.yaml']}]",
        "include: [{path: a.yaml, env_file: '${P}e.env'}]",
        "include: [{path: a.yaml, project_directory: '${P}'}]",
        "x-p: &p '${P}'\nservices: {a: {image: x, env_file: *p}}",
    ],
)
def test_a_path_that_compose_opens_holds_no_variable(text: str) -> None:
    """The variable may come from ``.env`` or from the deployment and say any path of the node, or an address."""
    files = compose(text) | {"a.yaml": b"services: {a: {image: x}}\n", "e.env": b"", "env/dev.env": b"", ".env": b"P=/etc/\n"}
    assert {code for _, code in codes(files)} == {"variable_path"}


@pytest.mark.parametrize(
    "text",
    [
        "x-p: &p /etc/x\nservices: {a: {image: x, env_file: *p}}",
        "x-p: &p /etc/x\nservices: {a: {image: x, label_file: *p}}",
        "x-p: &p /etc/x\nservices: {a: {image: x, env_file: [*p]}}",
        "x-p: &p {path: /etc/x}\nservices: {a: {image: x, env_file: [{<<: *p}]}}",
        "x-p: &p {path: /etc/x}\nservices: {a: {image: x, env_file: [{!!merge '<<': *p}]}}",
        "x-p: &p {env_file: /etc/x}\nservices: {a: {image: x, <<: *p}}",
    ],
)
def test_a_path_by_an_alias_or_a_merge_is_checked_as_well(text: str) -> None:
    assert [code for _, code in codes(compose(text))] == ["path_escapes"]


@pytest.mark.parametrize(
    "text",
    [
        "services: {a: {image: x, env_file: !!binary ZS5lbnY=}}",
        "services: {a: {image: x, env_file: [!<tag:yaml.org,2002:binary> ZS5lbnY=]}}",
        "services: {a: {image: x, !!binary ZW52X2ZpbGU= : /etc/x}}",
        "!!binary c2VydmljZXM= : {a: {image: x, env_file: /etc/x}}",
    ],
)
def test_text_that_compose_would_decode_first_is_refused(text: str) -> None:
    files = compose(text) | {"ZS5lbnY=": b"", "e.env": b""}
    assert [code for _, code in codes(files)] == ["binary_text"]


@pytest.mark.parametrize(
    ("path", "code"),
    [("../../../x", "path_escapes"), ("../../x", ""), ("~/x", "path_escapes"), ("~root/x", "path_escapes"), ("./~/x", "")],
)
def test_paths_begin_where_the_first_compose_file_lies(path: str, code: str) -> None:
    text = f"services: {{a: {{image: x, env_file: '{path}'}}}}".encode()
    bundle = Bundle({"a/b/compose.yaml": text, "x": b"", "a/b/~/x": b"", "a/b/~root/x": b""}, ["a/b/compose.yaml"])
    assert bundle.project_directory() == "a/b"
    assert [one.code for one in find_references(bundle).problems] == ([code] if code else [])


def test_an_extended_file_gives_only_the_extended_service() -> None:
    files = compose("services: {a: {extends: {file: base.yaml, service: one}}, b: {extends: {service: a}}}") | {
        "base.yaml": b"""
x-e: &e {S: "${SECRET:shared}"}
services:
  one: {image: x, extends: two, environment: *e}
  two: {image: x, environment: {T: "${SECRET:two}"}, volumes: ["/etc/secrets/file:/x"], secrets: [k]}
  three: {image: x, environment: {U: "${SECRET:three}"}}
""",
    }
    files["compose.yaml"] += b"\nsecrets: {k: {external: true}}\n"
    found = {str(one.reference): one.services for one in find_references(Bundle(files)).occurrences}
    assert found == dict.fromkeys(["shared", "two", "file", "k"], ("a", "b"))


def test_names_of_external_secrets_are_checked() -> None:
    text = "services: {a: {image: x, secrets: [k]}}\nsecrets: {k: {external: true, name: 'not a name'}}\n"
    assert codes(compose(text)) == [("compose.yaml:2:37", "bad_name")]
    text = "services: {a: {image: x, secrets: [k]}}\nsecrets: {k: {external: true, name: '${SECRET:x}'}}\n"
    assert ("compose.yaml:2:38", "reference_in_typed_field") in codes(compose(text))


def test_the_old_form_of_external_secrets() -> None:
    text = "services: {a: {image: x, secrets: [k]}}\nsecrets: {k: {external: {name: real}}}\n"
    assert [str(one) for one in find_references(Bundle(compose(text))).references] == ["real"]


def test_all_problems_of_all_files_at_once() -> None:
    files = compose("include: [a.yaml]\nservices: {a: {image: 'x${SECRET:i}', env_file: e.env, ports: ['${SECRET:p}']}}") | {
        "a.yaml": b"services: [${SECRET:b}]\n",
        "e.env": b"A=${SECRET:}\nB='unclosed\n",
    }
    assert sorted(codes(files)) == [
        ("a.yaml:1:12", "quote_reference"),
        ("compose.yaml:2:25", "reference_persists"),
        ("compose.yaml:2:65", "reference_in_typed_field"),
        ("e.env:2:3", "broken_env_file"),
    ]
    with pytest.raises(ReferencesRefused) as refused:
        to_placeholders(Bundle(files))
    assert len(refused.value.problems) == 4


def test_a_bundle_without_a_compose_file_is_a_problem() -> None:
    assert codes({"other.yaml": b""}) == [("", "no_compose_file")]
    assert find_references(Bundle({"x.yaml": b"services: {}\n"}, ["x.yaml"])).problems == ()
    assert [one.code for one in find_references(Bundle({}, ["y.yaml"])).problems] == ["missing_file"]


@pytest.mark.parametrize("path", ["/abs", "../up", "a/../b", "", ".", "a//b", "./a", "a\nb", "~x", "a\0"])
def test_paths_of_a_bundle_are_plain(path: str) -> None:
    with pytest.raises(InvalidInput):
        Bundle({path: b""})


def test_a_bundle_has_a_size() -> None:
    with pytest.raises(TooLarge):
        Bundle({"a": b"x" * (5 * 1024 * 1024 + 1)})
    with pytest.raises(TooLarge):
        Bundle({f"f{number}": b"" for number in range(1001)})


@pytest.mark.parametrize(
    "files",
    [
        {"compose.yaml": b"services: {a: {image: x, env_file: e}}", "e": b"K=${SECRET:a}\n" * 300_000},
        compose("services:\n  a:\n    environment:\n      K: '" + "${SECRET:a}" * 400_000 + "'"),
        compose("services:\n  a:\n    environment:\n" + "".join(f"      K{n}: ${{SECRET:a}}\n" for n in range(120_000))),
        compose("services:\n" + "".join(f"  s{n}: {{env_file: e}}\n" for n in range(5000))) | {"e": b"K=${SECRET:a}\n" * 1000},
    ],
    ids=["lines", "one text", "variables", "services times lines"],
)
def test_a_hostile_bundle_ends_in_time_with_problems(files: dict[str, bytes]) -> None:
    start = time.process_time()
    problems = find_references(Bundle(files)).problems
    assert {problem.code for problem in problems} <= {"too_many_references", "too_large"}
    assert problems
    assert time.process_time() - start < 15


_MANY = {f"e{number}": b"" for number in range(900)}
HOSTILE = {
    "paths with variables": (
        compose("services:\n  a:\n    env_file: [" + "'$a$a$ab'," * 60_000 + "]\n")
        | {f"e{'a' * 200}{number}": b"" for number in range(900)},
        "variable_path",
    ),
    "services times files": (
        compose("services:\n" + "".join(f"  s{n}: {{env_file: [e1, e2, e3]}}\n" for n in range(20_000))) | _MANY,
        "too_many_files",
    ),
    "one file from many directories": (
        compose("include:\n" + "".join(f"  - {{path: big.yaml, project_directory: d{n}}}\n" for n in range(20_000)))
        | {"big.yaml": b"x-a: [" + b"a," * 500 + b"]"},
        "too_many_files",
    ),
    "a chain of services": (
        compose("services:\n" + "".join(f"  s{n}: {{extends: s{n + 1}}}\n" for n in range(20_000))),
        "too_many_services",
    ),
    "one place in many services": (
        compose("services:\n  s: {environment: &a {K: '${SECRET:a}'}}\n")
        | {"compose.yaml": compose("services:\n  s: {environment: &a {K: '${SECRET:a}'}}\n")["compose.yaml"]
           + b"".join(b"  s%d: {environment: *a}\n" % n for n in range(40_000))},
        "",
    ),
    "expressions of one line": (compose("x-a: '" + "${a:-}" * 800_000 + "'\n"), ""),
    "env_files": (compose("services: {a: {env_file: e}}") | {"e": b"A=$a\n" * 1_000_000}, "too_large"),
}  # fmt: skip


@pytest.mark.parametrize(("files", "code"), HOSTILE.values(), ids=HOSTILE.keys())
def test_what_multiplies_is_bounded(files: dict[str, bytes], code: str) -> None:
    start = time.process_time()
    found = {problem.code for problem in find_references(Bundle(files)).problems}
    assert time.process_time() - start < 6
    assert code in found or not (code or found)


@pytest.mark.parametrize(("number", "refused"), [(2000, False), (2001, True)])
def test_a_bundle_names_a_limited_number_of_references(number: int, refused: bool) -> None:
    text = "services:\n  a:\n    environment:\n" + "".join(f"      K{n}: ${{SECRET:s{n}}}\n" for n in range(number))
    again = "".join(f"      L{n}: ${{SECRET:s{n}}}\n" for n in range(100))
    scan = find_references(Bundle(compose(text + again)))
    assert [problem.code for problem in scan.problems] == (["too_many_references"] if refused else [])
    assert refused or len(scan.references) == number

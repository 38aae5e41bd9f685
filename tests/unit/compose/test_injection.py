"""The plan of files and mounts, and the delivery of values. (Through the real Compose: tests/docker/compose_language.)"""

from __future__ import annotations

from typing import Any

import pytest

from overseer.compose.delivery import Delivery, deliver
from overseer.compose.filling import MAX_ENVIRONMENT_BYTES
from overseer.compose.grammar import Reference
from overseer.compose.injection import Injection, plan_injection
from overseer.compose.model import parse_model
from overseer.compose.placeholders import Placeholders, Slot
from overseer.core.errors import InvalidInput, ReferencesRefused
from overseer.core.secret_value import SecretValue

PREFIX = "ovs" + "0" * 32
ROOT = "/run/overseer/shop"


def word(number: int) -> str:
    return f"{PREFIX}{number:08d}"


WORDS = Placeholders(
    PREFIX,
    {
        word(1): Slot(Reference("one"), "", None, "compose.yaml:1:1"),
        word(2): Slot(Reference("two"), word(3), None, "compose.yaml:2:2"),
        word(4): Slot(Reference("four"), "", "tell why", "compose.yaml:4:4"),
    },
)


def plan(services: dict[str, Any], **more: Any) -> Injection:
    options = more.pop("options", {})
    return plan_injection({"services": services, **more}, WORDS, root=ROOT, **options)


def bind(source: str, target: str, **more: Any) -> dict[str, Any]:
    return {"type": "bind", "source": source, "target": target, **more}


def ours(source: str, target: str) -> dict[str, Any]:
    return {"type": "bind", "source": source, "target": target, "read_only": True, "bind": {"create_host_path": False}}


def test_files_below_run_secrets_are_one_directory_per_service() -> None:
    found = plan(
        {
            "a": {
                "secrets": [{"source": "db", "target": "/run/secrets/db", "uid": "10", "gid": "20", "mode": "0440"}],
                "volumes": [bind("/etc/secrets/key", "/run/secrets/sub/key", bind={"create_host_path": True}), bind("/x", "/y")],
            },
            "b": {"secrets": [{"source": "db"}]},
        },
        secrets={"db": {"external": True, "name": "db-password"}, "unused": {"external": True}},
    )
    assert found.problems == ()
    db, key = found.services["a"]
    assert (db.directory, db.name, db.target, db.form, db.mount) == (
        "a/run%2Fsecrets",
        "db",
        "/run/secrets/db",
        "external",
        "directory",
    )
    assert (db.reference, db.uid, db.gid, db.mode) == (Reference("db-password"), "10", "20", 0o440)
    assert (key.directory, key.name, key.form, key.mode) == ("a/run%2Fsecrets", "sub/key", "file", 0o444)
    assert found.model["services"]["a"]["volumes"] == [bind("/x", "/y"), ours(f"{ROOT}/a/run%2Fsecrets", "/run/secrets")]
    assert found.model["services"]["b"]["volumes"] == [ours(f"{ROOT}/b/run%2Fsecrets", "/run/secrets")]
    assert "secrets" not in found.model
    assert "secrets" not in found.model["services"]["a"]


def test_a_shared_parent_gets_single_files() -> None:
    found = plan({"a": {"volumes": [bind("/etc/secrets/key", "/etc/app/key"), bind("/etc/secrets/two", "/key")]}})
    assert [(file.directory, file.name, file.mount) for file in found.services["a"]] == [
        ("a/etc%2Fapp", "key", "single_file"),
        ("a/%2F", "key", "single_file"),
    ]
    assert found.model["services"]["a"]["volumes"] == [
        ours(f"{ROOT}/a/etc%2Fapp/key", "/etc/app/key"),
        ours(f"{ROOT}/a/%2F/key", "/key"),
    ]


@pytest.mark.parametrize(
    "other",
    [
        {"volumes": [bind("/host", "/run/secrets/mine")]},
        {"volumes": [{"type": "volume", "source": "v", "target": "/run/secrets"}]},
        {"tmpfs": ["/run/secrets/t:size=1m"]},
        {"secrets": [{"source": "local", "target": "/run/secrets/local"}]},
        {"configs": [{"source": "c", "target": "/run/secrets/c"}]},
    ],
)
def test_where_something_else_is_mounted_in_the_directory_single_files_are_used(other: dict[str, Any]) -> None:
    service = {"volumes": [bind("/etc/secrets/key", "/run/secrets/key"), *other.get("volumes", [])]}
    service |= {name: value for name, value in other.items() if name != "volumes"}
    found = plan({"a": service}, secrets={"local": {"file": "/p/x"}}, configs={"c": {"file": "/p/y"}})
    assert [file.mount for file in found.services["a"]] == ["single_file"]
    assert found.problems == ()


def test_a_volume_above_the_directory_does_not_matter() -> None:
    found = plan({"a": {"volumes": [bind("/host", "/run"), bind("/etc/secrets/key", "/run/secrets/key")]}})
    assert [file.mount for file in found.services["a"]] == ["directory"]


def test_own_directories_can_be_named() -> None:
    services = {"a": {"volumes": [bind("/etc/secrets/key", "/etc/app/key")]}}
    found = plan(services, options={"own_directories": ["/etc/app/"]})
    assert [file.mount for file in found.services["a"]] == ["directory"]


def test_environment_secrets_and_config_contents_become_files_and_bundle_files_stay() -> None:
    found = plan(
        {
            "a": {
                "secrets": [{"source": "env", "target": "/run/secrets/env"}, {"source": "local"}],
                "configs": [{"source": "made", "target": "/etc/made.conf"}, {"source": "plain"}],
            }
        },
        secrets={"env": {"environment": "VAR"}, "local": {"file": "/project/local.txt"}},
        configs={"made": {"content": f"k = {word(1)} $$5\n"}, "plain": {"content": "x"}},
        **{WORDS.variables_key: {"VAR": ["set", f"pre-{word(1)}"]}},
    )
    assert found.problems == ()
    assert found.model["secrets"] == {"local": {"file": "/project/local.txt"}}
    assert found.model["configs"] == {"plain": {"content": "x"}}
    assert WORDS.variables_key not in found.model
    done = deliver(found, WORDS, {Reference("one"): SecretValue(b"\xff$$\0")})
    assert {file.target: value.reveal() for file, value in done.files} == {
        "/run/secrets/env": b"pre-\xff$$\0",
        "/etc/made.conf": b"k = \xff$$\0 $5\n",
    }
    assert PREFIX.encode() not in done.compose_input.reveal()


def test_an_unset_variable_of_a_secret_is_a_problem() -> None:
    found = plan({"a": {}}, secrets={"env": {"environment": "VAR"}}, **{WORDS.variables_key: {"VAR": ["", ""]}})
    assert [problem.code for problem in found.problems] == ["variable_unset"]


@pytest.mark.parametrize(
    ("service", "top", "code"),
    [
        ({"volumes": [bind("/etc", "/x")]}, {}, "secrets_root_bind"),
        ({"volumes": [bind("/etc/secrets/a/b", "/x")]}, {}, "secrets_root_bind"),
        ({"volumes": [bind("/etc/secrets/.a", "/x")]}, {}, "bad_name"),
        ({"secrets": [{"source": "s", "mode": "9"}]}, {"secrets": {"s": {"external": True}}}, "bad_mode"),
        ({"secrets": [{"source": "s", "mode": "7777"}]}, {"secrets": {"s": {"external": True}}}, "bad_mode"),
        ({"secrets": [{"source": "s", "uid": "root"}]}, {"secrets": {"s": {"external": True}}}, "bad_owner"),
        ({"secrets": [{"source": "s", "uid": "4294967295"}]}, {"secrets": {"s": {"external": True}}}, "bad_owner"),
        ({"secrets": [{"source": "s", "gid": "9999999999"}]}, {"secrets": {"s": {"external": True}}}, "bad_owner"),
        ({"secrets": [{"source": "s", "target": "../../etc/passwd"}]}, {"secrets": {"s": {"external": True}}}, "bad_target"),
        ({"secrets": [{"source": "s"}]}, {"secrets": {"s": {"external": True, "name": "no name"}}}, "bad_name"),
        ({"build": {"secrets": [{"source": "s"}]}}, {"secrets": {"s": {"external": True}}}, "secret_in_build"),
        ({"labels": {"l": word(1)}}, {}, "reference_persists"),
        ({"ports": [word(1)]}, {}, "reference_in_typed_field"),
        ({"environment": {word(1): "x"}}, {}, "reference_in_key"),
        ({"models": {"m": None}}, {}, "lost_models"),
        ({}, {"volumes": {"v": {"driver_opts": {"device": "/etc/secrets"}}}}, "secrets_root_bind"),
        ({}, {"secrets": {"s": {"file": "/etc/secrets/a/b"}}}, "secrets_root_bind"),
        ({"volumes": [bind("/etc/secrets/a", "/x"), bind("/etc/secrets/b", "/x")]}, {}, "target_taken"),
        ({"volumes": [bind("/etc/secrets/a", "/x"), bind("/host", "/x")]}, {}, "target_taken"),
        ({"volumes": [bind("/etc/secrets/a", "/x"), bind("/etc/secrets/b", "/x/y")]}, {}, "target_taken"),
    ],
)
def test_what_the_plan_refuses(service: dict[str, Any], top: dict[str, Any], code: str) -> None:
    found = plan({"a": service}, **top)
    assert [problem.code for problem in found.problems] == [code]
    with pytest.raises(ReferencesRefused):
        deliver(found, WORDS, {Reference(name): SecretValue("v") for name in ("one", "s", "a", "b")})


def test_what_persists_is_listed() -> None:
    services = {"a": {"environment": {"K": f"x{word(1)}"}, "labels": {"l": word(4)}}}
    found = plan(services, options={"allow_persisting": True})
    assert found.problems == ()
    assert {(one.service, one.path, one.kind, one.reference.name) for one in found.persists} == {
        ("a", "services.a.environment.K", "environment", "one"),
        ("a", "services.a.labels.l", "label", "four"),
    }


def test_names_that_are_no_plain_path_stay_inside_the_root() -> None:
    found = plan({"..": {"volumes": [bind("/etc/secrets/k", "/a b/$$c/" + "d" * 300 + "/k")]}})
    (file,) = found.services[".."]
    service, _, parent = file.directory.partition("/")
    assert (service, "/" in parent, len(parent) < 220) == ("%2E.", False, True)
    assert found.model["services"][".."]["volumes"][0]["target"].startswith("/a b/$$c/")
    assert file.target.startswith("/a b/$c/")


def environment(text: str, values: dict[str, str | bytes]) -> Delivery:
    found = plan({"a": {"environment": {"K": text}}})
    return deliver(found, WORDS, {Reference(name): SecretValue(value) for name, value in values.items()})


@pytest.mark.parametrize(
    ("text", "values", "expected"),
    [
        (word(1), {"one": "a$b"}, "a$$b"),
        (f"${word(1)}", {"one": "x"}, "$x"),
        (f"<{word(2)}default $$ {word(1)}{word(3)}>", {"two": "T"}, "<T>"),
        (f"<{word(2)}default $$ {word(1)}{word(3)}>", {"one": "O"}, "<default $$ O>"),
        (f"<{word(2)}d{word(3)}>", {"two": ""}, "<d>"),
        (f"{word(1)}{word(1)}", {"one": word(1)}, word(1) * 2),
        (word(4), {"four": "4"}, "4"),
    ],
)
def test_words_become_values(text: str, values: dict[str, str | bytes], expected: str) -> None:
    quoted = environment(text, values).compose_input.reveal().decode()
    assert f'"environment": {{"K": "{expected}"}}' in quoted


@pytest.mark.parametrize(
    ("text", "values", "code"),
    [
        (word(1), {}, "secret_unavailable"),
        (word(4), {}, "secret_unavailable"),
        (word(4), {"four": ""}, "secret_unavailable"),
        (word(1), {"one": b"a\0"}, "value_has_nul"),
        (word(1), {"one": b"\xff"}, "value_not_text"),
        (word(1), {"one": "x" * (MAX_ENVIRONMENT_BYTES - 1)}, "value_too_long"),
        (word(1), {"one": "é" * (MAX_ENVIRONMENT_BYTES // 2)}, "value_too_long"),
        (f"{word(2)}torn", {"two": "x"}, "torn_default"),
        (f"torn{word(3)}", {}, "torn_default"),
    ],
)
def test_values_that_cannot_be_placed(text: str, values: dict[str, str | bytes], code: str) -> None:
    with pytest.raises(ReferencesRefused) as refused:
        environment(text, values)
    assert [problem.code for problem in refused.value.problems] == [code]
    for value in values.values():
        assert len(value) < 3 or str(value) not in str(refused.value.problems)


def test_the_longest_variable_fits() -> None:
    value = "$" * (MAX_ENVIRONMENT_BYTES - 2)
    assert environment(word(1), {"one": value}).compose_input.reveal().count(b"$$") == len(value)


def test_the_message_of_a_required_reference_is_told() -> None:
    with pytest.raises(ReferencesRefused) as refused:
        environment(word(4), {})
    assert str(refused.value.problems[0]) == 'compose.yaml:4:4: secret "four" is required: tell why'


@pytest.mark.parametrize("output", ["", "[]", "null", "{", "[" * 100_000])
def test_what_is_no_model_is_refused(output: str) -> None:
    with pytest.raises(InvalidInput):
        parse_model(output)


def test_the_plan_leaves_the_model_it_was_given_alone() -> None:
    model = {"services": {"a": {"volumes": [bind("/etc/secrets/key", "/run/secrets/key")]}}}
    before = repr(model)
    plan_injection(model, WORDS, root=ROOT)
    assert repr(model) == before

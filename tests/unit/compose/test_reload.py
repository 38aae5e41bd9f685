"""The reload setting, as label and as extension."""

from __future__ import annotations

import pytest

from overseer.compose.placeholders import Placeholders
from overseer.compose.reload import Kind, Reload, extensions_in, parse_reload, read_reloads
from overseer.core.errors import InvalidInput

WORDS = Placeholders("word", {})


@pytest.mark.parametrize(
    ("raw", "reload"),
    [
        ("none", Reload()),
        (" restart ", Reload(Kind.RESTART)),
        ("signal:SIGHUP", Reload(Kind.SIGNAL, signal="SIGHUP")),
        ("signal: usr1", Reload(Kind.SIGNAL, signal="SIGUSR1")),
        ("signal:RTMIN+3", Reload(Kind.SIGNAL, signal="SIGRTMIN+3")),
        ('exec:["a", "b c", "$$d"]', Reload(Kind.EXEC, argv=("a", "b c", "$d"))),
        ({"exec": ["a"]}, Reload(Kind.EXEC, argv=("a",))),
    ],
)
def test_settings(raw: object, reload: Reload) -> None:
    assert parse_reload(raw) == reload


@pytest.mark.parametrize(
    "raw",
    ["", "None", "signal", "signal:", "signal:KILL", "signal:SIGSTOP", "signal:1", "signal:HUP;x", "exec", "exec:a", "exec:[]",
     'exec:["-u", "root", "x"]', 'exec:[""]', 'exec:["a", 1]', 'exec:{"a": 1}', "exec:" + "[" * 100_000, {"exec": "a"},
     {"exec": ["a"], "signal": "HUP"}, {}, [], 3, True],
)  # fmt: skip
def test_what_is_none(raw: object) -> None:
    assert parse_reload(raw) is None


def test_the_label_wins_and_problems_have_places() -> None:
    model = {
        "services": {
            "a": {"labels": {"overseer.reload": "restart"}},
            "b": {"labels": {"other": "x"}},
            "c": {"labels": {"overseer.reload": "sometimes"}},
            "d": {},
            "e": {},
        }
    }
    extensions = {"a": {"reload": "none"}, "b": {"reload": {"exec": ["x"]}}, "d": {"relaod": "none"}, "e": {}}
    found, problems = read_reloads(model, extensions, WORDS)
    assert found == {"a": Reload(Kind.RESTART), "b": Reload(Kind.EXEC, argv=("x",))}
    assert [(one.place, one.code) for one in problems] == [
        ("services.c.labels", "bad_reload"), ("services.d.x-overseer", "bad_reload"),
    ]  # fmt: skip


def test_extensions_of_a_printed_model() -> None:
    assert extensions_in(b"services: {a: {x-overseer: {reload: none}}, b: {image: x}, c: null}") == {"a": {"reload": "none"}}
    assert extensions_in(b"services: []") == {}
    with pytest.raises(InvalidInput):
        extensions_in(b"{")

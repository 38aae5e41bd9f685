"""The search itself: it finds every form that it promises, wherever it lies, so its silence means something."""

from __future__ import annotations

import base64
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

from overseer.crypto.tokens import TokenPrefix, new_token
from tests.e2e.canary.disk import changed_since, disks, is_core
from tests.e2e.canary.markers import AWKWARD, Canaries, Marks, forms
from tests.e2e.canary.processes import ProcessWatch
from tests.e2e.canary.search import Search, files_below

#: Whole values as programs print them, written with the real encoders.
TEXT_ENCODERS: dict[str, Callable[[str], bytes]] = {
    "raw": str.encode,
    "JSON": lambda value: json.dumps(value).encode(),
    "JSON as UTF-8": lambda value: json.dumps(value, ensure_ascii=False).encode(),
    "JSON in JSON": lambda value: json.dumps(json.dumps(value)).encode(),
    "JSON with every character escaped": lambda value: "".join(f"\\u{ord(one) & 0xFFFF:04x}" for one in value).encode(),
    "repr": lambda value: repr(value).encode(),
    "shell": lambda value: shlex.quote(value).encode(),
    "shell with backslashes": lambda value: "".join(f"\\{one}" if not one.isalnum() else one for one in value).encode(),
    "URL": lambda value: quote(value, safe="").encode(),
    "form": lambda value: quote_plus(value).encode(),
    "URL with every byte escaped": lambda value: "".join(f"%{byte:02X}" for byte in value.encode()).encode(),
    "URL in lower case": lambda value: "".join(f"%{byte:02x}" for byte in value.encode()).encode(),
    "hex": lambda value: value.encode().hex().encode(),
    "HEX": lambda value: value.encode().hex().upper().encode(),
    "bytea": lambda value: b"\\x" + value.encode().hex().encode(),
    "base64": lambda value: base64.b64encode(value.encode()),
    "base64url": lambda value: base64.urlsafe_b64encode(value.encode()),
    "base64 inside a text": lambda value: base64.b64encode(b"x" + value.encode() + b"y"),
    "base64 further inside": lambda value: base64.b64encode(b"xy" + value.encode() + b"y"),
    "UTF-16": lambda value: value.encode("utf-16"),
    "UTF-16, big endian": lambda value: value.encode("utf-16-be"),
    "UTF-32": lambda value: value.encode("utf-32"),
    "cut in the middle": lambda value: value.encode()[: len(value.encode()) // 2],
    "the last line": lambda value: value.splitlines()[-1].encode(),
}
DATA_ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "raw": bytes,
    "hex": lambda value: value.hex().encode(),
    "bytea": lambda value: b"\\x" + value.hex().encode(),
    "HEX": lambda value: value.hex().upper().encode(),
    "base64": base64.b64encode,
    "base64url": base64.urlsafe_b64encode,
    "base64 inside": lambda value: base64.b64encode(b"x" + value),
    "base64url further inside": lambda value: base64.urlsafe_b64encode(b"xy" + value),
    "repr": lambda value: repr(value).encode(),
    "all escaped": lambda value: "".join(f"\\x{byte:02x}" for byte in value).encode(),
    "octal": lambda value: "".join(f"\\{byte:03o}" for byte in value).encode(),
    "URL": lambda value: quote(value, safe="").encode(),
    "Latin-1 as text": lambda value: value.decode("latin-1").encode(),
    "JSON of Latin-1": lambda value: json.dumps(value.decode("latin-1")).encode(),
    "JSON of surrogates": lambda value: json.dumps(value.decode("utf-8", "surrogateescape")).encode(),
    "UTF-16 of Latin-1": lambda value: value.decode("latin-1").encode("utf-16-le"),
    "list of numbers": lambda value: json.dumps(list(value)).encode(),
    "cut in the middle": lambda value: value[: len(value) * 2 // 3],
}


@pytest.fixture
def canaries() -> Canaries:
    return Canaries(Marks.new())


def test_a_value_is_as_awkward_as_promised(canaries: Canaries) -> None:
    value = canaries.text("one")
    assert all(one in value for one in ("'", '"', "$", "\\", "\n", "é"))
    assert "\n" not in canaries.text("two", lines=False)
    assert b"\0" in canaries.data("three")
    with pytest.raises(UnicodeDecodeError):
        canaries.data("three").decode()


@pytest.mark.parametrize("encoder", TEXT_ENCODERS)
def test_a_text_is_found_in_every_notation(canaries: Canaries, tmp_path: Path, encoder: str) -> None:
    canaries.text("another")
    content = TEXT_ENCODERS[encoder](canaries.text("planted"))
    for before in range(4):
        noise = os.urandom(5000 + before)
        (tmp_path / "file").write_bytes(noise + content + noise)
        found = Search(canaries).in_files([tmp_path / "file"])
        assert found, before
        assert found == Search(canaries).in_file(tmp_path / "file")
    assert Search(canaries).in_bytes(content, "memory")


@pytest.mark.parametrize("encoder", DATA_ENCODERS)
def test_bytes_are_found_in_every_notation(canaries: Canaries, tmp_path: Path, encoder: str) -> None:
    content = DATA_ENCODERS[encoder](canaries.data("planted"))
    (tmp_path / "file").write_bytes(b"before " + content + b" after")
    assert Search(canaries).in_files([tmp_path / "file", tmp_path / "vanished"])


def test_every_form_is_found_and_names_its_canary(canaries: Canaries) -> None:
    canaries.text("first")
    number = canaries.text("second").encode()[16:20]
    for form, planted in forms(canaries.marks.text).items():
        found = Search(canaries).in_bytes(b"-" * 7 + planted + number, "here")
        assert [(one.place, one.offset) for one in found] == [("here", 7)], form
    assert Search(canaries).in_text(f"x{canaries.text('second')}", "here")[0].purpose == "second"


def test_nothing_is_found_where_nothing_is(canaries: Canaries, tmp_path: Path) -> None:
    (tmp_path / "noise").write_bytes(os.urandom(3_000_000) + AWKWARD.encode())
    (tmp_path / "empty").touch()
    (tmp_path / "link").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "fifo")
    assert Search(canaries).in_files(files_below(tmp_path)) == []
    assert Search(canaries).in_file(tmp_path / "fifo") == []


def test_tokens_and_their_halves_are_found(canaries: Canaries) -> None:
    search = Search(canaries)
    token = new_token(TokenPrefix.API)[0].reveal().decode()
    search.add_token("owner's token", token)
    for text in (token, token[: len(token) // 2], token[-30:], base64.b64encode(f"x {token}".encode()).decode()):
        assert search.in_text(f"... {text} ...", "log")[0].purpose == "owner's token"
    assert search.in_bytes(new_token(TokenPrefix.NODE)[0].reveal(), "log")[0].purpose == "node token"
    assert search.in_bytes(new_token(TokenPrefix.API)[0].reveal(), "log") == []


def test_file_names_count_and_deep_files_are_met(canaries: Canaries, tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    (deep / canaries.word("name")).touch()
    assert [finding.purpose for finding in Search(canaries).in_files(files_below(tmp_path))] == ["name"]


def test_core_files_are_known_by_their_content(tmp_path: Path) -> None:
    program = Path(sys.executable).resolve().read_bytes()[:4096]
    (tmp_path / "program").write_bytes(program)
    (tmp_path / "some-name").write_bytes(program[:16] + (4).to_bytes(2, sys.byteorder) + program[18:])
    assert [path.name for path in files_below(tmp_path) if is_core(path)] == ["some-name"]
    assert not is_core(tmp_path / "none")


def test_files_that_changed_are_met_whatever_their_times_say(tmp_path: Path) -> None:
    (tmp_path / "before").touch()
    time.sleep(0.05)
    (stamp := tmp_path / "stamp").touch()
    time.sleep(0.05)
    (tmp_path / "after").write_text("x")
    os.utime(tmp_path / "after", (1, 1))
    if not any(tmp_path.is_relative_to(place) for place in disks()):
        pytest.skip("temporary files are in memory here")
    found = set(changed_since(stamp))
    assert tmp_path / "after" in found
    assert tmp_path / "before" not in found


def test_arguments_and_environments_of_processes_are_seen(canaries: Canaries) -> None:
    search = Search(canaries)
    sleeper = [sys.executable, "-c", "import time; time.sleep(30)"]
    with ProcessWatch(search) as watch:
        children = [
            subprocess.Popen([*sleeper, canaries.word("argument")]),
            subprocess.Popen(sleeper, env={**os.environ, "X": canaries.word("environment")}),
        ]
        watch.include(children[1].pid)
        watch.wait_for_rounds(3)
        for child in children:
            child.kill()
            child.wait()
    assert {finding.purpose for finding in watch.findings} == {"argument", "environment"}
    assert watch.seen >= {children[0].pid, children[1].pid}

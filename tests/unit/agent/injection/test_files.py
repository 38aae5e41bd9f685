"""Files of secrets: complete sets, no way out of the directory, nothing left behind."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overseer.agent.injection.files import DATA_LINK, FORMER_LINK, SecretFile, decide, publish
from overseer.core.errors import InvalidInput, NodeProblem
from overseer.core.secret_value import SecretValue


def file(text: str | bytes, **owner: int) -> SecretFile:
    return SecretFile(SecretValue(text), **owner)


def shown(directory: Path) -> dict[str, bytes]:
    """What a reader of the directory sees."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for top in directory.iterdir()
        if not top.name.startswith("..")
        for path in ([top] if top.is_file() else top.rglob("*"))
        if path.is_file()
    }


def generations(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir() if path.name.startswith("..set-")]


def test_a_set_with_modes(tmp_path: Path) -> None:
    directory = tmp_path / "d"
    publish(directory, {"a": file("1"), "deep/er/b": file(b"\0\xff", mode=0o400), "e": file("")}).commit()
    assert shown(directory) == {"a": b"1", "deep/er/b": b"\0\xff", "e": b""}
    assert stat.S_IMODE((directory / "a").stat().st_mode) == 0o444
    assert stat.S_IMODE((directory / "deep/er/b").stat().st_mode) == 0o400
    assert stat.S_IMODE(directory.stat().st_mode) == 0o755
    assert all(path.is_symlink() for path in directory.iterdir() if not path.name.startswith("..set-"))


def test_a_change_is_seen_at_once_and_the_old_set_stays_until_commit(tmp_path: Path) -> None:
    directory = tmp_path / "d"
    publish(directory, {"a": file("1"), "gone": file("x")}).commit()
    inode = directory.stat().st_ino
    old = (directory / "a").open("rb")
    change = publish(directory, {"a": file("2"), "new": file("n")})
    with old:
        assert old.read() == b"1"
    assert shown(directory) == {"a": b"2", "new": b"n"}
    assert change.changed == {"a", "new"}
    assert len(generations(directory)) == 2
    change.commit()
    assert len(generations(directory)) == 1
    assert directory.stat().st_ino == inode
    assert publish(directory, {"a": file("2"), "new": file("n")}).changed == frozenset()


def test_undo_brings_the_former_set_back(tmp_path: Path) -> None:
    directory = tmp_path / "d"
    publish(directory, {"a": file("1"), "x/y": file("z")}).commit()
    publish(directory, {"a": file("2"), "b": file("3")}).undo()
    assert shown(directory) == {"a": b"1", "x/y": b"z"}
    assert len(generations(directory)) == 1
    first = publish(tmp_path / "fresh", {"a": file("1")})
    first.undo()
    assert not (tmp_path / "fresh").exists()


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "/x", "a/../../x", "a//b", "..data", "..x", "a/", "a\0b", "./a"])
def test_names_that_could_lead_elsewhere(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInput):
        publish(tmp_path / "d", {"fine": file("1"), name: file("canary")})
    assert list(tmp_path.iterdir()) == []


def test_a_link_in_the_way_is_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "d").symlink_to(outside)
    with pytest.raises((NodeProblem, OSError)):
        publish(tmp_path / "d", {"a": file("1")})
    assert list(outside.iterdir()) == []


def test_a_failure_half_way_leaves_the_visible_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = tmp_path / "d"
    publish(directory, {"a": file("1")}).commit()

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "fchown", refuse)
    with pytest.raises(NodeProblem, match="Operation not permitted"):
        publish(directory, {"a": file("2"), "b": file("3", uid=5)})
    assert shown(directory) == {"a": b"1"}
    assert len(generations(directory)) == 1
    with pytest.raises(NodeProblem):
        publish(tmp_path / "fresh", {"b": file("3", uid=5)})
    assert not (tmp_path / "fresh").exists()


def test_a_failure_that_nobody_foresaw_leaves_no_plaintext(tmp_path: Path) -> None:
    directory = tmp_path / "d"
    with pytest.raises(OverflowError):
        publish(directory, {"k": file("SECRET-LEFT", uid=9999999999)})
    assert not directory.exists()
    publish(directory, {"k": file("old")}).commit()
    with pytest.raises(OverflowError):
        publish(directory, {"k": file("SECRET-LEFT", uid=9999999999)})
    assert shown(directory) == {"k": b"old"}
    assert len(generations(directory)) == 1


def test_owners(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root gives files away")
    publish(tmp_path / "d", {"a": file("1", uid=1234, gid=4321, mode=0o640)}).commit()
    found = (tmp_path / "d" / "a").stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (1234, 4321, 0o640)


NAMES = st.lists(st.sampled_from(["a", "b", "c", "d/e", "d/f", "g/h/i"]), unique=True)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(NAMES, st.binary(max_size=8), st.booleans()), max_size=6))
def test_any_history_shows_the_last_committed_set(tmp_path_factory: pytest.TempPathFactory, history: list) -> None:  # type: ignore[type-arg]
    directory = tmp_path_factory.mktemp("h") / "d"
    expected: dict[str, bytes] = {}
    for names, content, keep in history:
        change = publish(directory, {name: file(content) for name in names})
        assert shown(directory) == dict.fromkeys(names, content)
        if keep or change.previous is None:
            change.commit()
            expected = dict.fromkeys(names, content)
        else:
            change.undo()
        assert shown(directory) == expected
        assert len(generations(directory)) == 1
        assert str((directory / DATA_LINK).readlink()) == generations(directory)[0]


READER = """
import select, sys
path, seen, reads = sys.argv[1], set(), 0
print("ready", flush=True)
while reads < 1000 or not select.select([sys.stdin], [], [], 0)[0]:
    reads += 1
    try:
        with open(path, "rb") as stream:
            content = stream.read()
        seen.add(f"{len(content)} {len(set(content))}")
    except OSError as error:
        seen.add(str(error.errno))
print(sorted(seen))
"""


def test_a_reader_in_a_tight_loop_never_misses_and_never_reads_half(tmp_path: Path) -> None:
    directory = tmp_path / "d"
    publish(directory, {"a": file("0" * 20000)})
    command = [sys.executable, "-c", READER, str(directory / "a")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as reader:
        assert reader.stdin is not None
        assert reader.stdout is not None
        assert reader.stdout.readline() == b"ready\n"
        changes = [publish(directory, {"a": file(str(number % 10) * 20000)}) for number in range(300)]
        reader.stdin.close()  # it reads on until it sees this
        assert reader.stdout.read() == b"['20000 1']\n"
    changes[-1].commit()
    assert len(generations(directory)) == 1


def test_what_to_go_back_to_outlives_the_process_that_published(tmp_path: Path) -> None:
    directory = tmp_path / "d"
    publish(directory, {"a": file("1")}).commit()
    publish(directory, {"a": file("2")})  # and killed
    assert shown(directory) == {"a": b"2"}
    third = publish(directory, {"a": file("2"), "b": file("3")})
    assert third.changed == {"a", "b"}  # against what is held for sure, not against what nobody decided on
    third.undo()
    assert shown(directory) == {"a": b"1"}
    assert len(generations(directory)) == 1
    assert not (directory / FORMER_LINK).is_symlink()


def test_a_first_set_that_was_interrupted_goes_back_to_nothing(tmp_path: Path) -> None:
    directory = tmp_path / "d"
    publish(directory, {"a": file("1")})
    publish(directory, {"a": file("2")}).undo()
    assert not directory.exists()


def test_whatever_is_visible_can_be_decided_on(tmp_path: Path) -> None:
    directory = tmp_path / "d"
    publish(directory, {"a": file("1")}).commit()
    publish(directory, {"a": file("2")})
    decide(directory)
    publish(directory, {"a": file("3")}).undo()
    assert shown(directory) == {"a": b"2"}
    assert len(generations(directory)) == 1

"""The file seal on a real file system: made once, durable, private, never followed, never overwritten."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path

import pytest

from overseer.core.errors import KeyProblem
from overseer.core.secret_value import SecretValue
from overseer.crypto.keys import RootKey
from overseer.server.seals.file import FileSeal
from overseer.server.seals.root_key_text import write_root_key


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "root.key"


def place(path: Path, mode: int = 0o600) -> RootKey:
    root_key = RootKey.generate()
    path.write_bytes(write_root_key(root_key).reveal())
    path.chmod(mode)
    return root_key


def names(directory: Path) -> list[str]:
    return [entry.name for entry in directory.iterdir()]


def test_a_new_key_file_is_private_and_opens(path: Path) -> None:
    before = os.umask(0)
    try:
        made = asyncio.run(FileSeal(path).create())
    finally:
        os.umask(before)
    assert made.config == b""
    assert asyncio.run(FileSeal(path).root_key()) == made.root_key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.stat().st_nlink == 1
    assert names(path.parent) == ["root.key"], "no draft stays behind"


def test_an_existing_file_is_left_as_it_is(path: Path) -> None:
    place(path)
    before = path.read_bytes()
    with pytest.raises(KeyProblem, match="exists already"):
        asyncio.run(FileSeal(path).create())
    assert path.read_bytes() == before
    assert names(path.parent) == ["root.key"]


def test_a_link_in_place_of_a_new_file_is_not_followed(path: Path) -> None:
    target = path.with_name("target")
    path.symlink_to(target)
    with pytest.raises(KeyProblem, match="exists already"):
        asyncio.run(FileSeal(path).create())
    assert not target.exists()


def test_file_and_directory_are_synced_before_it_is_done(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    real = os.fsync

    def record(handle: int) -> None:
        synced.append("directory" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        real(handle)

    monkeypatch.setattr(os, "fsync", record)
    asyncio.run(FileSeal(path).create())
    assert synced == ["file", "directory"]


def test_a_failed_write_leaves_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(KeyProblem, match="No space left"):
        asyncio.run(FileSeal(path).create())
    assert names(path.parent) == []


def test_a_directory_that_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(KeyProblem, match="cannot be written"):
        asyncio.run(FileSeal(tmp_path / "none" / "root.key").create())


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_private_modes_are_accepted(path: Path, mode: int) -> None:
    root_key = place(path, mode)
    assert asyncio.run(FileSeal(path).root_key()) == root_key


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o601, 0o610, 0o620, 0o602, 0o644, 0o777, 0o700])
def test_any_permission_for_others_is_refused_with_the_rule_and_the_fix(path: Path, mode: int) -> None:
    place(path, mode)
    with pytest.raises(KeyProblem, match=rf"mode {mode:04o}: only its owner may read it; mend it with `chmod 0600`"):
        asyncio.run(FileSeal(path).root_key())


def test_another_owner_is_refused_even_for_root(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place(path)
    if os.geteuid() == 0:
        os.chown(path, 65534, -1)
    else:  # who cannot give a file away is taken for another user
        owner = os.geteuid()
        monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(KeyProblem, match=r"belongs to uid \d+ and the server runs as uid .*chown"):
        asyncio.run(FileSeal(path).root_key())


def test_a_symbolic_link_is_refused(path: Path) -> None:
    real = path.with_name("real.key")
    place(real)
    path.symlink_to(real)
    with pytest.raises(KeyProblem, match="symbolic link"):
        asyncio.run(FileSeal(path).root_key())


def test_a_missing_file_says_where_to_get_it(path: Path) -> None:
    with pytest.raises(KeyProblem, match=r"does not exist; restore it from the recovery kit.*server init"):
        asyncio.run(FileSeal(path).root_key())


def test_a_directory_and_a_pipe_are_no_key_files(path: Path) -> None:
    path.mkdir(mode=0o700)
    with pytest.raises(KeyProblem, match="not a regular file"):
        asyncio.run(FileSeal(path).root_key())
    path.rmdir()
    os.mkfifo(path, 0o600)
    with pytest.raises(KeyProblem, match="not a regular file"):
        asyncio.run(FileSeal(path).root_key())


@pytest.mark.parametrize("content", [b"", b"overseer-root-key-v1\n", b"\0" * 32, b"a" * 100_000])
def test_a_damaged_file_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(KeyProblem):
        asyncio.run(FileSeal(path).root_key())


def test_a_passphrase_is_not_silently_ignored(path: Path) -> None:
    place(path)
    for call in (FileSeal(path).create, FileSeal(path).root_key):
        with pytest.raises(KeyProblem, match="takes no passphrase"):
            asyncio.run(call(SecretValue("a passphrase")))

"""What the agent keeps on disk: private, whole, and nothing secret but its keys."""

from __future__ import annotations

import stat
import threading
from pathlib import Path
from uuid import uuid4

import pytest

from overseer.agent.identity import FORMAT, NodeRecord, load_identity, load_keys, make_keys, store_record
from overseer.agent.journal import Entry, Journal, Phase
from overseer.agent.private_files import private_directory, read_private, write_private
from overseer.core.errors import ConfigurationProblem, KeyProblem, NodeProblem


def record(url: str = "http://127.0.0.1:8420") -> NodeRecord:
    return NodeRecord(
        format=FORMAT, url=url, node="n1", node_id=uuid4(), instance_id=uuid4(), key_id="k", verify_key=bytes(32),
        token_hash=bytes(32), ca_file=False,
    )  # fmt: skip


def entry(project: str = "shop-prod", phase: Phase = Phase.RUNNING) -> Entry:
    return Entry(project=project, app="shop", environment=None, deployment_id="d", phase=phase)


def test_private_files(tmp_path: Path) -> None:
    directory = private_directory(tmp_path / "a" / "b")
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    path = directory / "f"
    assert read_private(path) is None
    write_private(path, b"one")
    write_private(path, b"two")
    assert read_private(path) == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in directory.iterdir()] == ["f"]
    path.chmod(0o640)
    with pytest.raises(ConfigurationProblem, match="0600"):
        read_private(path)
    (directory / "link").symlink_to(path)
    with pytest.raises(ConfigurationProblem):
        read_private(directory / "link")
    directory.chmod(0o750)
    with pytest.raises(ConfigurationProblem, match="0700"):
        private_directory(directory)


def test_identity(tmp_path: Path) -> None:
    directory = tmp_path / "agent"
    assert load_identity(directory) is None
    keys = make_keys(directory)
    assert make_keys(directory).public == keys.public  # made once
    assert load_identity(directory) is None
    stored = record()
    store_record(directory, stored, None)
    identity = load_identity(directory)
    assert identity is not None
    assert identity.record == stored
    assert identity.keys.public == keys.public
    assert stat.S_IMODE((directory / "node.keys").stat().st_mode) == 0o600
    (directory / "node.keys").write_bytes(b"damaged")
    with pytest.raises(KeyProblem):
        load_keys(directory)
    (directory / "node.keys").unlink()
    with pytest.raises(KeyProblem, match="missing"):
        load_identity(directory)
    (directory / "node.json").write_bytes(b"{}")
    with pytest.raises(ConfigurationProblem, match="damaged"):
        load_identity(directory)


def test_journal(tmp_path: Path) -> None:
    private_directory(tmp_path / "agent")
    journal = Journal(tmp_path / "agent")
    assert journal.entries() == []
    journal.write(entry("b"))
    journal.write(entry("a", Phase.APPLYING))
    assert [one.project for one in journal.entries()] == ["a", "b"]
    assert Journal(tmp_path / "agent").find("a") == entry("a", Phase.APPLYING)
    journal.remove("a")
    journal.remove("a")
    assert journal.find("a") is None
    (tmp_path / "agent" / "projects" / "b.json").write_bytes(b"cut")
    damaged = journal.find("b")
    assert damaged is not None
    assert damaged.phase is Phase.APPLYING


@pytest.mark.parametrize("project", ["", "../x", "A", "a/b", "-x", "x" * 129, "a\n"])
def test_names_of_projects(tmp_path: Path, project: str) -> None:
    private_directory(tmp_path / "agent")
    with pytest.raises(NodeProblem):
        Journal(tmp_path / "agent").write(entry(project))


def test_one_at_a_time(tmp_path: Path) -> None:
    private_directory(tmp_path / "agent")
    order: list[str] = []

    def other() -> None:
        with Journal(tmp_path / "agent").lock("p"):
            order.append("other")

    journal = Journal(tmp_path / "agent")
    assert not journal.is_locked("p")
    with journal.lock("p"), journal.lock("q"):
        assert journal.is_locked("p")
        thread = threading.Thread(target=other)
        thread.start()
        thread.join(0.2)
        order.append("first")
    thread.join(5)
    assert not journal.is_locked("p")
    assert order == ["first", "other"]

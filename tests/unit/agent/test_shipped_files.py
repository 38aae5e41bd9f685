"""A container that writes where the bundle's files lie leads the agent nowhere: not to write, read or change modes."""

from __future__ import annotations

import os
import resource
import stat
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from overseer.agent.project_files import ProjectFiles
from overseer.core.errors import NodeProblem


@pytest.fixture
def files(tmp_path: Path) -> Iterator[ProjectFiles]:
    made = ProjectFiles(tmp_path / "root", "shop")
    (tmp_path / "root").mkdir(mode=0o700)
    made.make()
    yield made
    subprocess.run(["rm", "-rf", str(tmp_path / "root")], check=True)  # deeper than pytest could remove it


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A directory of the host that is nobody's business."""
    directory = tmp_path / "host"
    directory.mkdir(mode=0o700)
    (directory / "app.conf").write_bytes(b"the host's\n")
    (directory / "app.conf").chmod(0o600)
    return directory


def untouched(host: Path) -> bool:
    found = host / "app.conf"
    return (
        [path.name for path in host.iterdir()] == ["app.conf"]
        and found.read_bytes() == b"the host's\n"
        and stat.S_IMODE(found.stat().st_mode) == 0o600
        and stat.S_IMODE(host.stat().st_mode) == 0o700
    )


def test_a_link_in_the_place_of_a_directory_is_replaced(files: ProjectFiles, host: Path) -> None:
    files.publish({}, {"data/conf/app.conf": b"v1\n"}).commit()
    directory = files.bundle / "data/conf"
    (directory / "app.conf").unlink()
    directory.rmdir()
    directory.symlink_to(host)
    files.publish({}, {"data/conf/app.conf": b"v2\n"}).commit()
    assert untouched(host)
    assert (directory / "app.conf").read_bytes() == b"v2\n"
    assert not directory.is_symlink()


def test_a_link_in_the_place_of_a_file_is_neither_read_nor_written_back(files: ProjectFiles, host: Path) -> None:
    files.publish({}, {"data/page": b"p1\n"}).commit()
    page = files.bundle / "data/page"
    page.unlink()
    page.symlink_to(host / "app.conf")
    publication = files.publish({}, {"data/page": b"p2\n"})
    assert page.read_bytes() == b"p2\n"
    publication.undo()
    assert untouched(host)
    assert not page.exists()  # the link was not a file of ours: it is not brought back
    files.restore_shipped({"data/page": b"p1\n"})
    assert page.read_bytes() == b"p1\n"


def test_a_link_between_writing_and_undoing(files: ProjectFiles, host: Path) -> None:
    files.publish({}, {"data/conf/app.conf": b"v1\n"}).commit()
    publication = files.publish({}, {"data/conf/app.conf": b"v2\n", "data/conf/new": b"n\n"})
    (files.bundle / "data/conf").rename(files.bundle / "data/elsewhere")
    (files.bundle / "data/conf").symlink_to(host)
    publication.undo()
    assert untouched(host)


def test_what_was_there_comes_back_and_only_that(files: ProjectFiles) -> None:
    files.publish({}, {"data/page": b"p1\n"}).commit()
    publication = files.publish({}, {"data/page": b"p2\n", "data/new": b"n\n"})
    publication.undo()
    assert {path.name: path.read_bytes() for path in (files.bundle / "data").iterdir()} == {"page": b"p1\n"}
    assert not (files.project_directory / "former").exists()


def test_an_endless_file_is_not_read(files: ProjectFiles) -> None:
    files.publish({}, {"data/page": b"p1\n"}).commit()
    os.truncate(files.bundle / "data/page", 8 << 30)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    publication = files.publish({}, {"data/page": b"p2\n"})
    publication.undo()
    assert (files.bundle / "data/page").stat().st_size == 8 << 30
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024  # KiB


def test_a_pipe_does_not_hold_the_agent_up(files: ProjectFiles) -> None:
    files.publish({}, {"data/page": b"p1\n"}).commit()
    (files.bundle / "data/page").unlink()
    os.mkfifo(files.bundle / "data/page")
    done = threading.Thread(target=lambda: files.publish({}, {"data/page": b"p1\n"}).commit(), daemon=True)
    done.start()
    done.join(5)
    assert not done.is_alive()
    assert (files.bundle / "data/page").read_bytes() == b"p1\n"


def test_an_unchanged_file_keeps_its_inode_and_a_directory_in_the_way_goes(files: ProjectFiles) -> None:
    files.publish({}, {"a/same": b"s\n", "a/b": b"f\n"}).commit()
    inode = (files.bundle / "a/same").stat().st_ino
    (files.bundle / "a/b").unlink()
    (files.bundle / "a/b/c/d").mkdir(parents=True)
    files.publish({}, {"a/same": b"s\n", "a/b": b"f\n"}).commit()
    assert (files.bundle / "a/same").stat().st_ino == inode
    assert (files.bundle / "a/b").read_bytes() == b"f\n"


def test_forgetting_and_wiping_stay_inside_and_end(files: ProjectFiles, host: Path) -> None:
    files.publish({}, {"data/page": b"p\n"}).commit()
    (files.bundle / "data/out").symlink_to(host)
    (files.bundle / "more").mkdir()
    (files.bundle / "more/out").symlink_to(host)
    deep = os.open(files.bundle, os.O_RDONLY)
    for _ in range(1500):  # deeper than a path can say or a recursion go
        os.mkdir("d", dir_fd=deep)
        inner = os.open("d", os.O_RDONLY, dir_fd=deep)
        os.close(deep)
        deep = inner
    os.close(deep)
    files.forget_others([], ["data/page"])
    assert sorted(path.relative_to(files.bundle).as_posix() for path in files.bundle.rglob("*")) == ["data", "data/page"]
    (files.bundle / "data/out").symlink_to(host)
    files.wipe()
    assert not files.project_directory.exists()
    assert untouched(host)


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/x", "a//x", "./x", ""])
def test_a_path_that_is_none_is_refused(files: ProjectFiles, path: str) -> None:
    with pytest.raises(NodeProblem):
        files.publish({}, {path: b"x"})

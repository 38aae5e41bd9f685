"""Looks for secrets in bytes and in files, in every form that ``markers.forms`` knows.

Many files are first searched by ``grep`` for all patterns at once, which reads these from its standard input, so
that they are in no file and no argument. What it names, and single contents, are searched here with ``bytes.find``.
"""

from __future__ import annotations

import itertools
import mmap
import os
import re
import stat
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.canary.markers import Canaries, forms

#: A node's session token: the test knows none of the agent's, but the form says what it is.
NODE_TOKEN = re.compile(rb"ovsn_[0-9A-Za-z]{49}")


@dataclass(frozen=True)
class Finding:
    """A secret where none should be. ``purpose`` names the canary or token; its text is not shown."""

    place: str
    purpose: str
    form: str
    offset: int


class Search:
    """All that must not be found: the canaries of a run, and tokens by name."""

    def __init__(self, canaries: Canaries) -> None:
        self._canaries = canaries
        self._patterns: list[tuple[str, str, bytes]] = []
        for mark in (canaries.marks.text, canaries.marks.raw):
            self._add("", mark)

    def add_token(self, name: str, token: str) -> None:
        """Both halves, so that a part of a token is found as well."""
        middle = len(token) // 2
        self._add(name, token[:middle].encode())
        self._add(name, token[middle:].encode())

    def _add(self, purpose: str, secret: bytes) -> None:
        by_pattern = {pattern: form for form, pattern in reversed(forms(secret).items())}  # of two that are alike the first
        self._patterns += [(purpose, form, pattern) for pattern, form in by_pattern.items()]

    def in_bytes(self, content: bytes | mmap.mmap, place: str) -> list[Finding]:
        """At most one finding for each canary and form."""
        found: dict[tuple[str, str], Finding] = {}
        for purpose, form, pattern in self._patterns:
            at = content.find(pattern)
            while at >= 0:
                end = at + len(pattern)
                named = purpose or self._canaries.purpose_of(_decoded(content[end : end + 32], form)) or "a canary"
                found.setdefault((named, form), Finding(place, named, form, at))
                if purpose:
                    break
                at = content.find(pattern, end)
        if match := NODE_TOKEN.search(content):
            found["node token", "token"] = Finding(place, "node token", "token", match.start())
        return list(found.values())

    def in_text(self, text: str, place: str) -> list[Finding]:
        return self.in_bytes(text.encode("utf-8", "surrogateescape"), place)

    def in_file(self, path: Path) -> list[Finding]:
        """The name of the file counts, too. A file that is gone, or is none (a socket, a FIFO), holds nothing."""
        found = self.in_bytes(os.fsencode(path), f"the name of {path}")
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return found
        try:
            about = os.fstat(descriptor)
            if not stat.S_ISREG(about.st_mode) or about.st_size == 0:
                return found
            with mmap.mmap(descriptor, 0, prot=mmap.PROT_READ) as content:
                return found + self.in_bytes(content, str(path))
        except (OSError, ValueError):  # cut to nothing in between
            return found
        finally:
            os.close(descriptor)

    def in_files(self, paths: Iterable[Path]) -> list[Finding]:
        """As :meth:`in_file` for each; a file that vanishes meanwhile holds nothing."""
        found: list[Finding] = []
        for chunk in _chunks(paths):
            names = b"\n".join(map(os.fsencode, chunk))
            if self.in_bytes(names, "names"):
                found += [one for path in chunk for one in self.in_bytes(os.fsencode(path), f"the name of {path}")]
            found += [one for path in self._candidates(chunk) for one in self.in_file(path)]
        return found

    def _candidates(self, paths: list[Path]) -> list[Path]:
        patterns = [pattern for _, _, pattern in self._patterns] + [b"ovsn_"]
        done = subprocess.run(
            ["grep", "--files-with-matches", "--null", "--text", "--fixed-strings", "--no-messages", "--devices=skip",
             "--directories=skip", "--file=-", "--", *map(str, paths)],
            input=b"\n".join(patterns),
            env={"LC_ALL": "C", "PATH": os.environ["PATH"]},
            capture_output=True,
            check=False,
        )  # fmt: skip
        # 2: a file could not be read, which is what vanished files are to it; what it says besides would be a failure of its own.
        if done.returncode not in (0, 1, 2) or done.stderr:
            raise RuntimeError(f"grep ended with {done.returncode}: {done.stderr.decode(errors='replace')}")
        return [Path(os.fsdecode(name)) for name in done.stdout.split(b"\0") if name]


def _chunks(paths: Iterable[Path]) -> Iterator[list[Path]]:
    """Regular files and others, a few hundred at a time: a command's arguments have a limit."""
    iterator = iter(paths)
    while chunk := list(itertools.islice(iterator, 500)):
        yield chunk


def _decoded(tail: bytes, form: str) -> bytes:
    """The digits behind a mark where the form leaves them readable: enough to tell which canary it is."""
    if form.lower() == "hex":
        return bytes.fromhex(re.match(rb"(?:[0-9a-fA-F]{2})*", tail)[0].decode())  # type: ignore[index]  # matches nothing, too
    return tail.replace(b"\0", b"")


def files_below(root: Path) -> Iterator[Path]:
    """Everything below ``root`` that is no directory, without following links or entering another file system."""
    device = root.lstat().st_dev
    todo = [root]
    while todo:
        try:
            entries = list(os.scandir(todo.pop()))
        except OSError:
            continue
        for entry in entries:
            try:
                if not entry.is_dir(follow_symlinks=False):
                    yield Path(entry.path)
                elif entry.stat(follow_symlinks=False).st_dev == device:
                    todo.append(Path(entry.path))
            except FileNotFoundError:
                continue

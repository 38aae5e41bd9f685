"""Looks for secrets in bytes and in files, in every form that ``markers.forms`` knows.

A search in memory-mapped files with ``bytes.find``, one pass for each form: patterns of 12 bytes and more let it skip most of the
content, which is several times faster than one regular expression with all of them.
"""

from __future__ import annotations

import mmap
import os
import re
import stat
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
        self.searched_bytes = 0
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
        self.searched_bytes += len(content)
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
            found["node token", "raw"] = Finding(place, "node token", "raw", match.start())
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
        return [finding for path in paths for finding in self.in_file(path)]


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

"""Takes known values out of text before the text leaves the node.

Guarantee: no value of the deployment remains in the output of :meth:`Redactor.clean`, as it is or in base64 (also as a part of a
longer encoded text), base64url, hex, URL, JSON, YAML, Go and shell notation, with doubled dollars, or line by line. Work is
bounded: text beyond ``MAX_INPUT`` is cut at a line before it is searched, so a value cannot be cut in half and pass.

What it cannot do: find a value that was transformed otherwise (encrypted, reversed), or a value of one to three characters inside
a longer word.
"""

from __future__ import annotations

import base64
import json
import re
import shlex
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import quote, quote_plus

from overseer.core.secret_value import REDACTED, SecretValue

MAX_INPUT: Final = 256 * 1024
MAX_OUTPUT: Final = 64 * 1024
_LEAST_PIECE: Final = 4
_LEAST_WORD: Final = 8
_MARK: Final = REDACTED.encode("utf-8")
_CUT: Final = "… (cut)\n"


class Redactor:
    """Made once for the values of a deployment. Its repr shows nothing of them."""

    __slots__ = ("_forms", "_short")

    def __init__(self, values: Iterable[SecretValue]) -> None:
        forms: set[bytes] = set()
        short: set[bytes] = set()
        for value in values:
            raw = value.reveal()
            for piece in _pieces(raw):
                if len(piece) < _LEAST_PIECE:
                    short.add(piece)
                else:
                    forms.update(form for form in _forms(piece) if len(form) >= _LEAST_PIECE)
        # Longest first: a shorter form inside a longer one must not leave the rest of it behind.
        self._forms = sorted(forms, key=len, reverse=True)
        self._short = [re.compile(rb"(?<![A-Za-z0-9])" + re.escape(one) + rb"(?![A-Za-z0-9])") for one in sorted(short) if one]

    def clean(self, text: bytes | str, limit: int = MAX_OUTPUT) -> str:
        """``text`` without the values, at most ``limit`` bytes of UTF-8: the end of it, for errors come last."""
        data = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
        cut = len(data) > MAX_INPUT
        if cut:
            data = data[-MAX_INPUT:]
            data = data[data.find(b"\n") + 1 :] if b"\n" in data else b""
        for form in self._forms:
            if form in data:
                data = data.replace(form, _MARK)
        for pattern in self._short:
            data = pattern.sub(_MARK, data)
        shown = data.decode("utf-8", "replace").replace("\0", "\\0")
        encoded = shown.encode("utf-8")
        if cut or len(encoded) > limit:
            room = limit - len(_CUT.encode("utf-8"))
            shown = _CUT + encoded[-room:].decode("utf-8", "ignore")
        return shown


def _pieces(raw: bytes) -> Iterator[bytes]:
    """The value, its lines, and its words where they are long: tools print and wrap by lines and blanks."""
    if not raw:
        return
    yield raw
    stripped = raw.strip()
    if stripped and stripped != raw:
        yield stripped
    lines = raw.splitlines()
    if len(lines) > 1:
        for line in lines:
            piece = line.strip()
            if len(piece) >= _LEAST_PIECE:
                yield piece
    for word in raw.split():
        if len(word) >= _LEAST_WORD and word != stripped:
            yield word


def _forms(raw: bytes) -> Iterator[bytes]:
    """The notations in which programs print bytes."""
    yield raw
    yield from _base64_cores(raw)
    yield raw.hex().encode("ascii")
    yield raw.hex().upper().encode("ascii")
    for safe in ("", "/", "/:@", "-_.!~*'()"):
        yield quote(raw, safe=safe).encode("ascii")
    yield quote_plus(raw).encode("ascii")
    yield re.sub(rb"%[0-9A-F]{2}", lambda found: found.group().lower(), quote(raw, safe="").encode("ascii"))
    yield raw.replace(b"$", b"$$")
    yield raw.replace(b"'", b"''")  # YAML, single quotes
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        yield repr(raw)[2:-1].encode("ascii")
        return
    for source in {text, text.replace("$", "$$")}:
        for ascii_only in (True, False):
            quoted = json.dumps(source, ensure_ascii=ascii_only)[1:-1]
            yield quoted.encode("utf-8")
            yield quoted.replace("/", "\\/").encode("utf-8")
            yield quoted.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026").encode("utf-8")  # Go's encoder
            yield json.dumps(quoted)[1:-1].encode("utf-8")  # a message quoted inside another
    yield shlex.quote(text).encode("utf-8")
    yield shlex.quote(text).encode("utf-8").strip(b"'")
    yield re.sub(r"([^A-Za-z0-9_@%+=:,./-])", r"\\\1", text).encode("utf-8")
    yield repr(text)[1:-1].encode("utf-8", "surrogateescape")


def _base64_cores(raw: bytes) -> Iterator[bytes]:
    """What is certain of ``raw`` in the base64 of any longer text: three alignments, without the edges that neighbours change."""
    for shift in range(3):
        encoded = base64.b64encode(bytes(shift) + raw)
        start = (0, 2, 3)[shift]
        whole = encoded.rstrip(b"=")
        rest = (shift + len(raw)) % 3
        core = whole[start : len(whole) - (1 if rest else 0)]
        for text in {core, whole[start:]} if shift == 0 else {core}:
            if len(text) >= 6:  # shorter ones are found in words that hold no value
                yield text
                yield text.replace(b"+", b"-").replace(b"/", b"_")

"""Takes known values out of text before the text leaves the node.

Guarantee: no value of the deployment remains in the output of :meth:`Redactor.clean`, as it is or in base64 (also as a part of a
longer encoded text), base64url, hex, URL, JSON, YAML, Go and shell notation, with doubled dollars, or line by line. Work is
bounded, by time too: text beyond ``MAX_INPUT`` is cut at a line before it is searched, so a value cannot be cut in half and pass;
where values have more lines and words than can be searched for, or a search takes too long, the whole text is withheld.

What it cannot do: find a value that was transformed otherwise (encrypted, reversed), or a value of one to three characters inside
a longer word.
"""

from __future__ import annotations

import base64
import json
import re
import shlex
import time
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
_WITHHELD: Final = "(what was said is withheld: it takes too long to take this deployment's values out of it)\n"
_GO_ESCAPES: Final = {
    "\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v", "\\": "\\\\", '"': '\\"',
}  # fmt: skip
_START: Final = 8
#: Pieces of values, each of which is searched for in some forty notations.
_MOST_PIECES: Final = 3000
_MOST_PIECE_BYTES: Final = 512 * 1024
_SEARCH_SECONDS: Final = 0.8


class Redactor:
    """Made once for the values of a deployment. Its repr shows nothing of them."""

    __slots__ = ("_long", "_low", "_short", "_too_much")

    def __init__(self, values: Iterable[SecretValue]) -> None:
        # What is longer than any text that is searched cannot be in one; its lines can.
        pieces = {piece for value in values for piece in _pieces(value.reveal()) if len(piece) <= MAX_INPUT}
        self._too_much = len(pieces) > _MOST_PIECES or sum(map(len, pieces)) > _MOST_PIECE_BYTES
        if self._too_much:
            pieces = set()
        forms = {form for piece in pieces if len(piece) >= _LEAST_PIECE for form in _forms(piece) if len(form) >= _LEAST_PIECE}
        self._low = _by_start((form for form in forms if len(form) < _START), _LEAST_PIECE)
        self._long = _by_start((form for form in forms if len(form) >= _START), _START)
        short = sorted((piece for piece in pieces if 0 < len(piece) < _LEAST_PIECE), key=len, reverse=True)
        words = b"|".join(map(re.escape, short))
        self._short = re.compile(rb"(?<![A-Za-z0-9])(?:" + words + rb")(?![A-Za-z0-9])") if short else None

    def clean(self, text: bytes | str, limit: int = MAX_OUTPUT) -> str:
        """``text`` without the values, at most ``limit`` bytes of UTF-8: the end of it, for errors come last."""
        data = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
        if self._too_much and data:
            return _WITHHELD
        cut = len(data) > MAX_INPUT
        if cut:
            data = data[-MAX_INPUT:]
            data = data[data.find(b"\n") + 1 :] if b"\n" in data else b""
        deadline = time.monotonic() + _SEARCH_SECONDS
        try:
            found = [*_occurrences(data, self._long, _START, deadline), *_occurrences(data, self._low, _LEAST_PIECE, deadline)]
        except TimeoutError:
            return _WITHHELD
        data = _without(data, sorted(found))
        if self._short is not None:
            data = self._short.sub(_MARK, data)
        shown = data.decode("utf-8", "replace").replace("\0", "\\0")
        encoded = shown.encode("utf-8")
        if cut or len(encoded) > limit:
            room = limit - len(_CUT.encode("utf-8"))
            shown = _CUT + encoded[-room:].decode("utf-8", "ignore")
        return shown


def _by_start(forms: Iterable[bytes], length: int) -> dict[bytes, list[bytes]]:
    """Forms by their first ``length`` bytes, longest first: a text is searched for all of them in one pass."""
    found: dict[bytes, list[bytes]] = {}
    for form in forms:
        found.setdefault(form[:length], []).append(form)
    for same in found.values():
        same.sort(key=len, reverse=True)
    return found


def _occurrences(data: bytes, forms: dict[bytes, list[bytes]], length: int, deadline: float) -> Iterator[tuple[int, int]]:
    """Start and end of the longest form at each place of ``data``. Raises :class:`TimeoutError`."""
    if not forms:
        return
    for place in range(len(data) - length + 1):
        if place % 64 == 0 and time.monotonic() > deadline:
            raise TimeoutError
        for form in forms.get(data[place : place + length], ()):
            if data.startswith(form, place):
                yield place, place + len(form)
                break


def _without(data: bytes, found: Iterable[tuple[int, int]]) -> bytes:
    """``data`` with one mark for each run of overlapping occurrences."""
    parts, kept, end = [], 0, 0
    for start, stop in found:
        if start >= end:
            parts += [data[kept:start], _MARK]
        end = kept = max(end, stop)
    return b"".join([*parts, data[kept:]])


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
    yield _go_quoted(raw, ascii_only=False)
    yield _go_quoted(raw, ascii_only=True)
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


def _go_quoted(raw: bytes, *, ascii_only: bool) -> bytes:
    """Go's ``strconv.Quote`` (``%q``) and ``QuoteToASCII`` (``%+q``), without the quotes."""
    parts = []
    for one in raw.decode("utf-8", "surrogateescape"):
        number = ord(one)
        if one in _GO_ESCAPES:
            parts.append(_GO_ESCAPES[one])
        elif 0xDC80 <= number <= 0xDCFF:  # a byte that is no UTF-8
            parts.append(f"\\x{number - 0xDC00:02x}")
        elif one.isprintable() and (number < 0x80 or not ascii_only):
            parts.append(one)
        elif number < 0x80:
            parts.append(f"\\x{number:02x}")
        else:
            parts.append(f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}")
    return "".join(parts).encode("utf-8")


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

"""Age files (age-encryption.org/v1), written and read as a stream: a header of stanzas, then chunks of 64 KiB.

Guarantees: bounded memory, whatever the size; each chunk is authenticated before a byte of it is given on, with its place and
whether it is the last, so a file that was cut, extended, reordered or changed is refused at that place at the latest. Whoever
reads must not act upon what came before the end was reached: :meth:`AgeReader.read` gives ``b""`` only at an authentic end.
The age tool (and `rage`) opens what this writes. What it will not do: ASCII armour, or say who wrote a file.

Evolution rule: another version of the format has another first line, which is refused; ``tests/vectors/age-v1.json`` must open
forever.
"""

from __future__ import annotations

import hmac
import io
import os
from collections.abc import Sequence
from typing import BinaryIO, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from overseer.core.errors import DecryptionFailed, InvalidInput, KeyProblem
from overseer.crypto.age_keys import FILE_KEY_BYTES, Passphrase, Recipient, Stanza, Unwrapper, Wrapper, decoded, derived, encoded

CHUNK: Final = 64 * 1024
_TAG: Final = 16
_INTRO: Final = b"age-encryption.org/v1"
_COLUMNS: Final = 64
_LONGEST_LINE: Final = 1024
_MOST_LINES: Final = 1024
_DAMAGED: Final = "the file is damaged: it was cut or changed"


class AgeWriter:
    """Give it plaintext with :meth:`update`, write down what it returns, and end with :meth:`finish`."""

    def __init__(self, keys: Sequence[Wrapper]) -> None:
        """``keys``: recipients, or one passphrase. Raises :class:`InvalidInput`."""
        if not keys or (len(keys) > 1 and any(not isinstance(one, Recipient) for one in keys)):
            raise InvalidInput("an age file is for one or more recipients, or for one passphrase alone")
        file_key = os.urandom(FILE_KEY_BYTES)
        nonce = os.urandom(16)
        self._out = _header([one.wrap(file_key) for one in keys], file_key) + nonce
        self._cipher = ChaCha20Poly1305(derived(file_key, nonce, b"payload"))
        self._held = bytearray()
        self._counter = 0

    def update(self, data: bytes) -> bytes:
        """What can be written down now; often nothing."""
        self._held += data
        out = [self._out]
        while len(self._held) > CHUNK:  # not ``>=``: the last chunk is marked, and it is not known yet whether more comes
            out.append(self._sealed(bytes(self._held[:CHUNK]), last=False))
            del self._held[:CHUNK]
        self._out = b""
        return b"".join(out)

    def finish(self) -> bytes:
        """The end of the file; without it the file is refused."""
        return self._out + self._sealed(bytes(self._held), last=True)

    def _sealed(self, plain: bytes, *, last: bool) -> bytes:
        nonce, self._counter = _nonce(self._counter, last=last), self._counter + 1
        return self._cipher.encrypt(nonce, plain, None)


class AgeReader(io.RawIOBase):
    """The plaintext of ``source`` as a stream.

    Raises :class:`InvalidInput` (no age file), :class:`KeyProblem` (for somebody else), :class:`DecryptionFailed` (damaged).
    """

    def __init__(self, source: BinaryIO, keys: Sequence[Unwrapper]) -> None:
        super().__init__()
        self._source = source
        file_key = _file_key(source, keys)
        nonce = _exactly(source, 16)
        if len(nonce) < 16:
            raise DecryptionFailed(_DAMAGED)
        self._cipher = ChaCha20Poly1305(derived(file_key, nonce, b"payload"))
        self._ahead = _exactly(source, CHUNK + _TAG)
        self._plain = b""
        self._counter = 0
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        while not self._plain and not self._ended:
            self._plain = self._next()
        count = min(len(view), len(self._plain))
        view[:count] = self._plain[:count]
        self._plain = self._plain[count:]
        return count

    def _next(self) -> bytes:
        chunk, self._ahead = self._ahead, _exactly(self._source, CHUNK + _TAG)
        last = not self._ahead
        try:
            plain = self._cipher.decrypt(_nonce(self._counter, last=last), chunk, None)
        except (InvalidTag, ValueError):
            raise DecryptionFailed(_DAMAGED) from None
        if not plain and self._counter:  # only an empty file has an empty chunk
            raise DecryptionFailed(_DAMAGED)
        self._counter += 1
        self._ended = last
        return plain


def _nonce(counter: int, *, last: bool) -> bytes:
    return counter.to_bytes(11, "big") + (b"\x01" if last else b"\x00")


def _header(stanzas: Sequence[Stanza], file_key: bytes) -> bytes:
    lines = [_INTRO.decode()]
    for stanza in stanzas:
        body = encoded(stanza.body)
        lines.append(" ".join(("->", *stanza.arguments)))
        lines += [body[place : place + _COLUMNS] for place in range(0, len(body) + 1, _COLUMNS)]  # the last one is shorter
    head = ("\n".join(lines) + "\n---").encode()
    return head + b" " + encoded(_mac(file_key, head)).encode() + b"\n"


def _mac(file_key: bytes, head: bytes) -> bytes:
    return hmac.digest(derived(file_key, b"", b"header"), head, "sha256")


def _file_key(source: BinaryIO, keys: Sequence[Unwrapper]) -> bytes:
    stanzas, head, mac = _parsed(source)
    for stanza in stanzas:
        for key in keys:
            file_key = key.unwrap(stanza, len(stanzas) == 1)
            if file_key is not None:
                if not hmac.compare_digest(_mac(file_key, head), mac):
                    raise DecryptionFailed(_DAMAGED)
                return file_key
    by_passphrase = any(stanza.arguments[0] == "scrypt" for stanza in stanzas)
    if by_passphrase and any(isinstance(key, Passphrase) for key in keys):
        raise KeyProblem("the passphrase does not open the file, or the file's beginning is damaged")
    needed = "a passphrase" if by_passphrase else "the identity of one of its recipients"
    raise KeyProblem(f"what was given does not open the file: it is for {needed}")


def _parsed(source: BinaryIO) -> tuple[list[Stanza], bytes, bytes]:
    """The stanzas, what the header's MAC is over, and the MAC."""
    try:
        return _parse(source)
    except (ValueError, IndexError):
        raise DecryptionFailed("the file's header is damaged") from None


def _parse(source: BinaryIO) -> tuple[list[Stanza], bytes, bytes]:
    first = source.readline(_LONGEST_LINE)
    if first != _INTRO + b"\n":
        raise InvalidInput("this is no age file of version 1")
    head, stanzas, lines = [first], [], 0
    arguments: tuple[str, ...] | None = None
    body = ""
    while (lines := lines + 1) <= _MOST_LINES:
        raw = source.readline(_LONGEST_LINE)
        line = raw.decode("ascii").removesuffix("\n")
        if len(line) + 1 != len(raw):
            raise ValueError("a line without an end")
        if arguments is not None:
            if len(line) > _COLUMNS:
                raise ValueError("a line too long")
            body += line
            if len(line) < _COLUMNS:
                stanzas.append(Stanza(arguments, decoded(body)))
                arguments, body = None, ""
        elif line.startswith("--- "):
            return stanzas, b"".join(head) + b"---", decoded(line[4:])
        elif line.startswith("-> "):
            arguments = tuple(line[3:].split(" "))
            if not all(arguments):
                raise ValueError("an empty argument")
        else:
            raise ValueError("neither a stanza nor the end")
        head.append(raw)
    raise ValueError("too many lines")


def _exactly(source: BinaryIO, count: int) -> bytes:
    """``count`` bytes, fewer only at the end."""
    parts: list[bytes] = []
    while count and (part := source.read(count)):
        parts.append(part)
        count -= len(part)
    return b"".join(parts)

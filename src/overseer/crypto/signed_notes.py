"""Signed notes (C2SP signed-note): text that ends in lines of Ed25519 signatures, as transparency logs use them.

    example.org/log
    12
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

    — example.org/log Az3grlgtzPICa5OS8npVmf1Myq/5…

Guarantee: a note counts as signed by a key only where the first line of that name and key id verifies, as the format says; lines
of unknown keys are passed over. Domains are kept apart by the first line of the text, which differs for each kind of note that a
key of ours signs.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from overseer.core.errors import InvalidInput
from overseer.crypto.signatures import SigningKey, verifies

_ED25519: Final = b"\x01"
_NAME: Final = re.compile(r"[!-*,-~]+")  # the format allows more; names of ours are plain
_DASH: Final = "— "
_MOST_SIGNATURES: Final = 100
MAX_NOTE: Final = 64 * 1024
_NO_NOTE: Final = "this is no signed note (C2SP signed-note)"


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key with its name, as it is published: ``name+keyid+base64`` (the format's *vkey*)."""

    name: str
    public: bytes

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or len(self.public) != 32:
            raise InvalidInput("a verifier key has a name without blanks and plus signs, and 32 bytes of Ed25519 public key")

    @property
    def key_id(self) -> bytes:
        """Four bytes that tell keys of one name apart; no proof of anything."""
        return hashlib.sha256(self.name.encode() + b"\n" + _ED25519 + self.public).digest()[:4]

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """What ``str()`` of one gave. Raises :class:`InvalidInput`."""
        name, _, rest = text.strip().partition("+")
        key_id, _, encoded = rest.partition("+")
        try:
            content = base64.b64decode(encoded, validate=True)
        except (ValueError, binascii.Error):
            content = b""
        if content[:1] != _ED25519 or len(content) != 33:
            raise InvalidInput("a verifier key is NAME+KEYID+BASE64 with an Ed25519 public key: copy it whole, on one line")
        key = cls(name, content[1:])
        if key.key_id.hex() != key_id:
            raise InvalidInput("the verifier key was copied wrongly: its id is not the one of its name and key")
        return key

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(_ED25519 + self.public).decode()}"


def signature_line(name: str, key: SigningKey, text: str) -> str:
    """One line with the signature of ``text`` (which ends in a newline)."""
    return line_of(VerifierKey(name, key.public), key.sign(text.encode()))


def line_of(key: VerifierKey, signature: bytes) -> str:
    """The line for a signature that was made before."""
    return f"{_DASH}{key.name} {base64.b64encode(key.key_id + signature).decode()}\n"


def join_note(text: str, lines: Sequence[str]) -> str:
    """The note of a text and its signature lines. ValueError for a text that would not be read back as it is."""
    if not text.endswith("\n") or "\n\n" in text or any(c < " " and c != "\n" for c in text):
        raise ValueError("a note's text ends in a newline, has no empty line and no control characters")
    return f"{text}\n{''.join(lines)}"


def split_note(note: str) -> tuple[str, list[tuple[str, bytes]]]:
    """The signed text and its signatures, as (name, key id and signature). Raises :class:`InvalidInput`."""
    text, separator, tail = note.rpartition("\n\n")
    lines = tail.split("\n")
    if not separator or len(note) > MAX_NOTE or lines[-1] or not 2 <= len(lines) <= _MOST_SIGNATURES + 1:
        raise InvalidInput(_NO_NOTE)
    signatures = []
    for line in lines[:-1]:
        name, _, encoded = line.removeprefix(_DASH).partition(" ")
        try:
            content = base64.b64decode(encoded, validate=True)
        except (ValueError, binascii.Error):
            content = b""
        if not line.startswith(_DASH) or not name or len(content) < 5:
            raise InvalidInput(_NO_NOTE)
        signatures.append((name, content))
    return text + "\n", signatures


def is_signed_by(note: str, key: VerifierKey) -> bool:
    """True where the first line of this name and key id holds a valid signature. Raises :class:`InvalidInput` for no note."""
    text, signatures = split_note(note)
    for name, content in signatures:
        if name == key.name and content[:4] == key.key_id:
            return verifies(key.public, content[4:], text.encode())
    return False
